"""Clips that plates suffer from: cameras that move and zoom, passers-by, letters over the chin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ml_backend.background.disturbances import CHIN_AND_CHEEKS, LIPS, camera_motion, lettering, wall
from ml_backend.reconstruct.hands import POINTS
from ml_backend.talk import survey

SIZE = (320, 180)
COUNT = 30
WALL = np.clip(128 + 900 * gaussian_filter(np.random.default_rng(2).normal(size=(400, 600)), 5), 0, 255)
NONE = np.full((2, POINTS, 2), np.nan, np.float32)


def points() -> np.ndarray:
    """(478, 3) pixels: a face in the middle, its jaw where MediaPipe's is."""
    rng = np.random.default_rng(4)
    around = rng.uniform(0, 2 * np.pi, 478)
    flat = np.stack([160 + 32 * np.cos(around), 100 + 40 * np.sin(around), 0 * around], 1)
    jaw = np.linspace(np.pi, 0, len(CHIN_AND_CHEEKS))
    flat[list(CHIN_AND_CHEEKS), :2] = np.stack([160 + 30 * np.cos(jaw), 108 + 30 * np.sin(jaw)], 1)
    flat[list(LIPS), :2] = np.stack([160 + rng.uniform(-6, 6, 20), 112 + rng.uniform(-2, 2, 20)], 1)
    return flat.astype(np.float32)


def picture(x: float = 0, y: float = 0, growth: float = 1.0) -> np.ndarray:
    """A wall seen by a camera, with a plain face before it."""
    matrix = np.array([[growth, 0, 160 - 300 * growth - x], [0, growth, 90 - 200 * growth - y]])
    grey = cv2.warpAffine(WALL, matrix, SIZE, flags=cv2.INTER_CUBIC)
    out = np.repeat(grey[..., None], 3, 2).astype(np.uint8)
    cv2.ellipse(out, (160, 100), (34, 44), 0, 0, 360, (190, 150, 130), -1)
    return out


class Track(SimpleNamespace):
    """What is read of a FaceTrack."""

    def __len__(self) -> int:
        return COUNT


def looked(frame: Callable[[int], np.ndarray], find: Callable[[np.ndarray], np.ndarray] = lambda _: NONE
           ) -> survey.Survey:
    frames: Sequence[np.ndarray] = [frame(number) for number in range(COUNT)]
    track = Track(landmarks=np.repeat(points()[None], COUNT, 0), confidence=np.ones(COUNT), size=np.array(SIZE),
                  crop=np.array([110, 45, 100.0]))
    target = SimpleNamespace(track=track, frames=frames, cuts=np.zeros(COUNT, bool))
    return survey.look(target, find)  # pyright: ignore[reportArgumentType]


def said(frame: Callable[[int], np.ndarray]) -> str:
    return " ".join(survey.notes(looked(frame), max(SIZE)))


def subtitled(_: int) -> np.ndarray:
    out = picture()
    cv2.putText(out, "WHAT IS SAID", (90, 134), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.putText(out, "WHAT IS SAID", (90, 134), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
    return out


def passed(number: int) -> np.ndarray:
    out = picture()
    if 4 <= number < 11:
        x = 30 * (number - 4)
        out[:, x:x + 60] = picture(200 + 30 * number)[:, x:x + 60]
        out[60:140, 126:194] = picture()[60:140, 126:194]
    return out


@pytest.mark.parametrize("frame, message", [
    (lambda number: picture(), ""),
    (lambda number: picture(3.0 * np.sin(2.5 * number), 2.0 * np.cos(1.7 * number)), "The camera moves"),
    (lambda number: picture(1.0 * number), "The camera moves"),
    (lambda number: picture(growth=1 + 0.008 * number), "The camera zooms"),
    (passed, "Something moves behind the person between"),
    (subtitled, "Letters"),
])
def test_what_will_show_is_said_in_a_sentence(frame: Callable[[int], np.ndarray], message: str) -> None:
    text = said(frame)
    assert text.startswith(message) and (text == "") == (message == "") and text.count(".") <= 4


def test_passers_by_are_left_out_unless_they_never_stop() -> None:
    seen = looked(passed)
    assert seen.passing[5:10].all() and not seen.passing[[0, 1, -1]].any()
    always = survey.Survey(seen.motion, seen.hands, seen.covered, np.ones((COUNT, 4), np.float32), seen.letters)
    assert not always.passing.any()


def test_hands_are_looked_for_in_every_other_frame_and_in_all_beside_one_that_has_some() -> None:
    asked: list[int] = []
    shown = [picture() for _ in range(COUNT)]
    for number, frame in enumerate(shown):
        frame[0, 0] = number

    def find(frame: np.ndarray) -> np.ndarray:
        asked.append(int(frame[0, 0, 0]))
        return np.full_like(NONE, 50) if 5 <= asked[-1] < 8 else NONE

    seen = looked(lambda number: shown[number], find)
    there = np.isfinite(seen.hands).any((1, 2, 3))
    assert asked == sorted({*range(0, COUNT, 2), 7, COUNT - 1}) and there.nonzero()[0].tolist() == [5, 6, 7]


def test_the_cameras_part_of_a_motion() -> None:
    rows, columns = np.mgrid[:90, :160].astype(np.float32)
    moved = np.stack([1.5 + 0.02 * (columns - 80), -0.5 + 0.02 * (rows - 45)], -1)
    counted = np.ones((90, 160), bool)
    moved[20:40, 20:60] += 7
    found, others = camera_motion(moved, counted)
    assert found == pytest.approx([1.5, -0.5, 0.02], abs=0.06) and others == pytest.approx(800 / 14400, abs=0.01)
    assert camera_motion(moved, np.zeros_like(counted))[1] == 0
    assert not wall(points()[None], (90, 160), 0.5)[72:].any() and wall(points()[None], (90, 160), 0.5)[:40, :20].all()


def test_letters_are_no_lips_and_no_missing_face() -> None:
    assert lettering(picture(), points()) < 0.01 < 0.05 < lettering(subtitled(0), points())
    assert lettering(picture(), np.full((478, 3), np.nan)) == 0 and lettering(picture(), points() + 1000) == 0
