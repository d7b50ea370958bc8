"""Skin colours of tracked people: ``python -m blender_assets.head.learn_texture DATA_FOLDER
LANDMARK_FOLDER``.

DATA_FOLDER holds the clips, LANDMARK_FOLDER their landmark files. Colours are read at the head's face
vertices in the most
frontal, closed-mouthed frames of each clip, shading is divided out, and only the median and principal modes
are written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from blender_assets.head import geometry
from blender_assets.head import landmarks as lm
from blender_assets.head.fields import Canvas, canvas, edge_fade
from blender_assets.head.learn_identity import FOLDS, person_of
from blender_assets.head.learn_statistics import SCHEMA as STATISTICS
from blender_assets.head.learn_statistics import VERSION as STATISTICS_VERSION
from blender_assets.head.part import smoothstep
from blender_assets.head.surface import face_masks
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.errors import UserInputError
from ml_backend.face_model.synthesis import spherical_harmonics, vertex_normals

SCHEMA, VERSION = "parley.head_texture", 1
GROUPS = {
    "clips": ("clips", 99),
    "motion_only": ("motion_only", 99),
    "others": ("grid/others", 99),
    "s1": ("grid/s1", 1),
}
FRAMES, MODES, LUMINANCE = 3, 24, 0.64
CHECKED = (0, 6, 12, 18, MODES)
"""Numbers of modes at which the residual on people left out is measured."""


def best_frames(points: np.ndarray) -> np.ndarray:
    """Indices of the `FRAMES` most frontal, closed-mouthed, open-eyed frames of `points` (T, 478, 3)."""
    width = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    yaw = np.abs(points[:, 234, 2] - points[:, 454, 2]) / width
    gap = np.linalg.norm(points[:, 13] - points[:, 14], axis=1) / width
    eye = np.linalg.norm(points[:, 159] - points[:, 145], axis=1) / width
    score = yaw + 3 * gap + 2 * np.maximum(np.nanmedian(eye) - eye, 0)
    score[~np.isfinite(score)] = np.inf
    return np.sort(np.argsort(score)[:FRAMES])


def sample(video: Path, landmarks: Path, weights: np.ndarray) -> np.ndarray | None:
    """(N, 3) median colours in [0, 1] at the vertices with landmark `weights` (N, 468), or None if nothing
    can be read."""
    with np.load(landmarks, allow_pickle=False) as data:
        points, size = data["landmarks"], data["size"]
    if not np.isfinite(points).any():
        return None
    capture, found = cv2.VideoCapture(str(video)), []
    for index in best_frames(points):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        ok, frame = capture.read()
        if not ok or frame.shape[1::-1] != tuple(size) or not np.isfinite(points[index]).all():
            continue
        pixels = (weights @ points[index, : lm.FACE_COUNT, :2]).astype(np.float32)
        blur = 0.012 * float(np.linalg.norm(points[index, 33] - points[index, 263]))
        soft = cv2.GaussianBlur(frame, (0, 0), max(0.5, blur))
        found.append(
            cv2.remap(soft, pixels[:, None, :1], pixels[:, None, 1:], cv2.INTER_LINEAR)[:, 0, ::-1] / 255.0
        )
    capture.release()
    return np.median(found, 0) if found else None


def unshade(colours: np.ndarray, normals: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """`colours` (N, 3) without the smooth light and shade that 9 spherical harmonics explain on the `skin`
    (N,) bool."""
    harmonics = spherical_harmonics(normals)
    luminance = colours.mean(1)
    weight = skin.astype(float)
    for _ in range(5):
        left = harmonics * weight[:, None]
        gram = left.T @ harmonics + 1e-2 * weight.sum() * np.diag([0, 1, 1, 1, 1, 1, 1, 1, 1.0])
        light = np.linalg.solve(gram, left.T @ luminance)
        shade = harmonics @ light
        weight = skin / (1 + ((luminance - shade) / 0.05) ** 2)
    shade = np.clip(shade / np.average(shade, weights=weight + 1e-9), 0.4, 2.0)
    return colours / shade[:, None]


def learn(on: Canvas, data: Path, landmarks: Path) -> dict[str, np.ndarray]:
    """Median colours and modes over the people of `data` at the face vertices of the canvas."""
    masks = face_masks(on)
    quads = on.head.face.quads
    normals = vertex_normals(on.rest, np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]]))
    # Towards the oval frames show hair and background, and cheeks that turn away are read from few pixels.
    fade = edge_fade(on, 0.032) * smoothstep(-normals[:, 2], 0.35, 0.70)
    fade = np.maximum(
        fade, edge_fade(on) * smoothstep(on.plane[:, 1], 0.03, 0.05) * smoothstep(-normals[:, 2], 0.2, 0.6)
    )
    skin = (masks["lips"] < 0.05) & (masks["brow"] < 0.05) & (masks["eyes"] < 0.5) & (fade > 0.9)
    stack, names = gather(on, data, landmarks, normals, skin)
    stack = 0.5 * (stack + stack[:, on.head.face.mirror])
    tone = stack[:, skin].mean(1, keepdims=True)
    stack = tone + (stack - tone) * fade[:, None]
    middle = np.median(stack, 0)
    scale = LUMINANCE / middle[skin].mean()
    centred = ((stack - middle) * scale).reshape(len(stack), -1)
    size = np.linalg.norm(centred, axis=1)
    good = size < 2.5 * np.median(size)
    centred, who = centred[good], names[good]
    modes, explained = principal(centred, MODES)
    return {
        "plane": on.plane,
        "mean": np.clip(middle * scale, 0, 1),
        "modes": modes.reshape(len(modes), -1, 3),
        "explained": explained,
        "people": np.array(len(np.unique(who))),
        "held_out_modes": np.array(CHECKED),
        "held_out": held_out(centred, who),
    }


def gather(
    on: Canvas, data: Path, landmarks: Path, normals: np.ndarray, skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unshaded colours (C, N, 3) of all clips that can be read, and (C,) who is seen in them; UserInputError
    if there are less than five."""
    people, names = [], []
    for group, (folder, limit) in GROUPS.items():
        for file in sorted((landmarks / group).glob("*.npz"))[:limit]:
            colours = sample(data / folder / f"{file.stem}.mp4", file, on.head.face.weights)
            if colours is not None and 0.12 < colours[skin].mean() < 0.95:
                people.append(unshade(colours, normals, skin))
                names.append(person_of(group, file.stem))
    if len(people) < 5:
        raise UserInputError(
            f"Only {len(people)} clips of {data} could be read with {landmarks}; check both folders."
        )
    return np.stack(people), np.array(names)


