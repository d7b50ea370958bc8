"""Camera and rigid head pose of every frame from landmarks: closed-form start, Gauss–Newton over all frames at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.signal import savgol_filter

from ml_backend.face_model.synthesis import rotation_angles, rotation_matrix

FOCAL_PER_SIDE = 1.2
"""Default focal length over the frame's longer side: a phone or a webcam at arm's length."""
DEPTH_WEIGHT = 0.15
"""How much MediaPipe's depth counts beside x and y in the pose."""
CHUNK = 400
NEGLIGIBLE = 0.1
CONVERGED = 2e-5
"""A step below this (radians, metres) ends the iteration: a tenth of the smallest jitter of the landmarks."""


LEAST_DISTANCE = 0.6
"""Metres: nobody is filmed from nearer; a face that fills its frame is a crop of a longer lens's picture.

MediaPipe's points carry too little perspective to tell the focal length by the reprojection error: on six of seven
clips it changed by less than 5 % on most clips from 1.2 to 5 times the longer side.
"""


def default_focal(size: np.ndarray, scale: float = 0.0) -> float:
    """Focal length in pixels for a frame of `size` (2,) that says nothing about its camera.

    `scale` is the face's typical size in pixels per metre; it keeps the camera at a plausible distance.
    """
    return max(FOCAL_PER_SIDE * float(max(size)), LEAST_DISTANCE * scale)


