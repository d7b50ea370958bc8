"""Blinks: a renewal process with the person's rate and duration, likelier in pauses and where a phrase has ended."""

from __future__ import annotations

import numpy as np

from ml_backend.audio.features import FPS

_PAUSE_FACTOR = 2.0
_END_FACTOR = 4.0
_END_SECONDS = 0.6
_PHRASE_SECONDS = 0.4
_REGULARITY = 2.5
_REFRACTORY = 0.5
_CLOSING_PART = 0.33
_OPENING_POWER = 0.75
_FULL_CHANCE = 0.85
_LAG_SECONDS, _WEAKER = 0.012, 0.06
_REACH = FPS


def blinks(active: np.ndarray, rate: float, duration: float, seed: int, *, asymmetry: float = 1.0,
           leader: float = 0.0) -> np.ndarray:
    """(T, 2) float32 closure of the left and the right lid in [0, 1].

    Parameters
    ----------
    active : (T,) bool, whether someone speaks in each frame
    rate : blinks per second, on average over the whole
    duration : seconds from the first movement of the lid to the last, typical
    seed : equal seeds blink at equal times
    asymmetry : how much earlier and further one lid closes, 1 = as most people's, 0 = both alike
    leader : -1 to 1, which lid tends to lead: 1 always the left one
    """
    result = np.zeros((len(active), 2), np.float32)
    generator = np.random.default_rng([seed, 0xB12])
    for peak in blink_frames(active, rate, seed):
        lasting = duration * float(np.exp(generator.normal(0, 0.15)))
        depth = 1.0 if generator.random() < _FULL_CHANCE else float(generator.uniform(0.8, 1.0))
        side = 1 if generator.random() < 0.5 + 0.5 * leader else -1
        strength = asymmetry * abs(float(generator.normal(0, 1)))
        for lid, sign in enumerate((side, -side)):
            late = 0.0 if sign > 0 else strength * _LAG_SECONDS
            weak = 1.0 if sign > 0 else max(1 - strength * _WEAKER, 0.0)
            first = max(peak - _REACH, 0)
            around = slice(first, min(peak + _REACH, len(active)))
            curve = depth * weak * lid_curve(around.stop - first, peak - first, lasting, late=late)
            result[around, lid] = np.maximum(result[around, lid], curve)
    return result


def blink_frames(active: np.ndarray, rate: float, seed: int) -> list[int]:
    """Frames at which the lids are shut, ascending.

    Intervals are gamma-distributed in a time that runs twice as fast in pauses and four times as fast where a phrase
    has just ended, which keeps the mean rate while it moves blinks to where people blink; never two within half a
    second.
    """
    if rate <= 0 or not len(active):
        return []
    generator = np.random.default_rng([seed, 0xB11])
    hazard = np.where(active, 1.0, _PAUSE_FACTOR)
    hazard[phrase_ends(active)] = _END_FACTOR
    hazard *= rate / FPS / hazard.mean()
    clock = np.cumsum(hazard)
    frames: list[int] = []
    due = float(generator.gamma(_REGULARITY, 1 / _REGULARITY)) * float(generator.random())
    while due < clock[-1]:
        frame = int(np.searchsorted(clock, due))
        # Nobody wants a film that begins with shut eyes.
        if frame - (frames[-1] if frames else 0) >= _REFRACTORY * FPS:
            frames.append(frame)
        due += float(generator.gamma(_REGULARITY, 1 / _REGULARITY))
    return frames


def phrase_ends(active: np.ndarray) -> np.ndarray:
    """(T,) bool: within 0.6 s after speech of 0.4 s or more stopped, as long as it stays quiet."""
    result = np.zeros(len(active), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(active, int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= _PHRASE_SECONDS * FPS:
            result[stop:stop + round(_END_SECONDS * FPS)] = True
    return result & ~np.asarray(active, bool)


def lid_curve(frames: int, peak: int, duration: float, *, late: float = 0.0) -> np.ndarray:
    """(frames,) float32 closure of one blink that is shut at frame `peak` (`late` seconds after).

    Lids close twice as fast as they open, and the opening starts fast and ends slowly.
    """
    offset = (np.arange(frames) - peak) / FPS - late
    closing = np.clip(-offset / (duration * _CLOSING_PART), 0, 1)
    opening = np.clip(offset / (duration * (1 - _CLOSING_PART)), 0, 1) ** _OPENING_POWER
    return (0.5 * (1 + np.cos(np.pi * np.where(offset < 0, closing, opening)))).astype(np.float32)
