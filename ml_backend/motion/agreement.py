"""Do these lips go with that sound, and how late does it come? Lips that weights hear, slid over the ones seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.audio.features import FPS
from ml_backend.metrics.landmarks import pearson
from ml_backend.motion.checkpoint import MotionWeights
from ml_backend.motion.dataset import features
from ml_backend.motion.network import POSE_SIZE
from ml_backend.motion.score import run

MOST_LAG = 15
"""Frames (0.6 s) to either side in which the lag is looked for."""
LEAST_SECONDS = 3.0
"""Below, chance agrees with some lag or other too often: the clip is taken to be in sync."""
CLEARLY = 0.04
"""By how much a lag has to be better than none to be believed."""


@dataclass(frozen=True)
class Offset:
    """The sound comes `late_ms` after the picture; that made good, lips and sound agree by `sync` (Pearson's r)."""

    late_ms: float
    sync: float


def heard_lips(weights: MotionWeights, samples: np.ndarray) -> np.ndarray:
    """(T, 2) float32: opening and width, mm about their mean, that `weights` make of speech (N,) at 16 kHz."""
    return run(weights.network, features(weights.network.config, samples))[:, :-POSE_SIZE] @ lip_units(weights)


def lip_units(weights: MotionWeights) -> np.ndarray:
    """(K, 2): opening and width, in mm, that a network output of 1 in each channel makes."""
    unit = weights.statistics.std[:, None] if weights.network.config.standardised else 1.0
    return weights.operator[:, -2:] * unit


def compare(heard: np.ndarray, seen: np.ndarray) -> Offset:
    """At which delay `heard` (T, 2) goes best with `seen` (T, 2), NaN where unseen: opening and width together.

    The peak is refined by a parabola. NaN where nothing moves.
    """
    count = min(len(heard), len(seen))
    heard, seen = heard[:count], seen[:count]
    most = min(MOST_LAG, count // 3) if count >= LEAST_SECONDS * FPS else 0
    lags = np.arange(-most, most + 1)
    values = np.array([_agreement(heard, seen, int(lag)) for lag in lags])
    best = int(np.argmax(values - 0.002 * np.abs(lags)))
    if values[best] < values[most] + CLEARLY:
        return Offset(0.0, float(values[most]))
    shift = 0.0
    if 0 < best < len(lags) - 1:
        left, middle, right = values[best - 1:best + 2]
        curve = left - 2 * middle + right
        shift = float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5)) if curve < -1e-9 else 0.0
    return Offset(float((lags[best] + shift) * 1000 / FPS), float(values[best]))


def _agreement(heard: np.ndarray, seen: np.ndarray, lag: int) -> float:
    """Correlation of `heard` (T, 2), taken `lag` frames later, with `seen` (T, 2): opening, and half as much width."""
    heard, seen = (heard[lag:], seen[:len(seen) - lag]) if lag >= 0 else (heard[:lag], seen[-lag:])
    opening, width = (pearson(heard[:, column], seen[:, column]) for column in (0, 1))
    return max(opening, (2 * opening + width) / 3)
