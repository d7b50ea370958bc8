"""Key frames of a head movement: where it turns back. Yi et al. 2020, section 3.3, as their program does it."""

from __future__ import annotations

import numpy as np

HANN_7 = np.hanning(7) / np.hanning(7).sum()
ROLL = 2
SHARE = 10  # at most one key frame per this many frames
LEAST_GAP = 3  # frames between two key frames


def smooth(signal: np.ndarray) -> np.ndarray:
    """(N,) `signal` under a Hann window of 7 frames, ends reflected."""
    if len(signal) < 2:
        return signal.astype(float)
    mode = "reflect" if len(signal) > 3 else "symmetric"
    return np.convolve(np.pad(signal.astype(float), 3, mode=mode), HANN_7, "valid")


def extrema(values: np.ndarray, order: int = 1) -> np.ndarray:
    """Indices of strict local maxima and minima of (N,) `values`, ends excluded.

    Strict: beyond all of the `order` neighbours on either side.
    """
    count = len(values)
    high = np.ones(count, bool)
    low = np.ones(count, bool)
    position = np.arange(count)
    for shift in range(1, order + 1):
        for neighbour in (np.minimum(position + shift, count - 1), np.maximum(position - shift, 0)):
            high &= values > values[neighbour]
            low &= values < values[neighbour]
    return np.flatnonzero(high | low)


def key_frames(angles: np.ndarray, *, axis: int = ROLL) -> np.ndarray:
    """Frames at which the movement about one axis turns, thinned out, with the first and the last frame.

    Parameters
    ----------
    angles : (N, 3) pitch, yaw, roll, radians
    axis : 0 pitch, 1 yaw, 2 roll (the published choice)

    Returns
    -------
    (K,) int32, rising
    """
    count = len(angles)
    curve = smooth(angles[:, axis])
    found = extrema(curve)
    while len(found) > count / SHARE:
        fewer = found[extrema(curve[found], order=2)]
        if not 0 < len(fewer) < len(found):
            break
        found = fewer
    found = _spread(found, np.abs(angles).max(1))
    return np.unique(np.concatenate([[0], found, [count - 1]])).astype(np.int32)


def _spread(frames: np.ndarray, size: np.ndarray) -> list[int]:
    """Of two frames nearer than `LEAST_GAP` keep the one of larger `size`."""
    kept: list[int] = []
    for frame in frames.tolist():
        if kept and frame - kept[-1] < LEAST_GAP:
            kept[-1] = max(kept[-1], frame, key=lambda k: size[k])
        else:
            kept.append(frame)
    return kept
