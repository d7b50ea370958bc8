"""Blinks, gaze and brow accents of people in general, as in the backend's ``motion.eyes`` and what that uses."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from . import filters
from .features import FPS
from .options import Options
from .prosody import ACTIVE, LOUDNESS, PITCH
from .voice import stretches

PAUSE_FACTOR, END_FACTOR, END_SECONDS, PHRASE_SECONDS = 2.0, 4.0, 0.6, 0.4
REGULARITY, REFRACTORY = 2.5, 0.5
CLOSING_PART, OPENING_POWER, FULL_CHANCE = 0.33, 0.75, 0.85
LAG_SECONDS, WEAKER = 0.012, 0.06
COMPENSATION = np.array([0.5, 0.85])
"""Share of the head's pitch and yaw that the eyes take back."""
REACH = {"Up": 0.44, "Down": 0.44, "In": 0.60, "Out": 0.60}
"""Radians by which each eyeLook shape at weight 1 turns the eye."""
FARTHEST = 0.85
SPREAD, BROW_REACH = np.radians([1.0, 1.6]), np.array([0.28, 0.2])
FIXATION_SECONDS, FIXATION_SPREAD, SHORTEST, LONGEST = 0.8, 0.55, 0.3, 2.0
STAYING, SPEAKING_SPREAD, BLINK_REACH, SUBSTEPS = 0.35, 1.15, 0.3, 10
PROMINENCE, CHANCE, APART, LEAD = 0.45, 0.5, 0.8, 0.06
RISE, HOLD, FALL = 0.16, 0.08, 0.36
BROWS = {"browInnerUp": 1.0, "browOuterUpLeft": 0.9, "browOuterUpRight": 0.9}
OPEN_LIMIT, DOWN_CLOSES, MOST_ACCENTS = 0.35, 0.17, 3.0


def add_eyes(weights: np.ndarray, names: list[str], rest: np.ndarray, rotation: np.ndarray, sound: np.ndarray,
             blinking: tuple[float, float], options: Options) -> np.ndarray:
    """`weights` (T, K) with blinks, gaze and brow accents, not clamped.

    Parameters
    ----------
    rest : (K,) the expression in silence, for how open the eyes usually are
    rotation : (T, ≥2) pitch and yaw of the head about its mean, radians
    sound : (T, 10) prosody of the speech
    blinking : blinks per second and their duration in seconds
    """
    active, seed = sound[:, ACTIVE] > 0.5, options.seed
    shut = blink_frames(active, blinking[0], seed)
    closure = blinks(shut, len(active), blinking[1], seed, options.blink_asymmetry)
    looking = gaze(rotation, shut, active, options)
    accents = min(options.accents * options.brows * options.upper_face, MOST_ACCENTS)
    lift, result = accents * raises(sound, seed), weights.copy()
    for index, name in enumerate(names):
        if name in BROWS:
            result[:, index] += lift * BROWS[name] * float(BROW_REACH[0 if "Inner" in name else 1])
    for index, weight in look_weights(looking, names).items():
        result[:, index] = weight
    return close_lids(result, closure, rest, names)


def blink_frames(active: np.ndarray, rate: float, seed: int) -> list[int]:
    """Frames at which the lids are shut, ascending: gamma intervals in a time that runs faster in pauses."""
    if rate <= 0:
        return []
    generator = np.random.default_rng([seed, 0xB11])
    hazard = np.where(active, 1.0, PAUSE_FACTOR)
    hazard[phrase_ends(active)] = END_FACTOR
    clock = np.cumsum(hazard * (rate / FPS / hazard.mean()))
    frames: list[int] = []
    due = float(generator.gamma(REGULARITY, 1 / REGULARITY)) * float(generator.random())
    while due < clock[-1]:
        frame = int(np.searchsorted(clock, due))
        if frame - (frames[-1] if frames else 0) >= REFRACTORY * FPS:
            frames.append(frame)
        due += float(generator.gamma(REGULARITY, 1 / REGULARITY))
    return frames


