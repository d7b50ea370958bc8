"""Brows from prosody: they rise on some pitch accents, quickly up and slowly down (Flecha-García 2010)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from ml_backend.audio.features import FPS
from ml_backend.audio.prosody import ACTIVE, LOUDNESS, PITCH

LEAST_PROMINENCE = 0.45
"""Of the stress curve, in normalised units: about two semitones with some loudness."""
CHANCE = 0.5
"""At full prominence; most accents come without brows."""
_APART = 0.8
_LEAD = 0.06
_RISE, _HOLD, _FALL = 0.16, 0.08, 0.36
_SHARES = {"browInnerUp": 1.0, "browOuterUpLeft": 0.9, "browOuterUpRight": 0.9}


def stress(sound: np.ndarray) -> np.ndarray:
    """(T,) how stressed each frame of `sound` (T, 10 prosody) is: high pitch and loudness together, 0 in pauses."""
    curve = (0.7 * sound[:, PITCH] + 0.3 * sound[:, LOUDNESS]) * sound[:, ACTIVE]
    return gaussian_filter1d(curve, 1.5)


def accents(sound: np.ndarray, seed: int) -> list[tuple[int, float]]:
    """Frames of the stressed syllables that lift the brows, ascending, each with a strength in (0, 1.5]."""
    curve = stress(sound)
    peaks, facts = find_peaks(curve, prominence=LEAST_PROMINENCE)
    generator = np.random.default_rng([seed, 0xB20])
    result: list[tuple[int, float]] = []
    for peak, prominence in zip(peaks, facts["prominences"], strict=True):
        strength = float(np.clip(prominence / (3 * LEAST_PROMINENCE), 0, 1))
        lifted = generator.random() < CHANCE * (0.4 + 0.6 * strength)
        size = strength * float(np.exp(generator.normal(0, 0.3)))
        if lifted and (not result or peak - result[-1][0] >= _APART * FPS):
            result.append((int(peak), min(size, 1.5)))
    return result


def raises(sound: np.ndarray, seed: int) -> np.ndarray:
    """(T,) float32 lift of the brows in [0, 1.5], 1 = a clear raise; the lift leads the stressed syllable a little."""
    result = np.zeros(len(sound))
    for peak, size in accents(sound, seed):
        around = slice(max(peak - FPS, 0), min(peak + FPS, len(sound)))
        offset = (np.arange(around.start, around.stop) - peak) / FPS + _LEAD
        up = np.clip((offset + _RISE) / _RISE, 0, 1)
        down = np.clip(1 - (offset - _HOLD) / _FALL, 0, 1)
        shape = np.where(offset < 0, up, down)
        result[around] = np.maximum(result[around], size * shape * shape * (3 - 2 * shape))
    return result.astype(np.float32)


def add_raises(expression: np.ndarray, lift: np.ndarray, reach: np.ndarray, names: list[str]) -> np.ndarray:
    """`expression` (T, K) with brows raised by `lift` (T,), as far as the person's `reach` (inner, outer)."""
    result = expression.copy()
    for index, name in enumerate(names):
        if name in _SHARES:
            result[:, index] += lift * _SHARES[name] * float(reach[0 if "Inner" in name else 1])
    return result
