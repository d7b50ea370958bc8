"""How well a face model takes the shapes of unseen people's faces: landmark residuals of the Parley head and of ICT.

Identity per clip and expression per frame explain MediaPipe's points of clips of the split "validate", with the parts
of the reconstruction that do so in Parley (pose, box-constrained expressions, Gaussian identity), but without what
takes up a model's faults there: no per-person offset, no correction of lips and lids, no smoothing. The residual is
the mean distance in the picture between fitted and observed points, over the distance of the outer eye corners in
space (so that a turned face counts like a frontal one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ml_backend.face_model.loaders import convert
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project
from ml_backend.reconstruct import fit, pose
from ml_backend.reconstruct.points import (
    CORRELATION,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    OUTLINE,
    Measurements,
    Rig,
    noise,
    rig,
)
from tests.benchmarks.face_clips import Clip
from tests.benchmarks.report import Figure

PART = "expressiveness"
RATIO_BAR, RESIDUAL_BAR = 1.2, 2.5
FRAMES = 500
ROUNDS = 6
EYE_CORNERS = (33, 263)
GROUPS = {"lips": LIPS_INNER + LIPS_OUTER, "eyes": EYE_RIGHT + EYE_LEFT, "outline": OUTLINE}
ICT_FILE = Path("face_models") / "ict_facekit.npz"


@dataclass(frozen=True)
class Fitted:
    """Landmarks explained by a model. T frames, L landmarks, residuals in shares of the interocular distance.

    Attributes
    ----------
    index : (L,) MediaPipe index
    residual : (T, L)
    """

    index: np.ndarray
    residual: np.ndarray


def common_rig(model: FaceModel, shared: np.ndarray) -> Rig:
    """The model's rig cut down to the landmarks `shared`."""
    whole = rig(model)
    keep = np.isin(whole.index, shared)
    return replace(whole, index=whole.index[keep], vertex=whole.vertex[keep], mean=whole.mean[keep],
                   identity=whole.identity[:, keep], expression=whole.expression[:, keep])


def shared_landmarks(first: FaceModel, second: FaceModel) -> np.ndarray:
    """MediaPipe indices (without irises) that both models know."""
    both = np.intersect1d(first.landmark_index, second.landmark_index)
    return both[both < IRIS_RIGHT]


def plain_rows(points: Rig) -> Measurements:
    """Every landmark by itself, weighted by its noise."""
    count = len(points.index)
    return Measurements(np.arange(count), np.full(count, -1), CORRELATION / noise(points) ** 2,
                        np.clip(0.5 + points.mean[:, 0] / 0.03, 0, 1))


def explain(landmarks: np.ndarray, size: np.ndarray, points: Rig, focal: float) -> Fitted:
    """Fit one person's landmarks (T, 478, 3) px in frames of `size` (2,), seen with `focal` px."""
    seen, centre = landmarks[:, points.index].astype(float), np.asarray(size, float) / 2
    weight, rows = fit.stable_weights(points), plain_rows(points)
    identity, expression = np.zeros(len(points.identity)), None
    deformed = np.broadcast_to(points.mean, seen.shape)
    rotation, move = pose.initial_pose(seen, points.mean, weight, focal, centre)
    for _ in range(ROUNDS):
        rotation, move = pose.refine_pose(seen, deformed, weight, focal, centre, rotation, move)
        target = fit.observe(fit.View(seen, rotation, move, focal, centre), deformed, weight)
        neutral = points.mean + np.tensordot(identity, points.identity, 1)
        expression = fit.solve_expressions(target, neutral, rotation, points, rows, start=expression)
        moved = np.tensordot(expression, points.expression, 1)
        identity = fit.solve_identity(target - moved - points.mean, rotation, points)
        deformed = points.mean + np.tensordot(identity, points.identity, 1) + moved
    rotation, move = pose.refine_pose(seen, deformed, weight, focal, centre, rotation, move)
    camera = deformed @ rotation.transpose(0, 2, 1) + move[:, None]
    error = np.linalg.norm(project(camera, focal, centre) - seen[..., :2], axis=-1)
    return Fitted(points.index, error / interocular(landmarks)[:, None])


def interocular(landmarks: np.ndarray) -> np.ndarray:
    """(T,) pixels between the outer corners of the eyes in space, of landmarks (T, 478, 3)."""
    first, second = EYE_CORNERS
    return np.linalg.norm(landmarks[:, first] - landmarks[:, second], axis=-1)


def by_group(fitted: Sequence[Fitted]) -> dict[str, float]:
    """Mean residual in percent over all, each of `GROUPS`, and the rest."""
    index, residual = fitted[0].index, np.concatenate([one.residual for one in fitted])
    named = np.concatenate([np.array(group) for group in GROUPS.values()])
    masks = {"all": np.ones(len(index), bool), **{name: np.isin(index, group) for name, group in GROUPS.items()},
             "rest": ~np.isin(index, named)}
    return {name: 100 * float(residual[:, mask].mean()) for name, mask in masks.items()}


def samples(clips: Sequence[Clip], frames: int = FRAMES) -> list[tuple[np.ndarray, np.ndarray]]:
    """Landmarks (T, 478, 3) of evenly spaced frames of each clip, `frames` in all, and the frame's size (2,)."""
    out = []
    for clip in clips:
        track, height_width = clip.landmarks(), clip.frames()[0].shape[:2]
        known = np.flatnonzero(track.confidence > 0)
        count = min(len(known), frames // len(clips))
        picks = np.unique(np.linspace(0, len(known) - 1, count).round().astype(int))
        out.append((track.landmarks[known[picks]], np.array(height_width[::-1])))
    return out


def compare(given: Sequence[tuple[np.ndarray, np.ndarray]], head: FaceModel, other: FaceModel
            ) -> tuple[dict[str, float], dict[str, float]]:
    """Residuals by group of `head` and of `other` on the same landmarks through the same solver."""
    shared = shared_landmarks(head, other)
    results = []
    for model in (head, other):
        points = common_rig(model, shared)
        results.append(by_group([explain(marks, size, points, camera(marks, size, points)) for marks, size in given]))
    return results[0], results[1]


def camera(landmarks: np.ndarray, size: np.ndarray, points: Rig) -> float:
    """Focal length in pixels as `fit_landmarks` guesses it."""
    return fit.guess_focal(landmarks[:, points.index].astype(float), points, size)


def measure(clips: Sequence[Clip], head: FaceModel, data: Path) -> list[Figure]:
    """Residuals of the Parley head and ICT-FaceKit, all and by group, against the bars."""
    ict = convert([data / ICT_FILE], head, "ict").model
    given = samples(clips)
    ours, theirs = compare(given, head, ict)
    count, shared = sum(len(marks) for marks, _ in given), len(shared_landmarks(head, ict))
    note = f"{count} frames of {len(clips)} people, {shared} landmarks"
    figures = [Figure(PART, "Parley head, residual", ours["all"], "%", RESIDUAL_BAR, False, note),
               Figure(PART, "ICT-FaceKit, residual", theirs["all"], "%", note="the same frames and solver"),
               Figure(PART, "Parley / ICT", ours["all"] / theirs["all"], "", RATIO_BAR, False)]
    for name in (*GROUPS, "rest"):
        figures.append(Figure(PART, f"{name}: Parley head", ours[name], "%", note=f"ICT {theirs[name]:.2f} %"))
    return figures
