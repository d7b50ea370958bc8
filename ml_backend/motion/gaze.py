"""Where the eyes look: fixations with small saccades about the person's mean, held while the head turns."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from scipy.ndimage import convolve1d

from ml_backend.audio.features import FPS

COMPENSATION = np.array([0.5, 0.85])
"""Share of the head's pitch and yaw that the eyes take back. In tracked clips −0.4 and 0.6 to 1.0 of it was seen; lids
hide part of the vertical."""
REACH = {"Up": 0.44, "Down": 0.44, "In": 0.60, "Out": 0.60}
"""Radians by which each eyeLook shape at weight 1 turns the eye (see the head's shapes)."""
FARTHEST = 0.85
"""Weight at which the eyes stop: beyond, people turn the head."""
_FIXATION_SECONDS, _FIXATION_SPREAD = 0.8, 0.55
_SHORTEST, _LONGEST = 0.3, 2.0
_STAYING = 0.35
_SPEAKING_SPREAD = 1.15
_BLINK_REACH = 0.3
_SUBSTEPS = 10


def gaze(rotation: np.ndarray, mean: np.ndarray, spread: np.ndarray, seed: int, *, shut: list[int] | None = None,
         active: np.ndarray | None = None, hold: float = 1.0, saccades: float = 1.0) -> np.ndarray:
    """(T, 2) float32 pitch (positive: down) and yaw (positive: to the person's left) of the eyes in the head, radians.

    Parameters
    ----------
    rotation : (T, ≥2) pitch and yaw of the head about its mean, radians
    mean : (2,) usual pitch and yaw of the eyes in the head
    spread : (2,) their standard deviation over fixations
    seed : equal seeds look at equal places
    shut : frames at which the lids are shut; saccades that are due about then wait for them
    active : (T,) bool, whether someone speaks; the eyes wander a little more while thinking and speaking
    hold : 0 to 1, how far the eyes stay on their aim while the head turns (vestibulo-ocular reflex)
    saccades : factor on the size of saccades
    """
    frames = len(rotation)
    wander = fixations(frames, np.asarray(spread) * saccades, seed, shut or [], active)
    turn = _smooth(rotation[:, :2]) * COMPENSATION * hold
    # A head that turns down by positive pitch needs eyes that look up; one that turns by positive yaw (towards the
    # image's left) eyes that look to the image's right, the person's left.
    aim = np.stack([-turn[:, 0], turn[:, 1]], 1)
    limit = FARTHEST * np.array([REACH["Down"], REACH["Out"]])
    return (limit * np.tanh((np.asarray(mean) + wander + aim) / limit)).astype(np.float32)


def fixations(frames: int, spread: np.ndarray, seed: int, shut: list[int], active: np.ndarray | None) -> np.ndarray:
    """(T, 2) offsets from the mean aim: still for 0.3 to 2 s, then a saccade to the next.

    A saccade of A degrees takes 21 + 2.2 A ms (Carpenter 1988), mostly less than a film frame.
    """
    generator = np.random.default_rng([seed, 0x6A2E])
    here, time, last = generator.standard_normal(2) * spread * 0.5, 0.0, 0
    fine = np.empty((frames * _SUBSTEPS, 2))
    while last < len(fine):
        time += float(np.clip(_FIXATION_SECONDS * np.exp(generator.normal(0, _FIXATION_SPREAD)), _SHORTEST, _LONGEST))
        # Heavy tails: most saccades are small, a few are glances away.
        drawn = np.clip(generator.standard_normal(2) / np.sqrt(generator.chisquare(5) / 5), -2.5, 2.5)
        start = max(int(_with_blink(time, shut) * FPS * _SUBSTEPS), last)
        fine[last:start] = here
        lively = _SPEAKING_SPREAD if active is not None and active[min(start // _SUBSTEPS, frames - 1)] else 1.0
        there = _STAYING * here + drawn * spread * lively * np.sqrt(1 - _STAYING ** 2)
        move = _saccade(here, there)
        last = min(start + len(move), len(fine))
        fine[start:last] = move[:max(last - start, 0)]
        here, time = there, start / FPS / _SUBSTEPS
    return fine.reshape(frames, _SUBSTEPS, 2).mean(1)


def _saccade(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(N, 2) fine steps from `here` to `there` with the least jerk."""
    size = float(np.degrees(np.hypot(*(there - here))))
    length = max(round((0.021 + 0.0022 * size) * FPS * _SUBSTEPS), 1)
    part = (np.arange(length) + 1) / length
    return here + (part ** 3 * (10 - 15 * part + 6 * part ** 2))[:, None] * (there - here)


def weights_of(eyes: np.ndarray, names: list[str]) -> dict[int, np.ndarray]:
    """Channel → (T,) weight in [0, 1] of the eyeLook shapes that turn both eyes by `eyes` (T, 2) pitch and yaw."""
    pitch, yaw = eyes[:, 0], eyes[:, 1]
    wanted = {"eyeLookDownLeft": pitch, "eyeLookDownRight": pitch, "eyeLookUpLeft": -pitch, "eyeLookUpRight": -pitch,
              "eyeLookOutLeft": yaw, "eyeLookInRight": yaw, "eyeLookInLeft": -yaw, "eyeLookOutRight": -yaw}
    result = {}
    for index, name in enumerate(names):
        if name in wanted:
            reach = next(value for key, value in REACH.items() if key in name)
            result[index] = np.clip(wanted[name] / reach, 0, 1).astype(np.float32)
    return result


def angles_of(expression: np.ndarray, names: list[str]) -> np.ndarray:
    """(T, 2) pitch and yaw of the eyes, radians, mean of both, that the eyeLook weights of `expression` (T, K) mean."""
    zero = np.zeros(len(expression))

    def weight(name: str) -> np.ndarray:
        return expression[:, names.index(name)] if name in names else zero

    pitch = (weight("eyeLookDownLeft") + weight("eyeLookDownRight") - weight("eyeLookUpLeft")
             - weight("eyeLookUpRight")) / 2 * REACH["Down"]
    yaw = (weight("eyeLookOutLeft") + weight("eyeLookInRight") - weight("eyeLookInLeft")
           - weight("eyeLookOutRight")) / 2 * REACH["Out"]
    return np.stack([pitch, yaw], 1)


def _with_blink(time: float, shut: list[int]) -> float:
    """`time` (s) of a saccade, moved to the nearest blink within reach: people use blinks to look elsewhere."""
    at = bisect_left(shut, time * FPS)
    near = [frame / FPS for frame in shut[max(at - 1, 0):at + 1] if abs(frame / FPS - time) < _BLINK_REACH]
    return min(near, key=lambda moment: abs(moment - time)) if near else time


def _smooth(rotation: np.ndarray) -> np.ndarray:
    return convolve1d(rotation, np.array([1, 4, 6, 4, 1]) / 16, axis=0, mode="nearest")