def phrase_ends(active: np.ndarray) -> np.ndarray:
    """(T,) bool: the first quiet moments after speech of some length."""
    result = np.zeros(len(active), bool)
    for start, stop in stretches(active):
        if stop - start >= PHRASE_SECONDS * FPS:
            result[stop:stop + round(END_SECONDS * FPS)] = True
    return result & ~active


def blinks(shut: list[int], frames: int, duration: float, seed: int, asymmetry: float) -> np.ndarray:
    """(T, 2) float32 closure of the left and the right lid in [0, 1], shut about the frames `shut`."""
    result = np.zeros((frames, 2), np.float32)
    generator = np.random.default_rng([seed, 0xB12])
    for peak in shut:
        lasting = duration * float(np.exp(generator.normal(0, 0.15)))
        depth = 1.0 if generator.random() < FULL_CHANCE else float(generator.uniform(0.8, 1.0))
        side = 1 if generator.random() < 0.5 else -1
        strength = asymmetry * abs(float(generator.normal(0, 1)))
        first = max(peak - FPS, 0)
        around = slice(first, min(peak + FPS, frames))
        for lid, sign in enumerate((side, -side)):
            late = 0.0 if sign > 0 else strength * LAG_SECONDS
            weak = 1.0 if sign > 0 else max(1 - strength * WEAKER, 0.0)
            curve = depth * weak * lid_curve(around.stop - first, peak - first, lasting, late)
            result[around, lid] = np.maximum(result[around, lid], curve)
    return result


def lid_curve(frames: int, peak: int, duration: float, late: float) -> np.ndarray:
    """(frames,) float32 closure of one blink: lids close twice as fast as they open."""
    offset = (np.arange(frames) - peak) / FPS - late
    closing = np.clip(-offset / (duration * CLOSING_PART), 0, 1)
    opening = np.clip(offset / (duration * (1 - CLOSING_PART)), 0, 1) ** OPENING_POWER
    return (0.5 * (1 + np.cos(np.pi * np.where(offset < 0, closing, opening)))).astype(np.float32)


def gaze(rotation: np.ndarray, shut: list[int], active: np.ndarray, options: Options) -> np.ndarray:
    """(T, 2) float32 pitch (down) and yaw (to the person's left) of the eyes in the head, radians."""
    wander = fixations(active, SPREAD * options.saccades, options.seed, shut)
    turn = filters.convolve(rotation[:, :2], np.array([1, 4, 6, 4, 1]) / 16) * COMPENSATION * options.gaze
    aim = np.stack([-turn[:, 0], turn[:, 1]], 1)
    limit = FARTHEST * np.array([REACH["Down"], REACH["Out"]])
    return (limit * np.tanh((wander + aim) / limit)).astype(np.float32)