def initial_pose(points: np.ndarray, shape: np.ndarray, weight: np.ndarray, focal: float,
                 centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation by aligning MediaPipe's 3D points with the model (Umeyama 1991), frame by frame.

    Parameters
    ----------
    points : (T, L, 3) pixels
    shape : (L, 3) or (T, L, 3) metres
    weight : (L,)
    focal : pixels
    centre : (2,) pixels

    Returns
    -------
    rotation (T, 3, 3), translation (T, 3) metres
    """
    share = weight / weight.sum()
    model = np.broadcast_to(shape, points.shape)
    middle, origin = share @ points, share @ model
    a, b = points - middle[:, None], model - origin[:, None]
    covariance = np.einsum("l,tli,tlj->tij", share, a, b)
    u, values, vt = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(u @ vt))
    flip = np.stack([np.ones_like(sign), np.ones_like(sign), sign], -1)
    rotation = (u * flip[:, None]) @ vt
    scale = (values * flip).sum(1) / np.maximum(np.einsum("l,tli->t", share, b**2), 1e-12)
    depth = focal / np.maximum(scale, 1e-6)
    target = np.concatenate([(middle[:, :2] - centre) * (depth / focal)[:, None], depth[:, None]], 1)
    return rotation, target - np.einsum("tij,tj->ti", rotation, origin)


def refine_pose(points: np.ndarray, shape: np.ndarray, weight: np.ndarray, focal: float, centre: np.ndarray,
                rotation: np.ndarray, translation: np.ndarray, *, steps: int = 6
                ) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Newton on the reprojection error, with a soft row for MediaPipe's relative depth, Huber weights.

    Arguments and result as in `initial_pose`; `weight` may be (T, L).
    """
    model = np.broadcast_to(shape, points.shape)
    weights = np.broadcast_to(weight, points.shape[:2])
    use = np.flatnonzero(weights.max(0) > NEGLIGIBLE * weights.max())
    points, model, weights = points[:, use], model[:, use], weights[:, use]
    out = [_refine_chunk(points[s], model[s], weights[s], focal, centre, rotation[s], translation[s], steps)
           for s in (slice(i, i + CHUNK) for i in range(0, len(points), CHUNK))]
    return np.concatenate([r for r, _ in out]), np.concatenate([t for _, t in out])


def _refine_chunk(points: np.ndarray, model: np.ndarray, weights: np.ndarray, focal: float, centre: np.ndarray,
                  rotation: np.ndarray, translation: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    observed = (points[..., :2] - centre) / focal
    for _ in range(steps):
        turned = model @ rotation.transpose(0, 2, 1)
        residual, rows = _linearise(points, observed, turned, translation, weights, focal)
        spread = np.median(np.abs(residual[..., :2]), axis=(1, 2))[:, None] * 1.4826 + 1e-9
        error = np.linalg.norm(residual[..., :2], axis=-1)
        w = weights * np.minimum(1.0, 2.5 * spread / np.maximum(error, 1e-12))
        scaled = rows * np.sqrt(w)[..., None, None]
        flat = scaled.reshape(len(points), -1, 6)
        values = (residual * np.sqrt(w)[..., None]).reshape(len(points), -1)
        normal = flat.transpose(0, 2, 1) @ flat
        normal += 1e-9 * np.eye(6) * np.trace(normal, axis1=1, axis2=2)[:, None, None]
        step = np.linalg.solve(normal, flat.transpose(0, 2, 1) @ values[..., None])[..., 0]
        rotation = _exponential(np.clip(step[:, :3], -0.5, 0.5)) @ rotation
        translation = translation + step[:, 3:]
        translation[:, 2] = np.maximum(translation[:, 2], 0.05)
        if float(np.abs(step).max()) < CONVERGED:
            break
    return rotation, translation


def _linearise(points: np.ndarray, observed: np.ndarray, turned: np.ndarray, translation: np.ndarray,
               weights: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (T, L, 3) and their Jacobian (T, L, 3, 6) in rotation vector and translation; unit focal length."""
    camera = turned + translation[:, None]
    depth = camera[..., 2]
    seen = camera[..., :2] / depth[..., None]
    share = weights / weights.sum(1, keepdims=True)
    level = np.einsum("tl,tl->t", share, turned[..., 2])
    deep = (points[..., 2] - np.einsum("tl,tl->t", share, points[..., 2])[:, None]) / focal
    gap = DEPTH_WEIGHT * (deep - (turned[..., 2] - level[:, None]) / translation[:, None, 2])
    residual = np.concatenate([observed - seen, gap[..., None]], -1)
    rows = np.zeros((*camera.shape, 6))
    x, y, z = np.moveaxis(turned, -1, 0)
    u, v = np.moveaxis(seen, -1, 0)
    # d(camera)/d(omega) = -[turned]x ; d(camera)/d(t) = identity
    rows[..., 0, 0], rows[..., 0, 1], rows[..., 0, 2] = -u * y / depth, (z + u * x) / depth, -y / depth
    rows[..., 1, 0], rows[..., 1, 1], rows[..., 1, 2] = -(z + v * y) / depth, v * x / depth, x / depth
    rows[..., 0, 3], rows[..., 0, 5] = 1 / depth, -u / depth
    rows[..., 1, 4], rows[..., 1, 5] = 1 / depth, -v / depth
    mean_x, mean_y = np.einsum("tl,tl->t", share, x), np.einsum("tl,tl->t", share, y)
    rows[..., 2, 0] = DEPTH_WEIGHT * (y - mean_y[:, None]) / translation[:, None, 2]
    rows[..., 2, 1] = -DEPTH_WEIGHT * (x - mean_x[:, None]) / translation[:, None, 2]
    return residual, rows


def _exponential(vectors: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations of rotation vectors (T, 3) (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.moveaxis(np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]), -1, 0)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def segments(landmarks: np.ndarray, known: np.ndarray | None = None) -> list[slice]:
    """Runs of frames without a cut: a jump of the face by more than a quarter of its size starts a new one.

    `landmarks` (T, L, 3) pixels, no NaN; `known` (T,) bool, cuts that are known already.
    """
    if len(landmarks) < 2:
        return [slice(0, len(landmarks))]
    flat = landmarks[..., :2]
    side = np.ptp(flat, axis=1).max(1)
    jump = np.median(np.linalg.norm(np.diff(flat, axis=0), axis=-1), axis=1)
    new = jump > 0.25 * np.minimum(side[1:], side[:-1])
    cuts = np.flatnonzero(new if known is None else new | known[1:]) + 1
    edges = [0, *cuts.tolist(), len(landmarks)]
    return [slice(a, b) for a, b in pairwise(edges)]


def smooth_pose(rotation: np.ndarray, translation: np.ndarray, runs: list[slice], fps: float
                ) -> tuple[np.ndarray, np.ndarray]:
    """Take the landmarks' jitter off: strongly where the head stands still, hardly where it moves.

    Zero phase (Savitzky–Golay): two windows, 0.28 s and 0.6 s, blended by the local speed against the noise.

    Parameters
    ----------
    rotation : (T, 3) radians, pitch, yaw, roll
    translation : (T, 3) metres
    runs : see `segments`
    fps : frames a second
    """
    pose = np.concatenate([rotation, translation], 1)
    out = pose.copy()
    for run in runs:
        out[run] = _smooth_run(pose[run], fps)
    return out[:, :3], out[:, 3:]


def _savgol(values: np.ndarray, window: int, order: int) -> np.ndarray:
    return np.asarray(savgol_filter(values, window, order, axis=0, mode="interp"))


def _smooth_run(pose: np.ndarray, fps: float) -> np.ndarray:
    angles = pose.copy()
    angles[:, :3] = np.unwrap(pose[:, :3], axis=0)
    short, long = (_odd(seconds * fps, len(pose)) for seconds in (0.28, 0.6))
    if short < 5:
        return pose
    light = _savgol(angles, short, 2)
    if long < 7:
        return light
    heavy = _savgol(angles, long, 2)
    noise = np.median(np.abs(angles - light), axis=0) * 1.4826 + 1e-9
    # What the long window takes away, over what noise alone would make it take away, averaged over its width.
    lost = _savgol((light - heavy) ** 2, long, 1).clip(0) / noise**2
    keep = np.clip((lost - 0.5) / 1.0, 0, 1)
    return heavy + keep * (light - heavy)


def _odd(frames: float, available: int) -> int:
    """The odd window nearest to `frames` that fits into `available` frames."""
    window = 2 * round((frames - 1) / 2) + 1
    return min(window, available if available % 2 else available - 1)


def angles_of(rotation: np.ndarray) -> np.ndarray:
    """(T, 3) pitch, yaw, roll of rotations (T, 3, 3)."""
    return rotation_angles(rotation)


def matrices_of(angles: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations of pitch, yaw, roll (T, 3)."""
    return rotation_matrix(angles)
