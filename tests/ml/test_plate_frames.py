"""Pictures behind the face: moments between frames, overlays, motion, hands, and paths that respect them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ml_backend.artefacts import plates as plates_file
from ml_backend.artefacts.plates import Plates
from ml_backend.background.between import between, snapped
from ml_backend.background.match import match, turned
from ml_backend.background.motion import surroundings_motion
from ml_backend.background.plate_frames import PlateFrames, write_overlay
from ml_backend.data.frames import encode_png, frame_path, read_png
from ml_backend.errors import ArtefactError
from ml_backend.reconstruct.hands import hand_mask
from ml_backend.talk.survey import Hidden, Survey
from tests.ml.test_background import movement

NOISE = np.clip(128 + 700 * gaussian_filter(np.random.default_rng(0).normal(size=(160, 260)), 4), 0, 255)


def scene(shift: float) -> np.ndarray:
    """A textured square that has moved right by `shift` before a textured wall."""
    grey = np.fliplr(NOISE)[:, :220].copy()
    part = np.arange(80) - shift % 1
    columns = np.clip(part, 0, None).astype(int)
    grey[40:120, 60 + int(shift) : 140 + int(shift)] = NOISE[40:120][:, columns]
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


def test_the_moment_between_two_frames_lies_between_them() -> None:
    first, second, truth = scene(0), scene(4), scene(2)
    made = between(first, second, 0.5)
    inner = (slice(50, 110), slice(72, 130))
    assert np.abs(made.astype(int) - truth)[inner].mean() < 0.5 * np.abs(first.astype(int) - truth)[inner].mean()
    assert np.array_equal(made[:, 180:], first[:, 180:]) and np.array_equal(made[:20], first[:20])
    assert np.array_equal(between(first, first, 0.4), first)
    assert snapped(np.array([3.1, 3.4, 3.95])).tolist() == pytest.approx([3, 3.4, 4])


def test_motion_is_measured_in_pixels_beside_the_face() -> None:
    frames = [scene(0), scene(3), scene(4)]
    found = surroundings_motion(frames)
    assert found.shape == (3,) and 2 < found[0] < 4 and found[1] < 0.6 * found[0]
    assert surroundings_motion(frames, np.array([40, 20, 130]))[0] < 0.5
    assert surroundings_motion(frames[:1]).tolist() == [0]


def test_plates_hold_the_clip_bit_for_bit_where_nothing_was_changed(tmp_path: Path) -> None:
    frames = [scene(0), scene(3)]
    shown = frames[1].copy()
    shown[10:20, 10:20] = 0
    write_overlay(frame_path(tmp_path, 0), frames[1], shown)
    write_overlay(frame_path(tmp_path, 1), frames[0], frames[0])
    plates = PlateFrames(frames, np.array([1, 0]), tmp_path)
    assert np.array_equal(plates[0], shown) and np.array_equal(plates[-1], frames[0]) and len(plates[:]) == 2
    plates[0][:] = 7
    assert np.array_equal(plates[0], shown)
    assert np.array_equal(PlateFrames(frames, np.array([1]))[0], frames[1])


def test_overlays_that_are_gone_or_of_another_clip_are_one_sentence(tmp_path: Path) -> None:
    frames = [scene(0)]
    with pytest.raises(ArtefactError, match=r"000000\.png can't be read"):
        PlateFrames(frames, np.array([0]), tmp_path)[0]
    write_overlay(frame_path(tmp_path, 0), frames[0][:50], frames[0][:50])
    with pytest.raises(ArtefactError, match="clip's size"):
        PlateFrames(frames, np.array([0]), tmp_path)[0]
    frame_path(tmp_path, 0).write_bytes(encode_png(frames[0]))
    with pytest.raises(ArtefactError, match="no plate of this version"):
        PlateFrames(frames, np.array([0]), tmp_path)[0]


def test_an_overlay_is_as_large_as_what_changed(tmp_path: Path) -> None:
    frame, path = scene(0), frame_path(tmp_path, 0)
    for y0, y1, x0, x1 in ((150, 160, 219, 220), (0, 3, 0, 2), (70, 90, 9, 60)):
        rows, columns = slice(y0, y1), slice(x0, x1)
        shown = frame.copy()
        shown[rows, columns] ^= 255
        write_overlay(path, frame, shown)
        assert read_png(path).shape == (*shown[rows, columns].shape[:2], 3)
        assert np.array_equal(PlateFrames([frame], np.array([0]), tmp_path)[0], shown)


def test_plates_with_moments_and_their_own_poses_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "plates.json"
    pose = movement(3, 1).astype(np.float32)
    moments = np.array([1, 1.6, 2.4], np.float32)
    plates = Plates(np.array([1, 2, 2], np.int32), pose, np.array([0], np.int32), moments, pose + 1)
    plates_file.save(plates, path)
    read = plates_file.load(path)
    assert np.allclose(read.moments, [1, 1.6, 2.4]) and np.allclose(read.own_pose, pose + 1, atol=1e-6)
    plates_file.save(Plates(plates.source, pose, plates.key_frames), path)
    read = plates_file.load(path)
    assert read.moments.tolist() == [1, 2, 2] and np.array_equal(read.own_pose, read.pose)
    plates_file.save(Plates(plates.source, pose, plates.key_frames, np.array([1, 1.6, 9], np.float32)), path)
    with pytest.raises(ArtefactError, match="position is not beside source"):
        plates_file.load(path)


def test_the_path_turns_softly_and_the_head_follows_the_speech() -> None:
    source, wanted = movement(300, 21), movement(600, 22)
    plates = match(wanted, source)
    assert plates.position is not None and (plates.position % 1 > 0).any()
    assert np.abs(np.diff(plates.moments)).max() <= 2.001 and np.abs(plates.moments - plates.source).max() <= 0.5
    shown = turned(plates, wanted)
    assert np.array_equal(shown.own_pose, plates.pose)
    for axis in range(3):
        before, after = (np.corrcoef(wanted[:, axis], pose[:, axis])[0, 1] for pose in (plates.pose, shown.pose))
        assert after > max(before, 0.9)


def test_moments_never_lie_across_a_cut_or_beside_a_frame_without_a_face() -> None:
    source, wanted = movement(120, 23), movement(500, 24)
    cuts = np.zeros(120, bool)
    cuts[60] = True
    confidence = np.ones(120)
    confidence[[20, 90, 91]] = 0
    plates = match(wanted, source, cuts=cuts, confidence=confidence)
    between_frames = plates.moments[plates.moments % 1 > 0]
    below = np.floor(between_frames).astype(int)
    assert (confidence[below] > 0).all() and (confidence[below + 1] > 0).all() and not cuts[below + 1].any()


def test_fast_stretches_are_not_played_at_double_speed_and_hands_are_avoided() -> None:
    source, wanted = movement(200, 25), movement(800, 26)
    motion = np.ones(200)
    motion[::2] = 2
    steps = np.abs(np.diff(match(wanted, source, motion=motion).moments))
    assert (steps > 1.6).mean() < 0.01 <= (np.abs(np.diff(match(wanted, source).moments)) > 1.6).mean()
    avoid = np.zeros(200, bool)
    avoid[80:120] = True
    used, free = (match(wanted, source, avoid=given).source for given in (avoid, None))
    assert avoid[used].mean() < 0.3 * avoid[free].mean()


def test_long_speech_over_a_short_clip_is_no_loop() -> None:
    from tests.benchmarks.film_plates import repetition

    moments = match(movement(1500, 28), movement(125, 27)).moments
    assert repetition(moments) < 0.2 and len(np.unique(np.rint(moments))) > 110
    assert repetition(np.abs((np.arange(1500.0) + 62) % 124 - 62)) > 0.8  # playing half of it back and forth


def test_a_hand_hides_what_it_covers() -> None:
    hand = np.full((2, 21, 2), np.nan, np.float32)
    fan = np.array([[50, 90]] + [[20 + 15 * f + k * (f - 2) * 2, 70 - 14 * k] for f in range(5) for k in range(4)])
    hand[0] = fan
    mask = hand_mask(hand, (100, 100))
    assert mask[75, 50] == 1 and mask[40, 50] == 1 and mask[5, 5] == 0 and 0.1 < mask.mean() < 0.6
    assert not hand_mask(hand[1:], (100, 100)).any()
    covered = np.array([0.0, 0.2], np.float32)
    seen = Survey(np.ones(2, np.float32), np.stack([hand * np.nan, hand]), covered, np.zeros((2, 4)), np.zeros(2))
    hidden = Hidden(seen, np.array([0.0, 0, 100]), np.array([0, 1]))
    away = hidden(1, 50)
    assert hidden(0, 50) is None and away is not None and away.shape == (50, 50) and away[37, 25] > 0.9
