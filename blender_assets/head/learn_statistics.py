"""Statistics of tracked faces: ``python -m blender_assets.head.learn_statistics LANDMARK_FOLDER --out
statistics.npz``.

LANDMARK_FOLDER holds one folder per clip group with MediaPipe landmark files: `landmarks` (T, 478, 3)
pixels. Only means and mean
displacements leave this script; no frame and no person's shape does. `learn_identity` adds the modes afterwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from blender_assets.head import landmarks as lm
from blender_assets.head.alignment import align, centre_plane, mirror_permutation, symmetrise
from ml_backend.artefacts.schema import save_npz
from ml_backend.errors import UserInputError

SCHEMA, VERSION = "parley.head_statistics", 1
BIOCULAR = 0.090  # m between the outer eye corners of an adult (Farkas 1994: 88–91 mm)
GROUPS = {
    "clips": 99,
    "motion_only": 99,
    "others": 99,
    "s1": 3,
}  # s1 is one man: three clips of him are enough
FRAMES_PER_CLIP = 240
PAIRS = np.array([(33, 263), (133, 362), (61, 291), (234, 454), (172, 397), (54, 284)])
NOT_MOUTH = np.setdiff1d(
    np.arange(lm.FACE_COUNT), [*lm.LIPS_INNER, *lm.LIPS_OUTER, 152, 148, 377, 176, 400, 149, 378]
)
# What a frame is described by, each in metres of the aligned face; the gestures are the mean displacement
# per metre of each.
FEATURES = (
    "mouth_gap",
    "mouth_width",
    "corner_height",
    "lip_push",
    "eye_left",
    "eye_right",
    "brow_inner",
    "brow_left",
    "brow_right",
)


def read_clips(folder: Path) -> list[np.ndarray]:
    """The landmark sequences (T, 478, 3) below `folder`, at most `FRAMES_PER_CLIP` frames each;
    UserInputError if none."""
    clips = []
    for group, limit in GROUPS.items():
        for file in sorted((folder / group).glob("*.npz"))[:limit]:
            with np.load(file, allow_pickle=False) as data:
                points = data["landmarks"]
            points = points[np.isfinite(points).all((1, 2))]
            if len(points) >= 20:
                clips.append(points[:: max(1, len(points) // FRAMES_PER_CLIP)].astype(np.float64))
    if not clips:
        raise UserInputError(
            f"{folder} holds no landmark files in {', '.join(GROUPS)}; run the tracker on the data first."
        )
    return clips


def features(frames: np.ndarray) -> np.ndarray:
    """(T, F) the measures named in `FEATURES`, metres, of aligned `frames` (T, 478, 3) in metres."""

    def distance(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(frames[:, a] - frames[:, b], axis=-1)

    eyes = frames[:, [33, 133, 362, 263], 1].mean(1)
    corner = frames[:, [61, 291], 1].mean(1) - frames[:, 168, 1]
    push = frames[:, [0, 17], 2].mean(1) - frames[:, 168, 2]
    return np.stack(
        [
            distance(13, 14),
            distance(61, 291),
            -corner,
            -push,
            distance(386, 374),
            distance(159, 145),
            eyes - frames[:, [107, 336], 1].mean(1),
            eyes - frames[:, [282, 334], 1].mean(1),
            eyes - frames[:, [52, 105], 1].mean(1),
        ],
        1,
    )


def neutral_of(frames: np.ndarray) -> tuple[np.ndarray, bool]:
    """Median (478, 3) of the frames of one clip with closed lips and open eyes, and whether the lips do
    close in it."""
    values = features(frames)
    gap = values[:, 0]
    eye = values[:, 4:6].mean(1)
    # Smiles widen and lift the corners: among the closed frames those with the least stretched lips are the
    # most neutral.
    stretched = np.maximum(values[:, 1] - np.median(values[:, 1]), 0)
    score = gap + 0.5 * stretched + 2 * np.maximum(np.median(eye) - eye, 0)
    chosen = np.argsort(score)[: max(3, len(frames) // 8)]
    return np.median(frames[chosen], 0), bool(np.median(gap[chosen]) < 0.004)


def mean_face(clips: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Symmetric mean (478, 3) in metres, mirror permutation (478,), and the clips aligned to it."""
    yaw = [np.abs(points[:, 234, 2] - points[:, 454, 2]).mean() for points in clips]
    first = clips[int(np.argmin(yaw))]
    mean = centre_plane(first.mean(0), PAIRS)
    mirror = np.arange(lm.COUNT)
    for step in range(6):
        mean *= BIOCULAR / np.linalg.norm(mean[lm.EYE_CORNERS[0]] - mean[lm.EYE_CORNERS[1]])
        neutrals = np.stack([neutral_of(align(points, mean, lm.RIGID))[0] for points in clips])
        mean = centre_plane(align(neutrals, mean, NOT_MOUTH).mean(0), PAIRS)
        if step >= 2:
            mirror = mirror_permutation(mean)
            mean = symmetrise(mean, mirror)
    mean *= BIOCULAR / np.linalg.norm(mean[lm.EYE_CORNERS[0]] - mean[lm.EYE_CORNERS[1]])
    mean = level(mean, clips)
    return mean, mirror, [align(points, mean, lm.RIGID) for points in clips]


