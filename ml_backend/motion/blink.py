"""Blinks: a point process of their own, with the person's rate and duration, likelier in pauses than in words."""

from __future__ import annotations

import numpy as np

from ml_backend.audio.features import FPS

_PAUSE_FACTOR = 2.0
_REGULARITY = 2.5
_REFRACTORY = 0.5
_CLOSING_PART = 0.35


def blinks(active: np.ndarray, rate: float, duration: float, seed: int) -> np.ndarray:
    """(T,) float32 lid closure in [0, 1].

    Parameters
    ----------
    active : (T,) bool, whether someone speaks in each frame
    rate : blinks per second, on average over the whole
    duration : seconds from the first movement of the lid to the last
    seed : equal seeds blink at equal times
    """
    result = np.zeros(len(active), np.float32)
    for peak in blink_frames(active, rate, seed):
        result = np.maximum(result, lid_curve(len(active), peak, duration))
    return result


def blink_frames(active: np.ndarray, rate: float, seed: int) -> list[int]:
    """Frames at which the lids are shut, ascending.

    Intervals are gamma-distributed in a time that runs twice as fast in pauses, which keeps the mean rate while it
    moves blinks to where people blink; never two within half a second.
    """
    if rate <= 0 or not len(active):
        return []
    generator = np.random.default_rng([seed, 0xB11])
    hazard = np.where(active, 1.0, _PAUSE_FACTOR)
    hazard *= rate / FPS / hazard.mean()
    clock = np.cumsum(hazard)
    frames: list[int] = []
    due = float(generator.gamma(_REGULARITY, 1 / _REGULARITY)) * float(generator.random())
    while due < clock[-1]:
        frame = int(np.searchsorted(clock, due))
        if not frames or frame - frames[-1] >= _REFRACTORY * FPS:
            frames.append(frame)
        due += float(generator.gamma(_REGULARITY, 1 / _REGULARITY))
    return frames


def lid_curve(frames: int, peak: int, duration: float) -> np.ndarray:
    """(frames,) float32 closure of one blink that is shut at frame `peak`; lids close twice as fast as they open."""
    offset = (np.arange(frames) - peak) / FPS
    span = np.where(offset < 0, duration * _CLOSING_PART, duration * (1 - _CLOSING_PART))
    return (0.5 * (1 + np.cos(np.pi * np.clip(offset / span, -1, 1)))).astype(np.float32)
