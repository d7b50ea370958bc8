"""Controls after the network: amounts, emotions, smoothing, lead, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.errors import UserInputError
from ml_backend.motion.controls import EMOTIONS, Controls, add_emotion, led, scale_upper_face, smoothed

NAMES = ["browInnerUp", "cheekSquintLeft", "jawOpen", "mouthSmileLeft", "eyeBlinkLeft"]


def weights(frames: int = 50) -> np.ndarray:
    return np.random.default_rng(0).random((frames, len(NAMES))).astype(np.float32)


def test_upper_face_and_brows_scale_about_the_neutral() -> None:
    expression, neutral = weights(), np.full(len(NAMES), 0.3, np.float32)
    scaled = scale_upper_face(expression, NAMES, neutral, Controls(upper_face=0.5, brows=2.0))
    ratio = (scaled - neutral) / (expression - neutral)
    assert np.allclose(ratio[:, 0], 1.0, atol=1e-4), "0.5 of the upper face times 2 of the brows"
    assert np.allclose(ratio[:, 1], 0.5, atol=1e-4)
    assert np.array_equal(scaled[:, 2:], expression[:, 2:])


def test_an_emotion_is_stronger_in_silence_and_opens_no_speaking_mouth() -> None:
    busy = np.r_[np.zeros(25), np.ones(25)].astype(np.float32)
    expression = np.zeros((50, len(NAMES)), np.float32)
    happy = add_emotion(expression, NAMES, busy, Controls(emotion="happy"))
    assert happy[0, 3] > happy[-1, 3] > 0
    assert np.ptp(happy[:, 1]) == 0 and happy[0, 1] > 0
    surprised = add_emotion(expression, NAMES, busy, Controls(emotion="surprised", emotion_strength=2))
    assert surprised[0, 2] > 0 and surprised[-1, 2] == 0
    assert surprised[-1, 0] == pytest.approx(2 * EMOTIONS["surprised"]["browInnerUp"])
    assert np.array_equal(add_emotion(expression, NAMES, busy, Controls()), expression)


def test_lead_moves_by_time_and_smoothing_keeps_the_mean() -> None:
    expression = weights(200)
    earlier = led(expression, Controls(lead_ms=80))
    assert np.allclose(earlier[:-2], expression[2:], atol=1e-6)
    later = led(expression, Controls(lead_ms=-20))
    assert np.allclose(later[1:], (expression[1:] + expression[:-1]) / 2, atol=1e-6)
    smooth = smoothed(expression, Controls(smoothing_ms=80))
    assert smooth.std() < 0.6 * expression.std() and abs(smooth.mean() - expression.mean()) < 0.02
    assert np.array_equal(led(smoothed(expression, Controls()), Controls()), expression)


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"mouth": -1.0}, "--mouth -1 must lie between 0 and 3"),
    ({"emotion": "bored"}, "no emotion 'bored'; choose neutral, happy"),
    ({"lead_ms": 900.0}, "--lead-ms 900"),
    ({"smoothing_ms": float("nan")}, "--smoothing-ms nan"),
    ({"blink_rate": 50.0}, "--blink-rate 50"),
])
def test_nonsense_is_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(UserInputError, match=sentence):
        Controls(**wrong)
