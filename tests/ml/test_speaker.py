"""Of several faces the one that speaks: whose lips go with the sound, whatever their order, size and delay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio.load import Speech
from ml_backend.errors import UserInputError
from ml_backend.metrics.landmarks import CORNER_LEFT, CORNER_RIGHT, EYE_LEFT, EYE_RIGHT, LOWER_LIP, UPPER_LIP
from ml_backend.motion import speaker
from ml_backend.reconstruct.landmarks import LandmarkTrack
from ml_backend.reconstruct.tracklets import SPEAKING

FRAMES = 150
SPEECH = Speech(np.zeros(FRAMES * 640, np.float32), 16000, FRAMES / 25)


def curve(seed: int) -> np.ndarray:
    """(T,) in [0, 1], as lively as a mouth."""
    noise = np.random.default_rng(seed).random(FRAMES + 4)
    return np.convolve(noise, np.ones(5) / 5, "valid")


def face(opening: np.ndarray, at: float, size: float) -> LandmarkTrack:
    """A face of two eyes and four lip points at x = `at`."""
    points = np.zeros((FRAMES, 478, 3), np.float32)
    points[:, EYE_RIGHT, 0], points[:, EYE_LEFT, 0] = -size, size
    points[:, CORNER_RIGHT, 0], points[:, CORNER_LEFT, 0] = -size / 2, size / 2
    points[:, UPPER_LIP, 1], points[:, LOWER_LIP, 1] = size, size + size * opening / 2
    points[..., 0] += at
    return LandmarkTrack(points, np.ones(FRAMES, np.float32), np.zeros(FRAMES, bool), people=2)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch):
    """Left the largest face with lips of its own, right a smaller one; what is heard is set by the test."""
    tracks = {"1": face(curve(1), 100, 40), "2": face(curve(2), 400, 25)}

    def find(frames, *, face="largest", progress=lambda done, of: None, source="the clip") -> LandmarkTrack:
        return tracks["1" if face == "largest" else face]

    def heard(opening: np.ndarray) -> None:
        monkeypatch.setattr(speaker, "heard_lips", lambda weights, samples: np.stack([opening, 0 * opening], 1))

    monkeypatch.setattr(speaker, "load_weights", lambda path: None)
    return tracks, find, heard


@pytest.mark.parametrize("delay", [0, 4, -6])
def test_the_face_that_speaks_is_followed_and_said(crowd, delay: int) -> None:
    tracks, find, heard = crowd
    heard(np.roll(curve(2), delay))
    found = speaker.follow_speaker([], SPEECH, find, source="x.mp4")
    assert found.landmarks is tracks["2"].landmarks
    assert "face 2 from the left" in found.warnings[0]
    assert "2 faces are in x.mp4" in found.warnings[0]


def test_the_largest_stays_where_no_other_agrees_clearly_better(crowd) -> None:
    tracks, find, heard = crowd
    heard(curve(7))
    assert speaker.chosen({1: 0.3, 2: 0.35}, 1) == 1
    assert speaker.chosen({1: 0.3, 2: 0.45}, 1) == 2
    assert speaker.chosen({2: 0.1}, None) == 2
    assert speaker.follow_speaker([], None, find).landmarks is tracks["1"].landmarks


def test_a_face_that_is_lost_does_not_count(crowd) -> None:
    tracks, find, heard = crowd

    def half_blind(frames, *, face="largest", **rest) -> LandmarkTrack:
        if face == "2":
            raise UserInputError("lost")
        return find(frames, face=face, **rest)

    heard(curve(2))
    assert speaker.follow_speaker([], SPEECH, half_blind).landmarks is tracks["1"].landmarks


def test_other_words_are_left_to_the_finder(crowd, tmp_path: Path) -> None:
    tracks, find, _ = crowd
    listen = speaker.listening(tmp_path / "none.mp4", find)
    assert listen([], face="2").landmarks is tracks["2"].landmarks
    # A clip without sound has nobody who could be heard.
    assert listen([], face=SPEAKING).landmarks is tracks["1"].landmarks
