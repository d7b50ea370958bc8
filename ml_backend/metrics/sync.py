"""How lips go with the real ones over time: correlation and lag, closures, silence, reach, trembling."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from ml_backend.metrics.landmarks import pearson

FPS = 25
MOST_LAG = 15
"""Frames (0.6 s) to either side in which the best lag is looked for."""
CLOSED = 0.01
"""Interocular distances above the resting lips that still count as closed."""
_JITTER_HZ = 6.5
_LONGEST_CLOSURE = 10
_OPEN_BESIDE = 0.015
_BESIDE = 6
_LIPS_AROUND_VOICE = 5


def best_lag(real: np.ndarray, made: np.ndarray, most: int = MOST_LAG) -> tuple[float, int]:
    """Highest correlation of `made` (T,) with `real` (T,) within `most` frames, and the frames `made` lags behind."""
    found = [(lagged(real, made, lag), lag) for lag in sorted(range(-most, most + 1), key=abs)]
    return max(found, key=lambda item: item[0])


def lagged(real: np.ndarray, made: np.ndarray, lag: int) -> float:
    """Correlation of `real` (T,) with what `made` (T,) does `lag` frames later."""
    count = len(real)
    if abs(lag) >= count:
        return 0.0
    return pearson(real[max(0, -lag):count - max(0, lag)], made[max(0, lag):count - max(0, -lag)])


def resting(opening: np.ndarray) -> float:
    """What a clip's lips measure when they are shut: mean of the twelfth of `opening` (T,) with the least of it."""
    values = np.sort(opening[np.isfinite(opening)])
    return float(values[:max(len(values) // 12, 1)].mean()) if len(values) else float("nan")


def closures(opening: np.ndarray, threshold: float, active: np.ndarray) -> list[slice]:
    """Where lips meet for a consonant: below `threshold` for at most 0.4 s, clearly open on both sides, in speech.

    Parameters
    ----------
    opening : (T,), NaN where unknown
    active : (T,) bool, whether someone speaks
    """
    shut = np.concatenate([[0], (np.nan_to_num(opening, nan=np.inf) < threshold).astype(int), [0]])
    edges, busy = np.flatnonzero(np.diff(shut)), binary_dilation(active, iterations=_LIPS_AROUND_VOICE)
    found = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        before, after = opening[max(start - _BESIDE, 0):start], opening[stop:stop + _BESIDE]
        if stop - start <= _LONGEST_CLOSURE and busy[start:stop].any() and _opens(before, threshold) \
                and _opens(after, threshold):
            found.append(slice(int(start), int(stop)))
    return found


def hit_rate(events: list[slice], opening: np.ndarray, threshold: float, tolerance: int = 2) -> float:
    """Share of `events` during which, give or take `tolerance` frames, `opening` (T,) falls below `threshold`.

    NaN without events. The events may be another curve's `closures` or the times of p, b and m.
    """
    hits = []
    for event in events:
        around = opening[max(event.start - tolerance, 0):event.stop + tolerance]
        if np.isfinite(around).any():
            hits.append(float(np.nanmin(around) < threshold))
    return float(np.mean(hits)) if hits else float("nan")


def quiet_frames(active: np.ndarray) -> np.ndarray:
    """(T,) bool: frames of silence so far from the voice that lips need neither prepare nor finish anything."""
    return np.logical_not(binary_dilation(active, iterations=_LIPS_AROUND_VOICE))


def jitter(curve: np.ndarray) -> float:
    """Root mean square of what moves faster than 6.5 Hz in `curve` (T,) at 25 fps, in its own unit; 0 if too short."""
    values = curve[np.isfinite(curve)]
    if len(values) < FPS:
        return 0.0
    spectrum = np.fft.rfft((values - values.mean()) * np.hanning(len(values)))
    fast = np.fft.rfftfreq(len(values), 1 / FPS) > _JITTER_HZ
    power = 2 * np.sum(np.abs(spectrum[fast]) ** 2) / len(values) ** 2
    return float(np.sqrt(power / np.mean(np.hanning(len(values)) ** 2)))


def _opens(part: np.ndarray, threshold: float) -> bool:
    return bool(np.isfinite(part).any() and np.nanmax(part) > threshold + _OPEN_BESIDE)