def fixations(active: np.ndarray, spread: np.ndarray, seed: int, shut: list[int]) -> np.ndarray:
    """(T, 2) offsets from the aim: still for 0.3 to 2 s, then a saccade to the next, with a blink where one is near."""
    generator = np.random.default_rng([seed, 0x6A2E])
    frames = len(active)
    here, time, last = generator.standard_normal(2) * spread * 0.5, 0.0, 0
    fine = np.empty((frames * SUBSTEPS, 2))
    while last < len(fine):
        time += float(np.clip(FIXATION_SECONDS * np.exp(generator.normal(0, FIXATION_SPREAD)), SHORTEST, LONGEST))
        drawn = np.clip(generator.standard_normal(2) / np.sqrt(generator.chisquare(5) / 5), -2.5, 2.5)
        start = max(int(_with_blink(time, shut) * FPS * SUBSTEPS), last)
        fine[last:start] = here
        lively = SPEAKING_SPREAD if active[min(start // SUBSTEPS, frames - 1)] else 1.0
        there = STAYING * here + drawn * spread * lively * np.sqrt(1 - STAYING ** 2)
        move = _saccade(here, there)
        last = min(start + len(move), len(fine))
        fine[start:last] = move[:max(last - start, 0)]
        here, time = there, start / FPS / SUBSTEPS
    return fine.reshape(frames, SUBSTEPS, 2).mean(1)


def _saccade(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(N, 2) fine steps between two aims with the least jerk; 21 ms and 2.2 ms a degree (Carpenter 1988)."""
    size = float(np.degrees(np.hypot(*(there - here))))
    length = max(round((0.021 + 0.0022 * size) * FPS * SUBSTEPS), 1)
    part = (np.arange(length) + 1) / length
    return here + (part ** 3 * (10 - 15 * part + 6 * part ** 2))[:, None] * (there - here)


def _with_blink(time: float, shut: list[int]) -> float:
    """`time` (s) of a saccade, moved to the nearest blink within reach."""
    at = bisect_left(shut, time * FPS)
    near = [frame / FPS for frame in shut[max(at - 1, 0):at + 1] if abs(frame / FPS - time) < BLINK_REACH]
    return min(near, key=lambda moment: abs(moment - time)) if near else time


def look_weights(eyes: np.ndarray, names: list[str]) -> dict[int, np.ndarray]:
    """Channel → (T,) weight of the eyeLook shapes that turn both eyes by `eyes` (T, 2) pitch and yaw."""
    pitch, yaw = eyes[:, 0], eyes[:, 1]
    wanted = {"eyeLookDownLeft": pitch, "eyeLookDownRight": pitch, "eyeLookUpLeft": -pitch, "eyeLookUpRight": -pitch,
              "eyeLookOutLeft": yaw, "eyeLookInRight": yaw, "eyeLookInLeft": -yaw, "eyeLookOutRight": -yaw}
    reach = {name: next(value for key, value in REACH.items() if key in name) for name in wanted}
    return {index: np.clip(wanted[name] / reach[name], 0, 1).astype(np.float32)
            for index, name in enumerate(names) if name in wanted}


def raises(sound: np.ndarray, seed: int) -> np.ndarray:
    """(T,) float32 lift of the brows in [0, 1.5] on some pitch accents, up fast, down slowly (Flecha-García 2010)."""
    curve = filters.gaussian((0.7 * sound[:, PITCH] + 0.3 * sound[:, LOUDNESS]) * sound[:, ACTIVE], 1.5)
    found = filters.peaks(curve)
    heights = filters.prominences(curve, found)
    generator = np.random.default_rng([seed, 0xB20])
    result, last = np.zeros(len(sound)), None
    for peak, height in zip(found.tolist(), heights.tolist(), strict=True):
        if height < PROMINENCE:
            continue
        strength = float(np.clip(height / (3 * PROMINENCE), 0, 1))
        lifted = generator.random() < CHANCE * (0.4 + 0.6 * strength)
        size = min(strength * float(np.exp(generator.normal(0, 0.3))), 1.5)
        if lifted and (last is None or peak - last >= APART * FPS):
            last = peak
            around = slice(max(peak - FPS, 0), min(peak + FPS, len(sound)))
            offset = (np.arange(around.start, around.stop) - peak) / FPS + LEAD
            up, down = np.clip((offset + RISE) / RISE, 0, 1), np.clip(1 - (offset - HOLD) / FALL, 0, 1)
            shape = np.where(offset < 0, up, down)
            result[around] = np.maximum(result[around], size * shape * shape * (3 - 2 * shape))
    return result.astype(np.float32)


def close_lids(weights: np.ndarray, closure: np.ndarray, rest: np.ndarray, names: list[str]) -> np.ndarray:
    """`weights` (T, K) whose lids follow `closure` (T, 2) to shut; looking down has lowered them already."""
    result = weights.copy()
    for column, side in enumerate(("Left", "Right")):
        if f"eyeBlink{side}" not in names:
            continue
        index = names.index(f"eyeBlink{side}")
        usual = min(float(rest[index]), OPEN_LIMIT)
        for opener in (f"eyeLookUp{side}", f"eyeWide{side}"):
            if opener in names:
                result[:, names.index(opener)] *= 1 - closure[:, column]
        down = result[:, names.index(f"eyeLookDown{side}")] if f"eyeLookDown{side}" in names else 0.0
        full = 1 - DOWN_CLOSES * np.clip(down, 0, 1)
        result[:, index] = usual + (full - usual) * closure[:, column]
    return result
