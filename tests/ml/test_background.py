"""Background matching, masks, colour matching and the exact map between frame and crop."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from ml_backend.background.composite import composite, face_mask, match_colour
from ml_backend.background.keyframes import HANN_7, extrema, key_frames
from ml_backend.background.match import match
from ml_backend.background.warp import crop_resize
from ml_backend.errors import StageError, UserInputError

SPREAD = np.array([0.05, 0.1, 0.04, 0.01, 0.01, 0.02])


def movement(frames: int, seed: int) -> np.ndarray:
    """(frames, 6) smooth random head pose."""
    noise = np.random.default_rng(seed).normal(size=(frames + 60, 6))
    smooth = gaussian_filter1d(noise, 8, axis=0)[30:-30]
    return smooth / smooth.std(0) * SPREAD


def test_hann_window_is_the_published_one() -> None:
    assert np.allclose(HANN_7 * 12, [0, 1, 3, 4, 3, 1, 0])


def test_extrema_are_strict() -> None:
    assert extrema(np.array([0.0, 2, 1, 1, 3, 3, 0, 1])).tolist() == [1, 6]
    assert extrema(np.array([0.0, 2, 1, 3, 0, 0]), order=2).tolist() == [3]


def test_key_frames_are_the_turning_points_thinned_out() -> None:
    angles = np.zeros((200, 3))
    angles[:, 2] = 0.1 * np.sin((np.arange(200) + 0.3) / 200 * 2 * np.pi * 4)  # eight turns: below one in ten
    keys = key_frames(angles)
    assert np.abs(keys[1:-1] - (np.arange(8) * 25 + 12.5)).max() <= 1
    assert (keys[0], keys[-1]) == (0, 199)
    noisy = key_frames(np.random.default_rng(0).normal(size=(300, 3)))
    assert 3 <= len(noisy) <= 32 and np.diff(noisy)[1:-1].min() >= 3


def test_yi2020_keeps_real_time_and_matches_at_key_frames() -> None:
    source, wanted = movement(300, 1), movement(120, 2)
    plates = match(wanted, source, config="yi2020")
    assert len(plates.source) == 120 and np.abs(np.diff(plates.source)).max() <= 1
    first = np.abs(source[:, :3] - wanted[0, :3]).sum(1)
    assert plates.source[0] == first.argmin()
    for before, key in zip(plates.key_frames, plates.key_frames[1:], strict=False):
        reach = np.abs(np.arange(300) - plates.source[before]) <= key - before
        distance = np.where(reach, np.abs(source[:, :3] - wanted[key, :3]).sum(1), np.inf)
        assert plates.source[key] == distance.argmin()
    assert np.array_equal(plates.pose, source[plates.source].astype(np.float32))


def test_path_finds_a_replayed_stretch_forwards_and_backwards() -> None:
    source = movement(300, 3)
    forth = match(source[80:180], source)
    assert np.array_equal(forth.source, np.arange(80, 180))
    back = match(source[180:80:-1], source)
    assert np.array_equal(back.source, np.arange(180, 80, -1))


def test_path_follows_all_three_axes_more_closely_than_yi2020() -> None:
    source, wanted = movement(300, 4), movement(400, 5)
    error = {name: np.abs(match(wanted, source, config=name).pose[:, :3] - wanted[:, :3]).sum(1).mean()
             for name in ("path", "yi2020")}
    assert error["path"] < 0.9 * error["yi2020"]


def test_path_is_continuous_turns_seldom_and_never_freezes() -> None:
    source = movement(300, 6)
    for wanted in (movement(500, 7), np.zeros((500, 6)), np.full((500, 6), 0.5)):
        plates = match(wanted, source)
        step = np.diff(plates.source)
        assert np.abs(step).max() <= 2
        assert (step == 0).mean() < 0.15
        assert len(plates.key_frames) < 500 / 8


@pytest.mark.parametrize("config", ["path", "yi2020"])
def test_frames_without_a_face_are_never_used(config: str) -> None:
    source, wanted = movement(120, 8), movement(200, 9)
    confidence = np.ones(120)
    confidence[[30, 31, 32, 33, 60, 90]] = 0
    source[confidence == 0] = wanted[:6]  # tempting
    source[60] = np.nan
    assert (confidence[match(wanted, source, config=config, confidence=confidence).source] > 0).all()


def test_path_does_not_play_across_cuts() -> None:
    source, wanted = movement(200, 10), movement(300, 11)
    cuts = np.zeros(200, bool)
    cuts[100] = True
    side = match(wanted, source, cuts=cuts).source >= 100
    assert side.all() or not side.any()


def test_a_film_longer_than_a_shot_stays_in_it() -> None:
    source, wanted = movement(120, 10), movement(900, 11)
    cuts = np.zeros(120, bool)
    cuts[55] = True
    moments = match(wanted, source, cuts=cuts).moments
    assert (moments >= 55).all() or (moments <= 54).all()


def test_path_seeks_closed_lids_for_closed_lids() -> None:
    rng = np.random.default_rng(12)
    source, wanted = movement(300, 13), movement(300, 14)
    have, want = (np.convolve(rng.random(300) < 0.02, np.ones(6), "same").clip(0, 1) for _ in range(2))
    with_lids = match(wanted, source, source_blink=have, wanted_blink=want).source
    without = match(wanted, source).source
    assert np.abs(have[with_lids] - want).mean() < 0.8 * np.abs(have[without] - want).mean()


def test_photo_empty_and_errors() -> None:
    photo = match(movement(50, 15), movement(9, 16)[:1])
    assert not photo.source.any() and photo.pose.shape == (50, 6)
    assert len(match(movement(9, 1)[:1], movement(30, 2)).source) == 1
    with pytest.raises(StageError, match="No frame of the clip shows a face"):
        match(movement(10, 1), movement(10, 2), confidence=np.zeros(10))
    with pytest.raises(UserInputError, match="path, yi2020"):
        match(movement(10, 1), movement(10, 2), config="nearest")


def test_windows_join_without_a_jump_and_it_is_quick() -> None:
    source, wanted = movement(300, 17), movement(4500, 18)
    match(wanted[:10], source)
    start = time.process_time()
    match(wanted[:275], source)
    assert time.process_time() - start < 1.0
    assert np.abs(np.diff(match(wanted, source).source)).max() <= 2


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    return np.clip(radius - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


def test_face_mask_lies_inside_fills_holes_and_drops_specks() -> None:
    alpha = disc(128, 50)
    alpha[60:70, 55:75] = 0
    alpha[2:5, 2:5] = 1
    mask = face_mask(alpha, 10)
    assert mask.dtype == np.float32 and mask[65, 65] == 1 and not mask[:8, :8].any()
    assert not mask[disc(128, 50) < 0.5].any()
    profile = mask[64, 14:40]
    assert np.all(np.diff(profile) >= 0) and np.diff(profile).max() < 0.25
    assert face_mask((alpha * 255).astype(np.uint8), 0)[64, 20] == 1
    assert not face_mask(np.zeros((16, 16)), 4).any()
    assert face_mask(np.ones((16, 16)), 4)[0, 8] == 0


def test_colour_matching_makes_the_seam_vanish_and_keeps_detail() -> None:
    y, x = np.mgrid[:128, :128].astype(np.float32) / 128
    plate = np.dstack([0.7 - 0.3 * x, 0.5 + 0 * x, 0.4 + 0.1 * y])
    mask = face_mask(disc(128, 48), 8)
    detail = 0.05 * np.sin(60 * x)[..., None] * (disc(128, 30)[..., None] > 0)
    render = plate * np.array([0.8, 1.1, 0.9], np.float32) + np.float32(0.05) + detail
    matched = match_colour(render.astype(np.float32), plate, mask)
    ring = (mask > 0.05) & (mask < 0.95)
    assert np.abs(matched - plate)[ring].mean() < 0.12 * np.abs(render - plate)[ring].mean()
    inside = disc(128, 26) > 0.99
    kept = cv2.GaussianBlur(matched, (0, 0), 6)[inside] - matched[inside]
    had = cv2.GaussianBlur(render.astype(np.float32), (0, 0), 6)[inside] - render[inside]
    assert np.corrcoef(kept.ravel(), had.ravel())[0, 1] > 0.99


def test_a_hand_over_the_border_does_not_tint_the_face() -> None:
    plate = np.full((128, 128, 3), 0.6, np.float32)
    plate[40:60, :40] = (0.0, 0.1, 0.9)
    matched = match_colour(np.full((128, 128, 3), 0.5, np.float32), plate, face_mask(disc(128, 48), 8))
    assert np.abs(matched[64, 64] - 0.6).max() < 0.02


def test_composite_leaves_the_plate_alone_outside_the_mask() -> None:
    rng = np.random.default_rng(0)
    plate = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
    rgba = np.dstack([rng.integers(0, 255, (96, 96, 3)), disc(96, 30) * 255]).astype(np.uint8)
    result, mask = composite(rgba, plate, feather=6), face_mask(rgba[..., 3], 6)
    assert np.array_equal(result[mask == 0], plate[mask == 0])
    plain = composite(rgba, plate, feather=6, colour=0)
    assert np.array_equal(plain[mask == 1], rgba[..., :3][mask == 1])


def test_crop_is_exact() -> None:
    frame = np.random.default_rng(1).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    assert np.array_equal(crop_resize(frame, (10, 20, 32), 32), frame[20:52, 10:42])
    ramp = np.dstack([np.tile(np.arange(80, dtype=np.float32) + 0.5, (60, 1))] * 3)
    for crop, size in (((10.3, 5.0, 40.0), 16), ((10.0, 5.0, 20.0), 50), ((7.25, 3.5, 48.5), 48)):
        centres = crop[0] + (np.arange(size) + 0.5) * crop[2] / size
        assert np.abs(crop_resize(ramp, crop, size)[size // 2, :, 0] - centres).max() < 0.06
    outside = crop_resize(frame, (-8, -8, 16), 16)
    assert np.array_equal(outside[:8, :8], np.broadcast_to(frame[0, 0], (8, 8, 3)))
