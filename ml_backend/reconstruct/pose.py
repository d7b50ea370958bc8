"""Camera and rigid head pose of every frame from landmarks: closed-form start, Gauss–Newton over all frames at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import savgol_filter

from ml_backend.face_model.synthesis import rotation_angles, rotation_matrix

FOCAL_PER_SIDE = 1.2
"""Default focal length over the frame's longer side: a phone or a webcam at arm's length."""
DEPTH_WEIGHT = 0.15
"""How much MediaPipe's depth counts beside x and y in the pose."""
CHUNK = 48
"""Frames solved together: what they need stays in the processor's cache."""
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
    rotation, translation = rotation.copy(), translation.copy()

    def chunk(first: int) -> None:
        part = slice(first, first + CHUNK)
        seen = _Seen.of(points[part, use], model[part, use], weights[part, use], focal, centre)
        rotation[part], translation[part] = _refine_chunk(seen, rotation[part], translation[part], steps)

    starts = range(0, len(points), CHUNK)
    if len(starts) == 1:
        chunk(0)
    else:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(chunk, starts))
    return rotation, translation


@dataclass(frozen=True)
class _Seen:
    """What a chunk's pose is fitted to, points along the last axis: unit-focal pixels (T, 2, L) and relative depth
    (T, L), model (T, 3, L), weights (T, L) and their shares, which sum to 1 in each frame."""

    flat: np.ndarray
    deep: np.ndarray
    model: np.ndarray
    weight: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, model: np.ndarray, weights: np.ndarray, focal: float, centre: np.ndarray) -> _Seen:
        share = weights / weights.sum(1, keepdims=True)
        flat = np.ascontiguousarray((points[..., :2] - centre).transpose(0, 2, 1)) / focal
        deep = (points[..., 2] - np.einsum("tl,tl->t", share, points[..., 2])[:, None]) / focal
        return cls(flat, deep, np.ascontiguousarray(model.transpose(0, 2, 1)), weights, share)

    def part(self, frames: np.ndarray) -> _Seen:
        """The same for some `frames`."""
        return _Seen(self.flat[frames], self.deep[frames], self.model[frames], self.weight[frames], self.share[frames])


def _refine_chunk(seen: _Seen, rotation: np.ndarray, translation: np.ndarray, steps: int
                  ) -> tuple[np.ndarray, np.ndarray]:
    rotation, translation = rotation.copy(), translation.copy()
    moving = np.arange(len(rotation))
    for _ in range(steps):
        # Most frames arrive in two or three steps: only the others go on.
        some = seen if len(moving) == len(rotation) else seen.part(moving)
        residual, rows = _linearise(some, rotation[moving], translation[moving])
        count = len(moving)
        spread = np.median(np.abs(residual[:, :2]).reshape(count, -1), axis=1)[:, None] * 1.4826 + 1e-9
        error = np.sqrt((residual[:, :2] ** 2).sum(1))
        root = np.sqrt(some.weight * np.minimum(1.0, 2.5 * spread / np.maximum(error, 1e-12)))
        flat = (rows * root[:, None, None]).reshape(count, 6, -1)
        values = (residual * root[:, None]).reshape(count, -1, 1)
        normal = flat @ flat.transpose(0, 2, 1)
        normal += 1e-9 * np.eye(6) * np.trace(normal, axis1=1, axis2=2)[:, None, None]
        step = np.linalg.solve(normal, flat @ values)[..., 0]
        rotation[moving] = exponential(np.clip(step[:, :3], -0.5, 0.5)) @ rotation[moving]
        translation[moving] += step[:, 3:]
        translation[moving, 2] = np.maximum(translation[moving, 2], 0.05)
        moving = moving[np.abs(step).max(1) >= CONVERGED]
        if not len(moving):
            break
    return rotation, translation


def _linearise(seen: _Seen, rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (T, 3, L) and their Jacobian (T, 6, 3, L) in rotation vector and translation; unit focal length."""
    turned = rotation @ seen.model
    x, y, z = turned[:, 0], turned[:, 1], turned[:, 2]
    nearness = 1 / (z + translation[:, 2, None])
    u, v = (x + translation[:, 0, None]) * nearness, (y + translation[:, 1, None]) * nearness
    scale = DEPTH_WEIGHT / translation[:, 2, None]
    mean_x, mean_y, level = (turned @ seen.share[..., None])[:, :, 0].T
    residual = np.empty_like(seen.model)
    residual[:, 0], residual[:, 1] = seen.flat[:, 0] - u, seen.flat[:, 1] - v
    residual[:, 2] = DEPTH_WEIGHT * seen.deep - scale * (z - level[:, None])
    rows = np.zeros((len(x), 6, 3, x.shape[1]), x.dtype)
    # d(camera)/d(omega) = -[turned]x ; d(camera)/d(t) = identity
    a, b = u * nearness, v * nearness
    rows[:, 0, 0], rows[:, 1, 0], rows[:, 2, 0] = -a * y, z * nearness + a * x, -y * nearness
    rows[:, 0, 1], rows[:, 1, 1], rows[:, 2, 1] = -z * nearness - b * y, b * x, x * nearness
    rows[:, 3, 0] = rows[:, 4, 1] = nearness
    rows[:, 5, 0], rows[:, 5, 1] = -a, -b
    rows[:, 0, 2], rows[:, 1, 2] = scale * (y - mean_y[:, None]), -scale * (x - mean_x[:, None])
    return residual, rows


def exponential(vectors: np.ndarray) -> np.ndarray:
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
