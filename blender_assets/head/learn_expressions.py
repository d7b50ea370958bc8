"""What tracked people teach the expression shapes: ``python -m blender_assets.head.learn_expressions LANDMARKS INDEX``.

LANDMARKS holds the folders of landmark files (see README), INDEX is the clips' `index.csv`; people who appear in its
validate split are never learned from. Frames are explained by the head with its designed shapes, and what is left is
regressed on the weights: a small correction per shape and landmark (example-based, after Li, Weise and Pauly 2010),
which dies out where the designed shape does nothing. `expressions.npz` keeps these corrections and nothing else.
``--check`` only measures a model on the validate clips.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from blender_assets.head import landmarks as lm
from blender_assets.head.fit_frames import FrameFit, fit_frames, metric
from blender_assets.head.learn_identity import person_of, read_index, validate_people
from blender_assets.head.learn_statistics import GROUPS
from blender_assets.head.learn_statistics import SCHEMA as STATISTICS_SCHEMA
from blender_assets.head.learn_statistics import VERSION as STATISTICS_VERSION
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.errors import UserInputError
from ml_backend.face_model import model as face_model
from ml_backend.reconstruct.points import Rig, rig

SCHEMA, VERSION = "parley.head_expressions", 1
HERE = Path(__file__).parent
FRAMES, CHECK_FRAMES, ROUNDS = 40, 100, 2
KEPT = ("eye", "jawLeft", "jawRight", "jawForward", "cheekPuff", "tongueOut", "mouthClose", "mouthLeft", "mouthRight")
"""Shapes that stay as designed: lids are bound to the eyeball, the others look too much alike in landmarks."""
TRUST = 0.35
"""Standard deviation of a correction, as a share of what the designed shape does around the landmark."""
REACH, LEAST = 0.008, 0.08
"""Metres of that surrounding, and the share of the shape's largest motion below which nothing is corrected."""
CALM = {"mouthStretch": 0.15, "mouthPucker": 0.2, "mouthDimple": 0.6, "browOuterUp": 0.6}
"""Share of a correction that is kept, where all of it took a shape's own character away when looked at: stretched lips
sank into a frown, puckered ones were pinched. Their frames have other shapes to go to."""
DEPTH_TRUST = 0.4
"""Depth is seen only in turned heads: corrections along z are held tighter by this."""
NOISE, INDEPENDENT = 0.0012, 0.1
"""Metres by which a landmark errs; share of frames that count as independent."""
GROUPS_SHOWN = {
    "all": None, "lips": (*lm.LIPS_INNER, *lm.LIPS_OUTER), "eyes": (*lm.EYE_LEFT, *lm.EYE_RIGHT),
    "brows": (*lm.BROW_LEFT, *lm.BROW_RIGHT),
}  # fmt: skip
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One person's frames: landmarks (T, 478, 3) px and the picture's size (2,) px."""

    landmarks: np.ndarray
    size: np.ndarray


def read_clips(folder: Path, splits: dict[str, str], *, validate: bool) -> Iterator[Clip]:
    """Evenly spaced frames of the clips below `folder`: the validate split's, or those of people not seen in it."""
    unseen = validate_people(splits)
    count, found = (CHECK_FRAMES, False) if validate else (FRAMES, False)
    for group, limit in GROUPS.items():
        for file in sorted((folder / group).glob("*.npz"))[:limit]:
            chosen = group == "clips" and splits.get(file.stem) == "validate"
            if chosen != validate or (not validate and person_of(group, file.stem) in unseen):
                continue
            with np.load(file, allow_pickle=False) as data:
                points, size = data["landmarks"], data["size"]
            points = points[np.isfinite(points).all((1, 2))]
            if len(points) >= 20:
                found = True
                yield Clip(points[np.linspace(0, len(points) - 1, count).round().astype(int)], size)
    if not found:
        raise UserInputError(f"{folder} holds no landmark files of such clips in {', '.join(GROUPS)}.")


def spreads(rest: np.ndarray, shapes: np.ndarray, names: list[str]) -> np.ndarray:
    """(K, L) metres: prior standard deviations of corrections of `shapes` (K, L, 3) at `rest` (L, 3)."""
    near = np.exp(-(((rest[:, None] - rest[None]) ** 2).sum(-1)) / REACH**2)
    size = np.sqrt((shapes**2).sum(-1) @ (near / near.sum(0)))
    size[size < LEAST * size.max(1, keepdims=True)] = 0
    free = np.array([not name.startswith(KEPT) for name in names])
    return TRUST * size * free[:, None]


def mirrored_names(names: list[str]) -> np.ndarray:
    """(K,) row of each shape's mirror image."""
    swapped = [name.replace("Left", "*").replace("Right", "Left").replace("*", "Right") for name in names]
    return np.array([names.index(name) for name in swapped])