def principal(centred: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, D) modes per σ of the rows of `centred` (N, D), and the share of variance (count,) of each."""
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    modes = directions[:count] * singular[:count, None] / np.sqrt(len(centred))
    return modes, (singular**2 / (singular**2).sum())[:count]


def held_out(centred: np.ndarray, who: np.ndarray, noise: float = 0.03) -> np.ndarray:
    """(len(CHECKED),) root mean square colour error of people whom the modes have not seen (5-fold by person)."""
    names = np.random.default_rng(0).permutation(np.unique(who))
    squares = np.zeros(len(CHECKED))
    for fold in range(FOLDS):
        out = np.isin(who, names[fold::FOLDS])
        modes, _ = principal(centred[~out], MODES)
        for place, count in enumerate(CHECKED):
            rows = modes[:count]
            gram = rows @ rows.T + noise**2 * np.eye(count)
            left = centred[out] - np.linalg.solve(gram, rows @ centred[out].T).T @ rows
            squares[place] += (left**2).sum()
    return np.sqrt(squares / centred.size)


def main() -> None:
    """Command line entry."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("landmarks", type=Path)
    parser.add_argument("--statistics", type=Path, default=here / "statistics.npz")
    parser.add_argument("--out", type=Path, default=here / "texture.npz")
    options = parser.parse_args()
    statistics = load_npz(options.statistics, STATISTICS, STATISTICS_VERSION)
    on = canvas(geometry.build(statistics["mean"], statistics["mirror"]), statistics["mirror"])
    learned = learn(on, options.data, options.landmarks)
    save_npz(
        options.out,
        SCHEMA,
        VERSION,
        {key: value.astype(np.float16) if value.dtype.kind == "f" else value for key, value in learned.items()},
    )


if __name__ == "__main__":
    main()
