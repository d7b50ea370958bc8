"""How much a head moves like a person's: distributions of the angles, speed, spread, trembling."""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from ml_backend.metrics.sync import jitter

AXES = ("pitch", "yaw", "roll")
HS_RANGE = 60.0
"""Degrees between -30 and 30: what a distance of distributions is normalised by in HS (the paper states no range)."""
LEAST_SPREAD = 0.5
"""Degrees: a real head stiller than this is taken to spread that much, for nothing can be divided by stillness."""
_LEAST_FRAMES = 5


def head_similarity(real: np.ndarray, made: np.ndarray) -> float:
    """HS of Yi et al. 2020, eq. (6): 1 − W1 between the distributions of Euler angles, mean over axes, in [0, 1].

    Parameters
    ----------
    real, made : (N, 3) and (M, 3) degrees, of any lengths

    The distance is divided by `HS_RANGE`, for which reason even a still head scores high; see `strict_similarity`.
    """
    return float(np.mean([1 - min(1.0, wasserstein_distance(real[:, axis], made[:, axis]) / HS_RANGE)
                          for axis in range(real.shape[1])]))


def strict_similarity(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """(3,) 1 − W1/(2σ) per axis, σ the real spread: a still head at the real mean gets about 0.6, far off is negative.

    `real` (N, 3), `made` (M, 3), degrees.
    """
    return np.array([1 - wasserstein_distance(real[:, axis], made[:, axis]) / (2 * _spread(real)[axis])
                     for axis in range(real.shape[1])])


def angular_speed(angles: np.ndarray, steady: np.ndarray | None = None) -> float:
    """Mean absolute change of `angles` (T, 3) degrees per frame, only over the steps `steady` (T − 1,) if given."""
    steps = np.abs(np.diff(angles, axis=0))
    use = np.isfinite(steps).all(1) if steady is None else np.isfinite(steps).all(1) & steady
    return float(steps[use].mean()) if use.any() else float("nan")


def head_figures(real: np.ndarray, made: np.ndarray, steady: np.ndarray | None = None) -> dict[str, float]:
    """What `made` (M, 3) has of the motion `real` (N, 3), degrees; NaN rows where no face was seen.

    Parameters
    ----------
    steady : (N − 1,) bool, false where the real picture jumps to another shot
    """
    seen, shown = (angles[np.isfinite(angles).all(1)] for angles in (real, made))
    if min(len(seen), len(shown)) < _LEAST_FRAMES:
        return {}
    strict, ratio = strict_similarity(seen, shown), shown.std(0) / _spread(seen)
    speed = angular_speed(made) / max(angular_speed(real, steady), 1e-6)
    trembling = np.mean([jitter(shown[:, axis]) for axis in range(3)])
    own = np.mean([jitter(seen[:, axis]) for axis in range(3)])
    figures = {"hs": head_similarity(seen, shown), "strict": float(strict.mean()), "speed": speed,
               "spread": float(ratio.mean()), "head_jitter": float(trembling / max(own, 1e-6))}
    figures |= {f"strict_{name}": float(value) for name, value in zip(AXES, strict, strict=True)}
    return figures | {f"spread_{name}": float(value) for name, value in zip(AXES, ratio, strict=True)}


def spread_ratio(reference: np.ndarray, made: np.ndarray) -> float:
    """Spread of `made` (M, 3) over that of `reference` (N, 3), degrees, mean over axes; NaN where unknown."""
    seen, shown = (angles[np.isfinite(angles).all(1)] for angles in (reference, made))
    if min(len(seen), len(shown)) < _LEAST_FRAMES:
        return float("nan")
    return float((shown.std(0) / _spread(seen)).mean())


def _spread(angles: np.ndarray) -> np.ndarray:
    return np.maximum(angles.std(0), LEAST_SPREAD)
