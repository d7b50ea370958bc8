"""Turning the head within a plate: the field of motion, the layers, the empty room, how far it may go."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ml_backend.background.cleanplate import clean_plate, spread_picks
from ml_backend.background.field import Field, HeadShape, State, field
from ml_backend.background.fill import filled
from ml_backend.background.headwarp import Behind, move_head
from ml_backend.background.residual import LIMIT, reachable_pose
from tests.fixtures import small_model

POSE = np.array([0, 0, 0, 0, 0, 0.8])
STILL = np.zeros(3)


@pytest.fixture(scope="module")
def head() -> HeadShape:
    model = small_model()
    return HeadShape(model, model.mean_shape, 500.0, (320, 240))


def turned(**axes: float) -> np.ndarray:
    pose = POSE.copy()
    for name, value in axes.items():
        pose[("pitch", "yaw", "roll", "x", "y", "z").index(name)] += value
    return pose


def at(found: Field, x: int, y: int) -> np.ndarray:
    return found.shift[y - found.box[1], x - found.box[0]]


def test_the_same_head_does_not_move(head: HeadShape) -> None:
    assert field(head, State(POSE, STILL), State(POSE, STILL)).largest == 0


def test_a_shift_moves_the_head_whole_and_fades_out_around_it(head: HeadShape) -> None:
    found = field(head, State(POSE, STILL), State(turned(x=0.01), STILL))
    assert np.allclose(at(found, 160, 120), [-6.9, 0], atol=0.4)
    assert np.allclose(at(found, 125, 110), [-6.5, 0], atol=0.3)  # beside the skull: hair
    assert np.abs(found.shift[:, :4]).max() < 0.3 or found.box[0] == 0
    below = [abs(float(at(found, 160, y)[0])) for y in range(170, found.box[3], 10)]
    assert below == sorted(below, reverse=True) and below[-1] < below[0] / 2


def test_a_turn_moves_what_is_near_more(head: HeadShape) -> None:
    found = field(head, State(POSE, STILL), State(turned(yaw=0.1), STILL))
    nose, side = (abs(float(at(found, x, 115)[0])) for x in (166, 122))
    assert nose > 3 and nose > 1.2 * side


def test_an_opening_jaw_moves_the_mouth_alone(head: HeadShape) -> None:
    found = field(head, State(POSE, STILL), State(POSE, np.array([1.0, 0, 0])))
    size = np.abs(found.shift[..., 1])
    y, _ = np.unravel_index(int(size.argmax()), size.shape)
    assert 4 < size.max() < 16 and y + found.box[1] > 120
    assert np.abs(at(found, 160, 80)).max() < 0.3


def test_a_head_outside_the_frame_moves_nothing(head: HeadShape) -> None:
    found = field(head, State(turned(x=5.0), STILL), State(turned(x=5.01), STILL))
    assert found.largest == 0
    frame = np.zeros((240, 320, 3), np.uint8)
    assert move_head(frame, found, None, None, 100.0) is frame


def room(shift: float = 0.0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(3).normal(size=(240, 360)), 3)
    grey = np.clip(128 + 500 * noise, 0, 255)[:, 20 + round(shift) : 340 + round(shift)]
    return np.dstack([grey, 0.8 * grey, 0.6 * grey]).astype(np.uint8)


def person(x: float, y: float = 115.0) -> np.ndarray:
    rows, columns = np.mgrid[:240, :320]
    return np.clip(48 - np.hypot(columns - x, 0.8 * (rows - y)), 0, 1).astype(np.float32)


def with_person(x: float, behind: np.ndarray) -> np.ndarray:
    return np.where(person(x)[..., None] > 0.5, np.array([230, 40, 40], np.uint8), behind).astype(np.uint8)


def clip(shift: Callable[[int], float]) -> tuple[list[np.ndarray], Callable[[int], np.ndarray]]:
    places = [110 + 12 * k for k in range(9)]
    return [with_person(x, room(shift(k))) for k, x in enumerate(places)], lambda k: person(places[k])


def test_the_empty_room_is_found_behind_a_moving_person_by_a_still_camera_only() -> None:
    frames, mask = clip(lambda k: 0)
    found = clean_plate(frames, list(range(9)), mask, 100.0)
    assert found is not None and found.known.mean() > 0.8
    sure = found.known > 0.9
    assert np.abs(found.image.astype(int) - room())[sure].max() == 0
    frames, mask = clip(lambda k: 2.0 * k)
    assert clean_plate(frames, list(range(9)), mask, 100.0) is None
    assert clean_plate(frames, [0, 1], mask, 100.0) is None
    assert spread_picks(np.arange(40) % 2 == 1)[:2] == [1, 5] and spread_picks(np.zeros(4, bool)) == []


def test_frames_with_the_head_far_off_are_looked_at_too() -> None:
    place = np.zeros((60, 2))
    place[9], place[30] = (90, 0), (0, -40)
    picks = spread_picks(np.ones(60, bool), place)
    assert {9, 30} <= set(picks) and len(picks) == 12 and picks == sorted(picks)
    assert not {9, 30} & set(spread_picks(np.ones(60, bool)))


@pytest.mark.parametrize("along", [0, 1])
def test_what_was_never_seen_goes_on_along_the_rooms_own_lines(along: int) -> None:
    stripes = np.clip(128 + 100 * np.sin(np.arange(160) / 4), 0, 255).astype(np.uint8)
    image = np.broadcast_to(stripes[:, None] if along == 0 else stripes, (160, 160))
    image = np.repeat(image[..., None], 3, 2)
    known = np.hypot(*(np.mgrid[:160, :160] - 80)) > 40
    seen = np.where(known[..., None], image, np.uint8(0))
    guess = filled(seen, known, 100.0)
    ring = ~known & (np.hypot(*(np.mgrid[:160, :160] - 80)) > 32) & (np.mgrid[:160, :160][0] < 80)
    assert np.array_equal(guess[known], image[known])
    assert np.abs(guess[ring].astype(int) - image[ring]).mean() < 25 < np.abs(128 - image[ring].astype(int)).mean()
    assert np.array_equal(filled(seen, np.zeros_like(known), 100.0), seen)


def test_a_guess_has_no_hard_edges_far_from_what_is_known() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, 96:] = 200  # a post's edge, which columns mirrored from above would go on with down to the middle
    rows = np.mgrid[:200, :200][0]
    known = rows < 60
    guess = filled(np.where(known[..., None], image, np.uint8(0)), known, 100.0)[..., 0].astype(int)
    near, far = (np.abs(np.diff(guess[line])).max() for line in (64, 90))
    assert np.array_equal(guess[known], image[known, 0]) and near > 30 > 15 > far


def test_what_the_frame_cuts_off_stays_cut_off() -> None:
    """A head that moves down is stretched at the frame's upper edge, not continued by copies of its last row."""
    shift = np.zeros((240, 320, 2), np.float32)
    shift[..., 1] = -12
    frame = room()
    moved = move_head(frame, Field((0, 0, 320, 240), shift), None, None, 100.0)
    assert np.abs(moved[0].astype(int) - frame[0]).max() <= 2, "the edge shows what it showed"
    assert np.abs(moved[100:230].astype(int) - frame[88:218]).max() <= 2, "further down everything is moved"
    steps = np.abs(np.diff(moved[:12].astype(int), axis=0)).mean((1, 2))
    assert steps.min() > 0.1 * np.abs(np.diff(frame[:12].astype(int), axis=0)).mean(), "no row is repeated"


