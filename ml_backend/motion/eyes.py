"""Lids, gaze and brows of a performance: what of a person's is known of them, and putting them on the expression."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import median_filter

from ml_backend.audio.features import FPS
from ml_backend.audio.prosody import ACTIVE
from ml_backend.motion import brows, gaze
from ml_backend.motion.blink import blink_frames, blinks
from ml_backend.motion.head_controls import HeadControls

_MEAN_LIMIT = np.radians([8.0, 10.0])
_SPREAD_RANGE = np.radians([[0.5, 0.7], [2.0, 3.0]])
_USUAL_SPREAD = np.radians([1.0, 1.6])
_USUAL_REACH = np.array([0.28, 0.2])
_REACH_RANGE = np.array([[0.1, 0.06], [0.55, 0.45]])
_LEAST_SECONDS = 4.0
_OPEN_LIMIT = 0.35
_DOWN_CLOSES, _UP_OPENS = 0.17, 1.0
"""Looking down already lowers the lid: so much less of a blink shuts the eye then. Looking up opens it: that stops."""


@dataclass(frozen=True)
class EyeStyle:
    """One person's eyes and brows, or people's.

    Attributes
    ----------
    aim : (2,) float, usual pitch (down) and yaw (to the person's left) of the eyes in the head, radians
    spread : (2,) float, standard deviation of the fixations about it
    reach : (2,) float, weight of the inner and the outer brows in a clear raise
    leader : float in [-1, 1], which lid leads in a blink, 1 = the left one
    """

    aim: np.ndarray = field(default_factory=lambda: np.zeros(2))
    spread: np.ndarray = field(default_factory=_USUAL_SPREAD.copy)
    reach: np.ndarray = field(default_factory=_USUAL_REACH.copy)
    leader: float = 0.0


def eye_style(expression: np.ndarray, names: list[str], rotation: np.ndarray) -> EyeStyle:
    """The eyes and brows seen in `expression` (T, K) with the head at `rotation` (T, ≥2), both at 25 fps.

    What the head's own turning explains is no wandering of the eyes; frames with closing lids say nothing.
    """
    lids = _lids(expression, names)
    if len(expression) < _LEAST_SECONDS * FPS or lids is None:
        return EyeStyle(aim=_aim(gaze.angles_of(expression, names)))
    closing = lids.mean(1)
    awake = closing < np.median(closing) + 0.15
    angles, turned = gaze.angles_of(expression, names), rotation[:, :2] - rotation[:, :2].mean(0)
    rest = angles - turned * gaze.COMPENSATION * np.array([-1, 1])
    calm = median_filter(rest, (5, 1))[awake]
    spread = 1.4826 * np.median(np.abs(calm - np.median(calm, axis=0)), axis=0)
    return EyeStyle(_aim(calm), np.clip(0.5 * (spread + _USUAL_SPREAD), *_SPREAD_RANGE), _reach(expression, names),
                    _leader(lids, closing))


def add_eyes(expression: np.ndarray, names: list[str], rest: np.ndarray, style: EyeStyle, rotation: np.ndarray,
             sound: np.ndarray, blinking: tuple[float, float], seed: int, controls: HeadControls) -> np.ndarray:
    """`expression` (T, K) with blinks, gaze and brow accents, not clamped.

    Parameters
    ----------
    expression : (T, K)
    names : list of K str
    rest : (K,) the person's expression in silence, for how open the eyes usually are
    style : the person's eyes and brows
    rotation : (T, 3) of the head about its mean, radians
    sound : (T, 10) prosody of the speech
    blinking : blinks per second and their duration in seconds
    seed : of all three
    controls : amounts
    """
    active = sound[:, ACTIVE] > 0.5
    closure = blinks(active, *blinking, seed, asymmetry=controls.blink_asymmetry, leader=style.leader)
    shut = blink_frames(active, blinking[0], seed)
    looking = gaze.gaze(rotation, style.aim, style.spread, seed, shut=shut, active=active, hold=controls.gaze,
                        saccades=controls.saccades)
    lift = controls.accents * brows.raises(sound, seed)
    result = brows.add_raises(expression, lift, style.reach, names)
    for index, weight in gaze.weights_of(looking, names).items():
        result[:, index] = weight
    return close_lids(result, closure, rest, names)


def close_lids(expression: np.ndarray, closure: np.ndarray, rest: np.ndarray, names: list[str]) -> np.ndarray:
    """`expression` (T, K) whose lids follow `closure` (T, 2) from the person's open state `rest` (K,) to shut.

    Shapes add up, and looking down has lowered the lid already: shut means that the lids meet, not that they cross.
    """
    result = expression.copy()
    for column, side in enumerate(("Left", "Right")):
        if f"eyeBlink{side}" not in names:
            continue
        index = names.index(f"eyeBlink{side}")
        usual = min(float(rest[index]), _OPEN_LIMIT)
        down = _channel(result, names, f"eyeLookDown{side}")
        if f"eyeLookUp{side}" in names:
            result[:, names.index(f"eyeLookUp{side}")] *= 1 - _UP_OPENS * closure[:, column]
        if f"eyeWide{side}" in names:
            result[:, names.index(f"eyeWide{side}")] *= 1 - closure[:, column]
        full = 1 - _DOWN_CLOSES * np.clip(down, 0, 1)
        result[:, index] = usual + (full - usual) * closure[:, column]
    return result


def _aim(angles: np.ndarray) -> np.ndarray:
    return np.clip(np.median(angles, axis=0), -_MEAN_LIMIT, _MEAN_LIMIT).astype(np.float64)


def _lids(expression: np.ndarray, names: list[str]) -> np.ndarray | None:
    wanted = ("eyeBlinkLeft", "eyeBlinkRight")
    return expression[:, [names.index(name) for name in wanted]] if all(name in names for name in wanted) else None


def _channel(expression: np.ndarray, names: list[str], name: str) -> np.ndarray:
    return expression[:, names.index(name)] if name in names else np.zeros(len(expression), np.float32)


def _reach(expression: np.ndarray, names: list[str]) -> np.ndarray:
    """(2,) how far the inner and the outer brows rise over their usual state at their highest."""
    inner = _channel(expression, names, "browInnerUp")
    outer = (_channel(expression, names, "browOuterUpLeft") + _channel(expression, names, "browOuterUpRight")) / 2
    seen = np.array([np.percentile(brow, 95) - np.median(brow) for brow in (inner, outer)])
    return np.clip(0.5 * (seen + _USUAL_REACH), *_REACH_RANGE)


def _leader(lids: np.ndarray, closing: np.ndarray) -> float:
    """-1 to 1: by how much the left lid is shut further than the right one in blinks, 0.2 being as far as it goes."""
    shut = closing > np.median(closing) + 0.3
    return float(np.clip((lids[shut, 0] - lids[shut, 1]).mean() / 0.2, -1, 1)) if shut.sum() > 3 else 0.0
