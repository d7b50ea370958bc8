"""Identity modes about the head's fixed mean: ``python -m blender_assets.head.learn_identity LANDMARK_FOLDER INDEX``.

The mean face and the gestures of `statistics.npz` stay as they are, because weights were trained on the head that
follows from them; modes, their σ and how well they reach people that they have not seen are written anew.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

import numpy as np

from blender_assets.head import landmarks as lm
from blender_assets.head.alignment import align
from blender_assets.head.learn_statistics import FRAMES_PER_CLIP, GROUPS, NOT_MOUTH, SCHEMA, VERSION, neutral_of
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.errors import UserInputError

MODES = 48
FOLDS = 5
CHECKED = (0, 10, 20, 30, 40, MODES)
"""Numbers of modes at which the residual on people left out is measured."""
COLLECTION = re.compile(r"^(st|style|spectre|mead|phone|person)_")
OUTLIER = 2.5
"""Clips farther from the mean than this many medians are bad tracks, which would otherwise own a mode each."""


def person_of(group: str, stem: str) -> str:
    """Who is seen in a clip, as far as its name tells; rather too few people than too many."""
    return group if group == "s1" else COLLECTION.sub("", stem).split("_")[0].lower()


def read_index(index: Path) -> dict[str, str]:
    """Clip stem → split of the clips in `index`; raises UserInputError if it is no such table."""
    try:
        with index.open(encoding="utf-8", newline="") as file:
            return {Path(row["file"]).stem: row["split"] for row in csv.DictReader(file)}
    except (OSError, KeyError) as error:
        raise UserInputError(f"{index} is no table of clips with columns file and split.") from error


def validate_people(splits: dict[str, str]) -> set[str]:
    """Who is seen in the validate split of `splits` (stem → split) and is never learned from."""
    return {person_of("clips", stem) for stem, split in splits.items() if split == "validate"}


def neutral_faces(folder: Path, mean: np.ndarray, unseen: set[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(N, 478, 3) closed-lipped neutral face of each clip below `folder`, aligned to `mean`, and (N,) the persons.

    The persons `unseen` are left out.

    Raises
    ------
    UserInputError
        If the folder holds no landmark files.
    """
    faces, people = [], []
    for group, limit in GROUPS.items():
        for file in sorted((folder / group).glob("*.npz"))[:limit]:
            if person_of(group, file.stem) in (unseen or ()):
                continue
            with np.load(file, allow_pickle=False) as data:
                points = data["landmarks"]
            points = points[np.isfinite(points).all((1, 2))]
            if len(points) < 20:
                continue
            points = points[:: max(1, len(points) // FRAMES_PER_CLIP)].astype(np.float64)
            shape, closed = neutral_of(align(points, mean, lm.RIGID))
            if closed:
                faces.append(shape)
                people.append(person_of(group, file.stem))
    if not faces:
        raise UserInputError(f"{folder} holds no landmark files in {', '.join(GROUPS)}; run the tracker first.")
    return align(np.stack(faces), mean, NOT_MOUTH), np.array(people)


def principal(faces: np.ndarray, mirror: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (478, 3), modes (count, 478, 3) in metres per σ, and the share of variance (count,) that each explains.

    `faces` (N, 478, 3) and their mirror images are one sample, so that every mode is symmetric or antisymmetric.
    """
    both = np.concatenate([faces, faces[:, mirror] * [-1, 1, 1]])
    centre = both.mean(0)
    centred = (both - centre).reshape(len(both), -1)
    size = np.linalg.norm(centred, axis=1)
    centred = centred[size < OUTLIER * np.median(size)]
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    sigma = singular[:count] / np.sqrt(len(centred) - 1)
    modes = (directions[:count] * sigma[:, None]).reshape(-1, *centre.shape)
    return centre, modes, (singular**2 / (singular**2).sum())[:count]


def residual(faces: np.ndarray, mean: np.ndarray, modes: np.ndarray, noise: float = 1e-3) -> float:
    """Mean landmark distance in mm after fitting N(0, 1) coefficients to `faces` (N, L, 3) of `noise` metres."""
    offset = (faces - mean).reshape(len(faces), -1)
    rows = modes.reshape(len(modes), offset.shape[1])
    solved = np.linalg.solve(rows @ rows.T + noise**2 * np.eye(len(rows)), rows @ offset.T)
    left = (offset - solved.T @ rows).reshape(faces.shape)
    return 1e3 * float(np.linalg.norm(left, axis=-1).mean())


def held_out(faces: np.ndarray, people: np.ndarray, mean: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(len(CHECKED),) mm: `residual` on people whom the modes have not seen, by `FOLDS`-fold cross-validation."""
    names = np.random.default_rng(0).permutation(np.unique(people))
    errors, weights = [], []
    for fold in range(FOLDS):
        out = np.isin(people, names[fold::FOLDS])
        _, modes, _ = principal(faces[~out], mirror, MODES)
        errors.append([residual(faces[out], mean, modes[:count]) for count in CHECKED])
        weights.append(out.sum())
    return np.average(errors, axis=0, weights=weights)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("index", type=Path, help="the clips' index.csv: its validate split's people are left out")
    parser.add_argument("--statistics", type=Path, default=Path(__file__).with_name("statistics.npz"))
    options = parser.parse_args()
    known = load_npz(options.statistics, SCHEMA, VERSION)
    mean, mirror = known["mean"].astype(np.float64), known["mirror"]
    faces, people = neutral_faces(options.folder, mean, validate_people(read_index(options.index)))
    _, modes, explained = principal(faces, mirror, MODES)
    known |= {
        "identity_modes": modes.astype(np.float32),
        "identity_sigma": np.linalg.norm(modes.reshape(MODES, -1), axis=1).astype(np.float32),
        "identity_explained": explained.astype(np.float32),
        "identity_people": np.array(len(np.unique(people))),
        "held_out_modes": np.array(CHECKED),
        "held_out_mm": held_out(faces, people, mean, mirror).astype(np.float32),
    }
    save_npz(options.statistics, SCHEMA, VERSION, known)


if __name__ == "__main__":
    main()
