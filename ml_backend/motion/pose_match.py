"""Motion that a network made up, brought to a person's own distribution: joint spread, extremes, speed.

Each step changes slow parts only or scales as a whole, so that nods stay the nods that they were.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import sqrtm
from scipy.ndimage import convolve1d

from ml_backend.audio.features import FPS
from ml_backend.motion.pose_manner import Manner

_HANN = np.hanning(FPS + 2)[1:-1]
SLOW = _HANN / _HANN.sum()
"""One second: what remains is posture, what goes is nods and jerks."""
QUANTILES = np.linspace(0, 1, 41)
BLUR = 0.5
"""Standard deviations by which the seen distribution is blurred: twelve seconds are a sample, not the person."""
LEVELLING_SECONDS = 2.0
SPEED_RANGE = (0.4, 2.0)
MOST_PASSES = 4
ANGLES = slice(3)


def matched(pose: np.ndarray, track: np.ndarray, manner: Manner, *, strength: float = 1.0) -> np.ndarray:
    """`pose` (T, 6) about zero with the spread, the quantiles and the speed of the person in `track` (N, 6).

    Parameters
    ----------
    pose : (T, 6) radians and metres
    track : (N, 6) the person's own motion, absolute
    manner : of that person
    strength : of the quantile mapping, 0 to 1

    Returns
    -------
    (T, 6) float64 about zero
    """
    if len(pose) < 2:
        return np.asarray(pose, np.float64)
    trust = len(pose) / (len(pose) + LEVELLING_SECONDS * FPS)
    # A short take may well lie off the mean and be calm; a long one may not.
    keep = (1 - trust) * np.clip(pose.mean(0), -manner.std, manner.std)
    result = rotated(pose - pose.mean(0), manner, trust)
    wanted = np.abs(np.diff(track, axis=0)).mean(0) if len(track) > FPS else None
    targets = wanted_quantiles(track, manner)
    for _ in range(3):
        result = _quantiles(result, targets, strength * trust)
        result = _speed(result, wanted)
    return calmed(result, track) + keep


def most_like(poses: np.ndarray, track: np.ndarray, manner: Manner) -> np.ndarray:
    """(T, 6) the one of `poses` (C, T, 6) that turns most as the person in `track` (N, 6) does, matched.

    A short take may by chance stay where that person hardly looks. All are matched; the angles of the chosen one are
    nearest to the person's, blurred, in the distance W1 (Villani 2009, §6) over the spread.
    """
    takes = [matched(pose, track, manner) for pose in poses]
    if len(takes) == 1:
        return takes[0]
    wanted = wanted_quantiles(track, manner)[:, ANGLES]
    return min(takes, key=lambda take: float(np.mean(np.abs(np.quantile(take[:, ANGLES], QUANTILES, axis=0) - wanted)
                                                     / manner.std[ANGLES])))


def calmed(pose: np.ndarray, track: np.ndarray) -> np.ndarray:
    """`pose` (T, 6) smoothed, axis by axis, until it trembles no more than `track` (N, 6); its speed is kept up."""
    if len(pose) < FPS or len(track) < FPS:
        return pose
    allowed = _trembling(track)
    wanted = np.abs(np.diff(pose, axis=0)).mean(0)
    result = pose
    for _ in range(MOST_PASSES):
        excess = _trembling(result) > allowed
        if not excess.any():
            break
        smoother = convolve1d(result, np.array([1, 2, 1]) / 4, axis=0, mode="nearest")
        result = np.where(excess, smoother, result)
        result = np.where(excess, _speed(result, wanted), result)
    return result


def _trembling(pose: np.ndarray) -> np.ndarray:
    """(6,) mean size of the third difference over time: what an eye sees as jitter."""
    return np.abs(np.diff(pose, n=3, axis=0)).mean(0)


def rotated(pose: np.ndarray, manner: Manner, trust: float) -> np.ndarray:
    """`pose` (T, 6) changed as little as possible so that its covariance becomes the person's.

    The optimal transport between two Gaussians; `trust` in [0, 1] says how far the take's own covariance counts, the
    rest being the person's already.
    """
    unit = pose / manner.std
    correlation = manner.correlation + 0.02 * np.eye(len(manner.std))
    found = trust * (unit.T @ unit / len(unit)) + (1 - trust) * correlation + 0.02 * np.eye(len(manner.std))
    root = np.real(sqrtm(found))
    inverse = np.linalg.inv(root)
    change = inverse @ np.real(sqrtm(root @ correlation @ root)) @ inverse
    return unit @ change * manner.std


def _quantiles(pose: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """`pose` (T, 6) whose values come as often as `targets` (41, 6) say, by a slow change only."""
    result = np.empty_like(pose)
    for axis, target in enumerate(targets.T):
        source = np.quantile(pose[:, axis], QUANTILES) + np.arange(len(QUANTILES)) * 1e-9
        change = np.interp(pose[:, axis], source, target) - pose[:, axis]
        result[:, axis] = pose[:, axis] + strength * convolve1d(change, SLOW, mode="nearest")
    return result


def wanted_quantiles(track: np.ndarray, manner: Manner) -> np.ndarray:
    """(41, 6) quantiles about zero that the motion of the person in `track` (N, 6) should have."""
    return np.stack([target_quantiles(values, std) for values, std in
                     zip((track - track.mean(0)).T, manner.std.tolist(), strict=True)], 1)


def target_quantiles(values: np.ndarray, std: float) -> np.ndarray:
    """(41,) quantiles of the person on one axis: those of `values` (N,), blurred, with the standard deviation `std`."""
    grid = np.random.default_rng(0).standard_normal(8 * max(len(values), 100))
    drawn = np.resize(values, len(grid)) + BLUR * std * grid
    drawn = (drawn - drawn.mean()) * (std / max(float(drawn.std()), 1e-9))
    # The very ends of a blurred sample are of one draw.
    return np.quantile(drawn, np.clip(QUANTILES, 0.002, 0.998))


def _speed(pose: np.ndarray, wanted: np.ndarray | None) -> np.ndarray:
    """`pose` (T, 6) whose quick part is scaled towards the person's mean speed `wanted` (6,)."""
    if wanted is None:
        return pose
    slow = convolve1d(pose, SLOW, axis=0, mode="nearest")
    quick = pose - slow
    speed = np.abs(np.diff(pose, axis=0)).mean(0)
    return slow + quick * np.clip(wanted / np.maximum(speed, 1e-9), *SPEED_RANGE)
