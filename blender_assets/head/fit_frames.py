"""Tracked frames explained by a face model without any prior on what faces do: identity per clip, pose and box-bound
expression per frame.

`ml_backend.reconstruct` adds time, contacts, a personal offset and priors for film; statistics of shapes need the bare
least squares, the same for every model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.face_model.synthesis import project
from ml_backend.reconstruct import boxsolve, pose
from ml_backend.reconstruct.fit import View, observe, stable_weights
from ml_backend.reconstruct.points import Rig

ROUNDS = 10
DEPTH = 0.02
"""Weight of a squared error along the camera's axis: MediaPipe's depth only keeps the solve from drifting."""
NOISE = 0.0015
"""Metres by which a landmark errs."""
INDEPENDENT = 0.15
"""Neighbouring landmarks err alike: this share of them counts."""
WEIGHT_SIGMA = 0.6
"""Standard deviation of an expression weight's prior: wide, and the same for all."""


@dataclass(frozen=True)
class FrameFit:
    """T frames of one clip explained. L landmarks, K expressions, I identities.

    Attributes
    ----------
    view : landmarks, pose and camera
    neutral : (L, 3) metres, the person's landmarks at rest
    weights : (T, K) in [0, 1]
    left : (T, L, 3) metres, model space, what the shapes do not explain
    pixels : (T, L) distance of seen and explained landmarks
    """

    view: View
    neutral: np.ndarray
    weights: np.ndarray
    left: np.ndarray
    pixels: np.ndarray


def fit_frames(landmarks: np.ndarray, size: np.ndarray, rig: Rig) -> FrameFit:
    """Explain `landmarks` (T, 478, 3) px of one person, frame `size` (2,) px, by the model that `rig` was cut from."""
    seen = landmarks[:, rig.index].astype(np.float64)
    centre = np.asarray(size, float) / 2
    weight = stable_weights(rig)
    unit = float(max(size))
    depth = pose.initial_pose(seen, rig.mean, weight, unit, centre)[1][:, 2]
    focal = pose.default_focal(size, float(np.median(unit / depth)))
    rotation, translation = pose.initial_pose(seen, rig.mean, weight, focal, centre)
    identity, weights = np.zeros(len(rig.identity)), np.zeros((len(seen), len(rig.names)))
    view = View(seen, rotation, translation, focal, centre)
    neutral, moved, target = rig.mean, np.zeros_like(seen), np.zeros_like(seen)
    for step in range(ROUNDS):
        even = weight if step < 2 else np.full(len(weight), 1 / len(weight))
        turn, move = pose.refine_pose(seen, neutral + moved, even, focal, centre, view.rotation, view.translation)
        view = View(seen, turn, move, focal, centre)
        target = observe(view, neutral + moved, weight)
        weights = solve_weights(target - neutral, view.rotation, rig.expression, weights)
        moved = np.tensordot(weights, rig.expression, 1)
        identity = _solve_identity(target - moved - rig.mean, view.rotation, rig)
        neutral = rig.mean + np.tensordot(identity, rig.identity, 1)
    camera = (neutral + moved) @ view.rotation.transpose(0, 2, 1) + view.translation[:, None]
    pixels = np.linalg.norm(project(camera, focal, centre) - seen[..., :2], axis=-1)
    return FrameFit(view, neutral, weights, target - neutral - moved, pixels)


def metric(rotation: np.ndarray) -> np.ndarray:
    """(T, 3, 3) squared errors in model space as the camera sees them, depth counting `DEPTH`."""
    return np.einsum("tia,i,tib->tab", rotation, np.array([1.0, 1.0, DEPTH]), rotation)


def solve_weights(left: np.ndarray, rotation: np.ndarray, shapes: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(T, K) box-bound weights of `shapes` (K, L, 3) for displacements `left` (T, L, 3)."""
    gram, right = _normal(left, rotation, shapes)
    gram += np.eye(len(shapes)) / WEIGHT_SIGMA**2
    chain = boxsolve.Chain(np.zeros(len(shapes)), np.zeros(max(len(left) - 1, 0), bool))
    return boxsolve.solve(gram, right, chain, start=start)


def _solve_identity(left: np.ndarray, rotation: np.ndarray, rig: Rig) -> np.ndarray:
    gram, right = _normal(left, rotation, rig.identity)
    share = min(len(left), 8) / len(left)
    return np.linalg.solve(gram.sum(0) * share + np.eye(len(rig.identity)), right.sum(0) * share)


def _normal(left: np.ndarray, rotation: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G (T, K, K) and b (T, K) of the least squares of `left` (T, L, 3) by `basis` (K, L, 3)."""
    seen = metric(rotation)
    planes = basis.transpose(2, 0, 1)
    blocks = np.stack([planes[a] @ planes[b].T for a in range(3) for b in range(3)]).reshape(9, -1)
    scale = INDEPENDENT / NOISE**2
    gram = scale * (seen.reshape(-1, 9) @ blocks).reshape(-1, len(basis), len(basis))
    return gram, scale * ((left @ seen).reshape(len(left), -1) @ basis.reshape(len(basis), -1).T)