def test_where_a_room_is_unknown_the_rest_of_it_is_taken(head: HeadShape) -> None:
    frames = [with_person(110 + k, room()) for k in range(9)]
    found = clean_plate(frames, list(range(9)), lambda k: person(110 + k), 100.0)
    assert found is not None and not found.known[115, 110] and found.image[115, 110].any()
    region = (slice(40, 200), slice(20, 240))
    part = clean_plate(frames, list(range(9)), lambda k: person(110 + k), 100.0, region=region)
    assert part is not None and not part.known[:40].any() and part.image.shape == (240, 320, 3)
    assert np.array_equal(part.known[60:180, 40:220], found.known[60:180, 40:220])


def test_shoulders_stay_where_the_neck_goes_along(head: HeadShape) -> None:
    found = field(head, State(POSE, STILL), State(turned(x=0.02), STILL))
    chin = head.pixels(np.array([head.chin]) + POSE[3:])[0].astype(int)
    unit = head.unit(POSE)
    beside = min(chin[0] + round(0.8 * unit), found.box[2] - 1)
    below = min(chin[1] + round(0.3 * unit), found.box[3] - 1)
    neck, shoulder = abs(float(at(found, chin[0], below)[0])), abs(float(at(found, beside, below)[0]))
    assert neck > 3 and shoulder < 0.15 * neck


def test_over_a_known_room_only_the_person_moves() -> None:
    shift = np.zeros((240, 320, 2), np.float32)
    shift[..., 0] = -10 * np.exp(-((np.mgrid[:240, :320][1] - 160) / 90.0) ** 4)
    moved = Field((0, 0, 320, 240), shift)
    frame = with_person(160, room())
    result = move_head(frame, moved, person(160), Behind(room(), np.ones((240, 320), np.float32)), 100.0)
    truth = with_person(170, room())
    rim = cv2.dilate(cv2.Canny((person(170) > 0.5).astype(np.uint8) * 255, 50, 100), np.ones((9, 9), np.uint8)) > 0
    assert np.abs(result.astype(int) - truth)[~rim].mean() < 1.5
    assert np.array_equal(result[:, 66:96], frame[:, 66:96])  # moved by 2 to 8 pixels, were it stretched along
    torn = move_head(frame, moved, None, None, 100.0)
    assert (np.abs(torn[115, 209:212].astype(int) - [230, 40, 40]) < 30).all()  # moved without a room too
    assert np.abs(result.astype(int) - truth).mean() < np.abs(torn.astype(int) - truth).mean()


def test_small_differences_are_met_and_large_ones_bounded() -> None:
    plate = np.tile(POSE, (5, 1))
    wanted = plate.copy()
    wanted[:, 1] += [0.0, 0.05, 0.1, 0.5, -3.0]
    shown = reachable_pose(wanted, plate)
    assert np.allclose(shown[:2], wanted[:2])
    assert 0.065 < shown[2, 1] < 0.1 and shown[3, 1] <= LIMIT[1] and np.isclose(shown[4, 1], -LIMIT[1], atol=1e-3)
    assert np.array_equal(reachable_pose(wanted, plate, amount=0), plate)
