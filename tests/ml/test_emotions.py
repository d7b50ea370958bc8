"""What emotions look like: learned offsets, their file, and what they do to a face."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blender_assets.emotions import EMFACS, PRIOR_PEOPLE, STRENGTH, TARGET, offsets
from ml_backend.config import head_model
from ml_backend.face_model.model import load
from ml_backend.motion.controls import EMOTIONS, NEUTRAL, Controls, add_emotion

CALM = {"browDownLeft": 0.1, "browDownRight": 0.1, "browInnerUp": 0.2, "mouthSmileLeft": 0.1, "mouthSmileRight": 0.1,
        "jawOpen": 0.2, "eyeBlinkLeft": 0.1, "mouthPucker": 0.2}


def acted(**changes: float) -> dict[str, float]:
    return {**CALM, **changes}


def test_measured_weights_are_drawn_towards_the_action_units():
    found = offsets("angry", [acted(browDownLeft=0.7, browDownRight=0.5)] * 2, CALM)
    trust = 2 / (2 + PRIOR_PEOPLE)
    expected = trust * STRENGTH * 0.5 + (1 - trust) * EMFACS["angry"]["browDownLeft"]
    # Both sides get the mean of both: that one brow was lower is the actor's, not the emotion's.
    assert found["browDownLeft"] == found["browDownRight"] == pytest.approx(expected, abs=0.01)


def test_without_people_the_action_units_are_what_is_left():
    assert offsets("surprised", [], CALM)["browInnerUp"] == pytest.approx(
        EMFACS["surprised"]["browInnerUp"] * (1 if PRIOR_PEOPLE else 0))


def test_what_was_said_is_no_emotion():
    found = offsets("angry", [acted(jawOpen=0.9, mouthPucker=0.9, eyeBlinkLeft=0.9, mouthSmileLeft=0.8)] * 3, CALM)
    assert not {"jawOpen", "mouthPucker", "eyeBlinkLeft", "mouthSmileLeft"} & set(found)


def test_contempt_keeps_its_side():
    found = offsets("contempt", [acted(mouthSmileRight=0.8)] * 3, CALM)
    assert found["mouthSmileRight"] > 0.3
    assert "mouthSmileLeft" not in found


def test_the_shipped_file_is_what_the_controls_use_and_fits_the_head():
    held = json.loads(TARGET.read_text(encoding="utf-8"))
    assert held["weights"] == EMOTIONS
    assert set(EMOTIONS) == {NEUTRAL, *EMFACS}
    assert held["people"] == dict.fromkeys(EMFACS, 1) | {"happy": 3, "angry": 2, "surprised": 2, "disgusted": 3}
    names = load(head_model()).names
    for emotion, weights in EMOTIONS.items():
        assert set(weights) <= set(names), emotion
        assert all(-0.5 <= value <= 1 for value in weights.values()), emotion


def test_every_emotion_changes_a_silent_face_and_lets_speech_close_its_lips():
    names = load(head_model()).names
    still = np.zeros((2, len(names)), np.float32)
    for emotion in set(EMOTIONS) - {NEUTRAL}:
        looks = add_emotion(still, names, np.array([0.0, 1.0]), Controls(emotion=emotion))
        assert np.abs(looks[0]).max() > 0.2, emotion
        assert looks[1, names.index("jawOpen")] == 0, emotion
