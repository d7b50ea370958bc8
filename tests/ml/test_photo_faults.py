"""Faults of a turning head that are measured: each is found where it is, and nothing where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.benchmarks.film_photo_faults import Faults, Sheet, doubled, excess, faults

SIZE, TALL = 400, 160.0


def head() -> np.ndarray:
    """(400, 400, 4) an oval head on a neck, all of one colour."""
    drawn = np.zeros((SIZE, SIZE, 4), np.uint8)
    drawn[..., :3] = (200, 160, 140)
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(alpha, (200, 200), (65, 80), 0, 0, 360, (255,), -1, cv2.LINE_AA)
    cv2.rectangle(alpha, (150, 250), (250, 399), (255,), -1)
    drawn[..., 3] = alpha
    return drawn


def measured(drawn: np.ndarray) -> Faults:
    return faults(drawn, TALL)


@pytest.fixture(scope="module")
def sound() -> Faults:
    return measured(head())


def test_a_sound_head_has_none(sound: Faults) -> None:
    assert sound.holes < 0.5 and sound.crumbs == 0 and sound.ragged < 4


def test_a_hole_and_a_slit_are_holes(sound: Faults) -> None:
    for begin, end in (((180, 180), (190, 200)), ((128, 200), (170, 202))):
        torn = head()
        torn[begin[1]:end[1], begin[0]:end[0], 3] = 0
        assert measured(torn).holes > sound.holes + 0.2


def test_dashes_beside_the_cheek_are_crumbs() -> None:
    crumbs = head()
    for y in range(150, 240, 20):
        crumbs[y:y + 9, 118:121, 3] = 255
    assert measured(crumbs).crumbs == pytest.approx(100 * 5 * 27 / TALL**2, rel=0.5)


def test_a_jagged_temple_is_ragged(sound: Faults) -> None:
    jagged = head()
    for y in range(140, 260, 12):
        jagged[y:y + 6, :148, 3] = 0
    assert measured(jagged).ragged > sound.ragged + 5


def test_a_second_chin_is_the_photos_face_beside_the_one_that_is_drawn() -> None:
    face = np.array([[[100.0, 100], [300, 100], [200, 300]]])
    y, x = np.mgrid[100:340:10, 195:205:5]
    points = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    everything = np.ones(len(points), bool)
    within = points[:, 1] < 300
    assert doubled(Sheet(points, within), face, (SIZE, SIZE), TALL) == 0
    assert doubled(Sheet(points, everything), face, (SIZE, SIZE), TALL) == pytest.approx(12.5, abs=5)
    assert doubled(Sheet(points, ~everything), face, (SIZE, SIZE), TALL) == 0


def test_the_worst_pose_counts_over_what_the_photo_has_itself() -> None:
    rest = Faults(1.0, 0.0, 2.0)
    assert excess([Faults(1.5, 0.2, 1.0), Faults(0.5, 0.1, 2.5)], rest) == Faults(0.5, 0.2, 0.5)
