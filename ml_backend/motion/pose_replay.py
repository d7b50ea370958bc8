"""Head motion that was seen once, played for as long as it is needed: to and fro, retimed, or rewoven."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve1d

from ml_backend.audio.features import FPS

RETIMED = 1.25
"""A clip whose length is within this factor of the speech's is stretched to fit; others are played to and fro."""
TURN_SECONDS = 1.2
"""At each end the head slows down, turns and picks up again within this time."""
_SEGMENT = 5 * FPS
_CANDIDATES = 12


def replay(track: np.ndarray, frames: int, generator: np.random.Generator) -> np.ndarray:
    """(frames, 6) `track` (N, 6) played from a random frame to its end, back, and so on."""
    return to_and_fro(track, frames, float(generator.uniform(0, 2 * (len(track) - 1))))


def follow(track: np.ndarray, frames: int) -> np.ndarray:
    """(frames, 6) `track` (N, 6) from its first frame on: retimed where that is little, else to and fro."""
    length = len(track) - 1
    if length > 0 and frames > 1 and 1 / RETIMED <= (frames - 1) / length <= RETIMED:
        return _at(track, np.linspace(0, length, frames))
    return to_and_fro(track, frames, 0.0)


def to_and_fro(track: np.ndarray, frames: int, start: float) -> np.ndarray:
    """(frames, 6) `track` (N, 6) forwards and backwards in turn, from position `start` of that round trip.

    The playing speed goes through zero smoothly at the ends: a reversal from one frame to the next would be a jerk.
    """
    last = len(track) - 1
    if last < 1:
        return np.repeat(track[:1].astype(np.float64), frames, 0)
    width = max(min(round(TURN_SECONDS * FPS), last), 1)
    time = start + np.arange(-width, frames + width)
    # Before frame 0 of the track the playing is thought to have come in at full speed: nothing turns at the start.
    there = np.where(time < 0, time, last - np.abs(np.mod(time, 2 * last) - last))
    kernel = np.hanning(width + 2)[1:-1]
    eased = convolve1d(there, kernel / kernel.sum(), mode="nearest")[width:width + frames]
    return _at(track, eased)


def _at(track: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(M, D) `track` (N, D) at fractional frames `positions` (M,), linear."""
    low = np.clip(np.floor(positions).astype(int), 0, len(track) - 1)
    high = np.minimum(low + 1, len(track) - 1)
    part = (positions - low)[:, None]
    return track[low] * (1 - part) + track[high] * part


def woven(track: np.ndarray, frames: int, loudness: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """(frames, 6) random stretches of `track` (N, 6, about its mean) faded into each other.

    The fades are sines, whose squares add up to one: the variance and the speed of the motion stay the person's, and
    so do the relations between the axes, since all axes fade alike. Of a dozen stretches the one whose motion goes
    best with the loudness at its place is taken, for heads move with the stress of speech.
    """
    length = max(min(_SEGMENT, len(track) // 2) // 2 * 2, 2)
    half = length // 2
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length)[:, None]
    speed = np.abs(np.gradient(track[:, :3], axis=0)).sum(1)
    total = np.zeros((frames + 2 * length, track.shape[1]))
    for start in range(0, frames + half, half):
        wanted = None if loudness is None else _window_of(loudness, start - half, length)
        chosen = _choose(speed, wanted, length, generator)
        total[start:start + length] += track[chosen:chosen + length] * window
    return total[half:half + frames]


def _window_of(values: np.ndarray, start: int, length: int) -> np.ndarray:
    """`length` entries of `values` (T,) from `start`, which may lie outside; the ends are held."""
    return values[np.clip(np.arange(start, start + length), 0, len(values) - 1)]


def _choose(speed: np.ndarray, wanted: np.ndarray | None, length: int, generator: np.random.Generator) -> int:
    """First frame of a stretch; of a few random ones the best match of `speed` (N,) to `wanted` (length,)."""
    starts = generator.integers(0, len(speed) - length + 1, _CANDIDATES)
    if wanted is None or wanted.std() < 1e-3:
        return int(starts[0])
    shape = (wanted - wanted.mean()) / wanted.std()
    fits = [float(np.dot(shape, (part - part.mean()) / max(float(part.std()), 1e-9)))
            for part in (speed[start:start + length] for start in starts)]
    return int(starts[int(np.argmax(fits))])