def gather(fits: list[FrameFit], corrections: np.ndarray, mirror: np.ndarray, names: list[str]
           ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Normal equations (3K, 3K) and (3K, L) of the corrections, from all clips and their mirror images.

    `corrections` (K, L, 3) are those that the fits have used; `mirror` (L,) permutes landmarks.
    """
    flip, swap = np.array([-1.0, 1.0, 1.0]), mirrored_names(names)
    count, points = corrections.shape[:2]
    gram, right = np.zeros((3 * count, 3 * count)), np.zeros((3 * count, points))
    for fit in fits:
        missing = fit.left + np.tensordot(fit.weights, corrections, 1)
        seen = metric(fit.view.rotation)
        for weights, left, metrics in (
            (fit.weights, missing, seen),
            (fit.weights[:, swap], missing[:, mirror] * flip, seen * flip[:, None] * flip),
        ):
            # A person's own features are in every frame alike: only departures from the clip's mean tell of shapes.
            w, d = weights - weights.mean(0), left - left.mean(0)
            gram += np.einsum("tk,tj,tab->kajb", w, w, metrics, optimize=True).reshape(gram.shape)
            right += np.einsum("tk,tab,tlb->kal", w, metrics, d, optimize=True).reshape(right.shape)
    scale = INDEPENDENT / NOISE**2
    return scale * gram, scale * right


def solve(gram: np.ndarray, right: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(K, L, 3) most likely corrections given `gather`'s equations and prior `spread` (K, L), metres."""
    count, points = spread.shape
    result = np.zeros((count, points, 3))
    for point in range(points):
        deviation = spread[:, point, None] * [1.0, 1.0, DEPTH_TRUST]
        rows = np.flatnonzero(deviation.ravel() > 1e-6)
        if len(rows):
            system = gram[np.ix_(rows, rows)] + np.diag(deviation.ravel()[rows] ** -2)
            flat = result[:, point].reshape(-1)
            flat[rows] = np.linalg.solve(system, right[rows, point])
            result[:, point] = flat.reshape(count, 3)
    return result


def learn(clips: list[Clip], designed: Rig, mirror: np.ndarray) -> np.ndarray:
    """(K, L, 3) metres: corrections to the shapes of `designed` from `clips`, poses and weights found in turn."""
    spread = spreads(designed.mean, designed.expression, designed.names)
    corrections = np.zeros_like(designed.expression)
    for step in range(ROUNDS):
        current = replace(designed, expression=designed.expression + corrections)
        fits = [fit_frames(clip.landmarks, clip.size, current) for clip in clips]
        corrections = solve(*gather(fits, corrections, mirror, designed.names), spread)
        left = np.mean([100 * (fit.pixels / interocular(clip.landmarks)[:, None]).mean()
                        for fit, clip in zip(fits, clips, strict=True)])  # fmt: skip
        log.info("round %d of %d: %.3f %% of the interocular distance before it", step + 1, ROUNDS, left)
    return corrections


def calmed(corrections: np.ndarray, names: list[str]) -> np.ndarray:
    """`corrections` (K, L, 3) with the shares of `CALM`."""
    shares = [next((share for stem, share in CALM.items() if name.startswith(stem)), 1.0) for name in names]
    return corrections * np.array(shares)[:, None, None]


def interocular(landmarks: np.ndarray) -> np.ndarray:
    """(T,) px between the outer eye corners of `landmarks` (T, 478, 3), in three dimensions."""
    return np.linalg.norm(landmarks[:, lm.EYE_CORNERS[0]] - landmarks[:, lm.EYE_CORNERS[1]], axis=-1)


def check(clips: list[Clip], model: face_model.FaceModel) -> dict[str, float]:
    """Mean landmark distance in % of the interocular distance after fitting `model` to `clips`, by group of points."""
    points, values = rig(model), []
    for clip in clips:
        share = 100 * fit_frames(clip.landmarks, clip.size, points).pixels / interocular(clip.landmarks)[:, None]
        values.append([
            share[:, slice(None) if group is None else np.isin(points.index, group)].mean()
            for group in GROUPS_SHOWN.values()
        ])  # fmt: skip
    return dict(zip(GROUPS_SHOWN, np.mean(values, 0).tolist(), strict=True))


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--model", type=Path, default=HERE / "parley_head.npz", help="built with --designed")
    parser.add_argument("--statistics", type=Path, default=HERE / "statistics.npz")
    parser.add_argument("--out", type=Path, default=HERE / "expressions.npz")
    parser.add_argument("--check", action="store_true", help="only measure --model on the validate clips")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = face_model.load(options.model)
    clips = list(read_clips(options.folder, read_index(options.index), validate=options.check))
    if options.check:
        log.info(", ".join(f"{name} {value:.3f} %" for name, value in check(clips, model).items()))
        return
    mirror = load_npz(options.statistics, STATISTICS_SCHEMA, STATISTICS_VERSION)["mirror"]
    corrections = calmed(learn(clips, rig(model), mirror), model.names)
    used = np.flatnonzero(np.abs(corrections).max((1, 2)) > 1e-6)
    save_npz(options.out, SCHEMA, VERSION, {
        "names": np.array(model.names)[used],
        "corrections": corrections[used, : lm.FACE_COUNT].astype(np.float32),
        "clip_count": np.array(len(clips)),
    })  # fmt: skip


if __name__ == "__main__":
    main()
