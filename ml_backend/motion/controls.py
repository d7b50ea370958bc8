"""What an animator turns after the network: amounts of mouth, upper face and brows, emotion, smoothing, lead.

Emotions are offset styles: a constant expression added to the person's, stronger while nobody speaks so that the lips
stay readable. Their weights come from clips of people who act them, drawn towards the action units of EMFACS (Friesen &
Ekman 1983); ``blender_assets/emotions.py`` learned them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ml_backend.audio.features import FPS
from ml_backend.config import emotion_weights
from ml_backend.errors import ArtefactError, UserInputError

NEUTRAL = "neutral"
MAX_LEAD_MS, MAX_SMOOTHING_MS, MAX_AMOUNT = 200.0, 400.0, 3.0
_SPOKEN_SHARE = 0.6
_UPPER = ("brow", "cheekSquint", "noseSneer", "eyeSquint", "eyeWide")
_PARTING = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel")


def _emotions() -> dict[str, dict[str, float]]:
    """Weights of each emotion at strength 1, read from the embedded file."""
    path = emotion_weights()
    try:
        return json.loads(path.read_text(encoding="utf-8"))["weights"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path} can't be read ({error}); install Parley again.") from error


EMOTIONS: dict[str, dict[str, float]] = _emotions()
"""Weights of each emotion at strength 1."""


@dataclass(frozen=True)
class Controls:
    """What the user may turn; the defaults leave the performance as the network and the person's style make it.

    Attributes
    ----------
    mouth : factor on the mouth's reach
    upper_face : factor on how far brows, cheeks, nose and lids leave the person's neutral
    brows : a further factor on the brows alone
    blink_rate : factor on the person's blinks per second; 0 = none
    emotion : name in `EMOTIONS`
    emotion_strength : 0 to `MAX_AMOUNT`
    smoothing_ms : standard deviation of a Gaussian over time
    lead_ms : how much earlier than the sound the mouth moves; negative = later
    quiet_lips : close and still the lips where nobody speaks
    contact : bring the lips together on p, b and m
    """

    mouth: float = 1.0
    upper_face: float = 1.0
    brows: float = 1.0
    blink_rate: float = 1.0
    emotion: str = NEUTRAL
    emotion_strength: float = 1.0
    smoothing_ms: float = 0.0
    lead_ms: float = 0.0
    quiet_lips: bool = True
    contact: bool = True

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        UserInputError
            With the option, its value and the range.
        """
        for name, least, most in (("mouth", 0, MAX_AMOUNT), ("upper_face", 0, MAX_AMOUNT), ("brows", 0, MAX_AMOUNT),
                                  ("blink_rate", 0, 10), ("emotion_strength", 0, MAX_AMOUNT),
                                  ("smoothing_ms", 0, MAX_SMOOTHING_MS), ("lead_ms", -MAX_LEAD_MS, MAX_LEAD_MS)):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                option = "--" + name.replace("_", "-")
                raise UserInputError(f"{option} {value:g} must lie between {least:g} and {most:g}.")
        if self.emotion not in EMOTIONS:
            raise UserInputError(f"There is no emotion {self.emotion!r}; choose {', '.join(EMOTIONS)}.")


def scale_upper_face(expression: np.ndarray, names: list[str], neutral: np.ndarray, controls: Controls) -> np.ndarray:
    """`expression` (T, K) whose brows, cheeks, nose and lids go further or less far from `neutral` (K,)."""
    factor = np.ones(len(names), np.float32)
    for index, name in enumerate(names):
        if name.startswith(_UPPER):
            factor[index] = controls.upper_face * (controls.brows if name.startswith("brow") else 1.0)
    return np.where(factor == 1, expression, neutral + (expression - neutral) * factor).astype(np.float32)


def add_emotion(expression: np.ndarray, names: list[str], busy: np.ndarray, controls: Controls) -> np.ndarray:
    """`expression` (T, K) with the emotion's offset.

    The mouth takes `_SPOKEN_SHARE` of it while it speaks (`busy` (T,) in [0, 1]), and what would part the lips is
    left out then: an open jaw of surprise must not spoil a p.
    """
    result = expression.copy()
    for name, weight in EMOTIONS[controls.emotion].items():
        if name not in names:
            continue
        spoken = 0.0 if name.startswith(_PARTING) else _SPOKEN_SHARE
        share = 1 - busy * (1 - spoken) if name.startswith(("mouth", "jaw")) else 1.0
        result[:, names.index(name)] += controls.emotion_strength * weight * share
    return result


def smoothed(expression: np.ndarray, controls: Controls) -> np.ndarray:
    """`expression` (T, K) smoothed over time; its ends are held."""
    if controls.smoothing_ms <= 0:
        return expression
    return gaussian_filter1d(expression, controls.smoothing_ms / 1000 * FPS, axis=0, mode="nearest")


def led(expression: np.ndarray, controls: Controls) -> np.ndarray:
    """`expression` (T, K) moved against the sound by the lead; its ends are held."""
    if not controls.lead_ms:
        return expression
    times = np.arange(len(expression))
    moved = np.clip(times + controls.lead_ms / 1000 * FPS, 0, len(expression) - 1)
    first = np.minimum(moved.astype(int), len(expression) - 1)
    after, part = np.minimum(first + 1, len(expression) - 1), (moved - first)[:, None]
    return np.asarray(expression[first] * (1 - part) + expression[after] * part, np.float32)