def level(mean: np.ndarray, clips: list[np.ndarray]) -> np.ndarray:
    """`mean` pitched to the median pitch at which the tracked people face their cameras."""
    pitches = []
    for points in clips:
        middle = points[len(points) // 2]
        seen = align(mean[None], middle - middle.mean(0), np.arange(lm.FACE_COUNT))[0]
        down = seen[152] - seen[10]
        own = mean[152] - mean[10]
        pitches.append(np.arctan2(down[2], down[1]) - np.arctan2(own[2], own[1]))
    angle = float(np.median(pitches))
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return mean @ turn.T


def gestures(aligned: list[np.ndarray], mirror: np.ndarray) -> np.ndarray:
    """(F, 478, 3) mean displacement of the landmarks per metre of each of `FEATURES`, ridge regression over
    all frames."""
    moved, measured = [], []
    for frames in aligned:
        still, _ = neutral_of(frames)
        moved.append((frames - still).reshape(len(frames), -1))
        measured.append(features(frames) - features(still[None]))
    x, y = np.concatenate(measured), np.concatenate(moved)
    gram = x.T @ x + 1e-6 * len(x) * np.eye(x.shape[1])
    fields = np.linalg.solve(gram, x.T @ y).reshape(-1, lm.COUNT, 3)
    swap = np.array(
        [
            FEATURES.index(name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right"))
            for name in FEATURES
        ]
    )
    return 0.5 * (fields + fields[swap][:, mirror] * [-1, 1, 1])


def ranges(aligned: list[np.ndarray]) -> np.ndarray:
    """(F, 5) percentiles 1, 10, 50, 90, 99 over all frames of each feature's departure from the clip's
    neutral, metres."""
    departures = [features(frames) - features(neutral_of(frames)[0][None]) for frames in aligned]
    return np.percentile(np.concatenate(departures), (1, 10, 50, 90, 99), axis=0).T


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("statistics.npz"))
    options = parser.parse_args()
    clips = read_clips(options.folder)
    mean, mirror, aligned = mean_face(clips)
    arrays = {
        "mean": mean,
        "mirror": mirror.astype(np.int32),
        "gestures": gestures(aligned, mirror),
        "feature_ranges": ranges(aligned),
        "feature_names": np.array(FEATURES),
        "clip_count": np.array(len(clips)),
        "frame_count": np.array(sum(map(len, clips))),
    }
    save_npz(
        options.out,
        SCHEMA,
        VERSION,
        {
            key: value.astype(np.float32) if value.dtype == np.float64 else value
            for key, value in arrays.items()
        },
    )


if __name__ == "__main__":
    main()
