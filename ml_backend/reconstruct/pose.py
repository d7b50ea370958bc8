"""Camera and rigid head pose of every frame from landmarks: closed-form start, Gauss–Newton over all frames at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ml_backend.face_model.synthesis import rotation_angles, rotation_matrix

FOCAL_PER_SIDE = 1.2
"""Default focal length over the frame's longer side: a phone or a webcam at arm's length."""
DEPTH_WEIGHT = 0.15
"""How much MediaPipe's depth counts beside x and y in the pose."""
CHUNK = 48
"""Frames solved together: what they need stays in the processor's cache."""
NEGLIGIBLE = 0.1
SPARSE = 3
"""Every so many landmarks tell whether a face jumps."""
FRESH = (0, 1, 4)
"""Steps at which the normal matrix is worked out; those between go on with the last one."""
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
    model = shape if shape.ndim == 3 else shape[None]
    middle, origin = share @ points, share @ model
    a, b = points - middle[:, None], model - origin[:, None]
    pulled = b * share[:, None]
    covariance = a.transpose(0, 2, 1) @ pulled
    u, values, vt = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(u @ vt))
    flip = np.stack([np.ones_like(sign), np.ones_like(sign), sign], -1)
    rotation = (u * flip[:, None]) @ vt
    scale = (values * flip).sum(1) / np.maximum((pulled * b).sum((1, 2)), 1e-12)
    depth = focal / np.maximum(scale, 1e-6)
    target = np.concatenate([(middle[:, :2] - centre) * (depth / focal)[:, None], depth[:, None]], 1)
    return rotation, target - (rotation @ origin[..., None])[..., 0]


