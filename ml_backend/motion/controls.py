"""What an animator turns after the network: amounts of mouth, upper face and brows, emotion, smoothing, lead.

Emotions are offset styles: a constant expression added to the person's, stronger while nobody speaks so that the lips
stay readable. Their make-up is the action units of EMFACS (Ekman & Friesen 1983; Friesen & Ekman 1984) in ARKit's
terms: happiness 6 + 12, sadness 1 + 4 + 15, surprise 1 + 2 + 5 + 26, fear 1 + 2 + 4 + 5 + 20, anger 4 + 5 + 7 + 23,
disgust 9 + 15 + 16, contempt one-sided 12 + 14.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ml_backend.audio.features import FPS
from ml_backend.errors import UserInputError

NEUTRAL = "neutral"
MAX_LEAD_MS, MAX_SMOOTHING_MS, MAX_AMOUNT = 200.0, 400.0, 3.0
_SPOKEN_SHARE = 0.6
_UPPER = ("brow", "cheekSquint", "noseSneer", "eyeSquint", "eyeWide")
_PARTING = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel")


def _both(**weights: float) -> dict[str, float]:
    return {f"{name}{side}": value for name, value in weights.items() for side in ("Left", "Right")}


EMOTIONS: dict[str, dict[str, float]] = {
    NEUTRAL: {},
    "happy": _both(mouthSmile=0.5, cheekSquint=0.45, eyeSquint=0.25, mouthDimple=0.1),
    "sad": {"browInnerUp": 0.55, "mouthShrugLower": 0.15, **_both(browDown=0.12, mouthFrown=0.4, eyeLookDown=0.1)},
    "angry": {"mouthRollLower": 0.1, **_both(browDown=0.7, eyeWide=0.2, eyeSquint=0.35, mouthPress=0.3,
                                             noseSneer=0.2)},
    "surprised": {"browInnerUp": 0.6, "jawOpen": 0.12, **_both(browOuterUp=0.65, eyeWide=0.55)},
    "afraid": {"browInnerUp": 0.7, **_both(browOuterUp=0.3, browDown=0.25, eyeWide=0.5, mouthStretch=0.35)},
    "disgusted": {"mouthShrugUpper": 0.15, **_both(noseSneer=0.6, browDown=0.3, mouthUpperUp=0.2, mouthFrown=0.25,
                                                   cheekSquint=0.3)},
    "contempt": {"mouthSmileRight": 0.3, "mouthDimpleRight": 0.4, "mouthPressRight": 0.2, "eyeSquintRight": 0.15},
}
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