def refine_pose(points: np.ndarray, shape: np.ndarray, weight: np.ndarray, focal: float, centre: np.ndarray,
                rotation: np.ndarray, translation: np.ndarray, *, steps: int = 6, tolerance: float = CONVERGED
                ) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Newton on the reprojection error, with a soft row for MediaPipe's relative depth, Huber weights.

    Arguments and result as in `initial_pose`; `weight` may be (T, L). A step below `tolerance` (radians, metres) is the
    last one.
    """
    model = np.broadcast_to(shape, points.shape)
    weights = np.broadcast_to(weight, points.shape[:2])
    use = np.flatnonzero(weights.max(0) > NEGLIGIBLE * weights.max())
    rotation, translation = rotation.copy(), translation.copy()

    def chunk(first: int) -> None:
        part = slice(first, first + CHUNK)
        seen = _Seen.of(points[part, use], model[part, use], weights[part, use], focal, centre)
        rotation[part], translation[part] = _refine_chunk(seen, rotation[part], translation[part], steps,
                                                          tolerance)

    starts = range(0, len(points), CHUNK)
    if len(starts) == 1:
        chunk(0)
    else:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(chunk, starts))
    return rotation, translation


@dataclass(frozen=True)
class _Seen:
    """What a chunk's pose is fitted to, points along the last axis, single precision: unit-focal pixels (T, 2, L) and
    relative depth (T, L), model (T, 3, L), weights (T, L) and their shares, which sum to 1 in each frame."""

    flat: np.ndarray
    deep: np.ndarray
    model: np.ndarray
    weight: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, model: np.ndarray, weights: np.ndarray, focal: float, centre: np.ndarray) -> _Seen:
        weights = (weights / weights.max()).astype(np.float32)
        share = weights / weights.sum(1, keepdims=True)
        flat = ((points[..., :2] - centre) / focal).astype(np.float32).transpose(0, 2, 1)
        deep = (points[..., 2] / focal).astype(np.float32)
        deep = deep - np.einsum("tl,tl->t", share, deep)[:, None]
        return cls(np.ascontiguousarray(flat), deep, model.astype(np.float32).transpose(0, 2, 1).copy(), weights, share)

    def part(self, frames: np.ndarray) -> _Seen:
        """The same for some `frames`."""
        return _Seen(self.flat[frames], self.deep[frames], self.model[frames], self.weight[frames], self.share[frames])


def _refine_chunk(seen: _Seen, rotation: np.ndarray, translation: np.ndarray, steps: int,
                  tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    rotation, translation = rotation.copy(), translation.copy()
    moving, some, inverse = np.arange(len(rotation)), seen, np.zeros((len(rotation), 6, 6))
    for number in range(steps):
        state = _Residual.of(some, rotation[moving].astype(np.float32), translation[moving].astype(np.float32))
        if number in FRESH:
            inverse = np.linalg.inv(state.normal().astype(float))
        step = (inverse @ state.slope()[..., None].astype(float))[..., 0]
        rotation[moving] = exponential(np.clip(step[:, :3], -0.5, 0.5)) @ rotation[moving]
        translation[moving] += step[:, 3:]
        translation[moving, 2] = np.maximum(translation[moving, 2], 0.05)
        # Most frames arrive in three steps: only the others go on.
        on = np.abs(step).max(1) >= tolerance
        if not on.any():
            break
        if not on.all():
            moving, some, inverse = moving[on], some.part(on), inverse[on]
    return rotation, translation


@dataclass(frozen=True)
class _Residual:
    """Residuals of a chunk at some pose, unit focal length: turned model (T, 3, L), place u, v (T, L) in the picture,
    1 / depth (T, L), residuals (T, 3, L), robust weights (T, L), depth's unit (T, 1) and level of x and y (T, 2, 1)."""

    turned: np.ndarray
    u: np.ndarray
    v: np.ndarray
    nearness: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, seen: _Seen, rotation: np.ndarray, translation: np.ndarray) -> _Residual:
        turned = rotation @ seen.model
        nearness = 1 / (turned[:, 2] + translation[:, 2, None])
        u, v = (turned[:, 0] + translation[:, 0, None]) * nearness, (turned[:, 1] + translation[:, 1, None]) * nearness
        scale = np.float32(DEPTH_WEIGHT) / translation[:, 2, None]
        level = turned @ seen.share[..., None]
        value = np.empty_like(seen.model)
        np.subtract(seen.flat[:, 0], u, out=value[:, 0])
        np.subtract(seen.flat[:, 1], v, out=value[:, 1])
        value[:, 2] = np.float32(DEPTH_WEIGHT) * seen.deep - scale * (turned[:, 2] - level[:, 2])
        size = np.abs(value[:, :2])
        spread = np.median(size.reshape(len(size), -1), axis=1)[:, None] * np.float32(1.4826 * 2.5) + 1e-9
        error = np.sqrt((size**2).sum(1))
        weight = seen.weight * np.minimum(1, spread / np.maximum(error, 1e-12))
        return cls(turned, u, v, nearness, value, weight, scale, level[:, :2])

    def slope(self) -> np.ndarray:
        """(T, 6) Jᵀ W r in rotation vector and translation."""
        flat = self.value[:, :2] * (self.weight * self.nearness)[:, None]
        pull = np.concatenate([flat, -(flat[:, :1] * self.u[:, None] + flat[:, 1:] * self.v[:, None])], 1)
        deep = self.weight * self.value[:, 2] * self.scale
        moment = pull @ self.turned.transpose(0, 2, 1)
        # Depth is measured from the face's middle: turning about it moves what lies beside it.
        lever = (deep[:, None] @ self.turned.transpose(0, 2, 1))[:, 0, :2] - deep.sum(1)[:, None] * self.level[..., 0]
        turn = np.stack([moment[:, 2, 1] - moment[:, 1, 2] + lever[:, 1],
                         moment[:, 0, 2] - moment[:, 2, 0] - lever[:, 0], moment[:, 1, 0] - moment[:, 0, 1]], 1)
        return np.concatenate([turn, pull.sum(2)], 1)

    def normal(self) -> np.ndarray:
        """(T, 6, 6) Jᵀ W J, slightly damped."""
        x, y, z = self.turned[:, 0], self.turned[:, 1], self.turned[:, 2]
        nearness, root = self.nearness, np.sqrt(self.weight)
        rows = np.zeros((len(x), 6, 3, x.shape[1]), np.float32)
        # d(camera)/d(omega) = -[turned]x ; d(camera)/d(t) = identity
        a, b = self.u * nearness, self.v * nearness
        rows[:, 0, 0], rows[:, 1, 0], rows[:, 2, 0] = -a * y, z * nearness + a * x, -y * nearness
        rows[:, 0, 1], rows[:, 1, 1], rows[:, 2, 1] = -z * nearness - b * y, b * x, x * nearness
        rows[:, 3, 0] = rows[:, 4, 1] = nearness
        rows[:, 5, 0], rows[:, 5, 1] = -a, -b
        rows[:, 0, 2], rows[:, 1, 2] = self.scale * (y - self.level[:, 1]), -self.scale * (x - self.level[:, 0])
        rows *= root[:, None, None]
        flat = rows.reshape(len(x), 6, -1)
        out = flat @ flat.transpose(0, 2, 1)
        return out + 1e-6 * np.eye(6, dtype=np.float32) * np.trace(out, axis1=1, axis2=2)[:, None, None]


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
    flat = np.ascontiguousarray(landmarks[:, ::SPARSE, :2].transpose(0, 2, 1))
    side = np.ptp(flat, axis=2).max(1)
    jump = np.median(np.hypot(*np.diff(flat, axis=0).transpose(1, 0, 2)), axis=1)
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
    """(T, C) `values` (T, C) by polynomials fitted to `window` frames (Savitzky and Golay 1964).

    SciPy's takes longer to import than to run.
    At both ends it is the first and the last window's polynomial that goes on.
    """
    half = window // 2
    powers = np.vander(np.arange(-half, half + 1) / half, order + 1, increasing=True)
    smooth = powers @ np.linalg.pinv(powers)
    middle = np.lib.stride_tricks.sliding_window_view(values, window, axis=0) @ smooth[half]
    return np.concatenate([smooth[:half] @ values[:window], middle, smooth[half + 1:] @ values[-window:]])


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
