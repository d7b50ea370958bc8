"""Figures of lips and heads: known values, known failures, and what no figure may reward."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.metrics import head_pose, sync
from ml_backend.metrics.landmarks import EYE_LEFT, EYE_RIGHT, LIPS, aligned_lips, lip_distance
from ml_backend.metrics.report import FIGURES
from ml_backend.metrics.score import FaceMotion, own_figures, score


def wander(frames: int, seed: int, width: int = 15) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(frames + 2 * width)
    smooth = np.convolve(noise, np.hanning(width), "same")[width:-width]
    return (smooth - smooth.mean()) / smooth.std()


def landmarks(frames: int = 4) -> np.ndarray:
    points = np.random.default_rng(0).uniform(100, 200, (frames, 478, 3))
    points[:, EYE_RIGHT, :2], points[:, EYE_LEFT, :2] = (100, 100), (180, 100)
    return points


def face(opening: np.ndarray, angles: np.ndarray | None = None, shut: float = 0.02) -> FaceMotion:
    frames = len(opening)
    angles = np.zeros((frames, 3)) if angles is None else angles
    return FaceMotion(np.stack([opening, 0.5 + opening], 1), np.repeat(landmarks(1)[..., :2], frames, 0), angles, shut,
                      (20.0, 0.2))


def test_best_lag_finds_how_late_the_lips_are() -> None:
    real = wander(300, 1)
    late = np.roll(real, 4)
    r, lag = sync.best_lag(real, late)
    assert lag == 4
    assert r > 0.99
    assert sync.lagged(real, late, 0) < 0.9
    assert sync.best_lag(real, np.zeros(300)) == (0.0, 0)
    assert sync.lagged(real[:5], late[:5], 10) == 0.0


def test_lip_distance_knows_neither_place_nor_size_nor_tilt() -> None:
    real = landmarks()
    turn = np.exp(0.3j) * 1.7
    flat = (real[..., 0] + 1j * real[..., 1]) * turn + (40 - 9j)
    moved = np.stack([flat.real, flat.imag], -1)
    np.testing.assert_allclose(aligned_lips(moved), aligned_lips(real), atol=1e-9)
    assert lip_distance(real, moved) == pytest.approx((0, 0), abs=1e-6)
    lower = real.copy()
    lower[:, list(LIPS), 1] += 4
    assert lip_distance(real, lower) == pytest.approx((5.0, 4.0))
    lower[1] = np.nan
    assert lip_distance(real, lower) == pytest.approx((5.0, 4.0))
    assert np.isnan(lip_distance(real, np.full_like(real, np.nan))[0])


def test_closures_are_short_and_between_open_lips_in_speech() -> None:
    opening = np.full(100, 0.1)
    opening[20:23] = opening[50:75] = opening[90:93] = 0
    active = np.zeros(100, bool)
    active[:60] = True
    found = sync.closures(opening, 0.02, active)
    assert found == [slice(20, 23)]
    near, never = np.full(100, 0.1), np.full(100, 0.1)
    near[24] = 0.0
    assert sync.hit_rate(found, near, 0.02) == 1.0
    assert sync.hit_rate(found, never, 0.02) == 0.0
    assert np.isnan(sync.hit_rate([], near, 0.02))


def test_jitter_hears_trembling_and_not_syllables() -> None:
    time = np.arange(500) / 25
    syllables, trembling = np.sin(2 * np.pi * 4 * time), np.sin(2 * np.pi * 10 * time)
    assert sync.jitter(syllables) < 0.02
    assert sync.jitter(syllables + 0.1 * trembling) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)


def test_the_same_motion_has_perfect_figures() -> None:
    opening = np.abs(wander(300, 2)) * 0.05
    angles = np.stack([3 * wander(300, seed, 41) for seed in (3, 4, 5)], 1)
    active = np.ones(300, bool)
    figures = score(face(opening, angles), face(opening, angles), active)
    for name in ("opening_r", "width_best", "amplitude", "lip_jitter", "closure_hits", "closure_precision", "hs",
                 "strict", "speed", "spread", "head_jitter"):
        assert figures[name] == pytest.approx(1), name
    assert figures["lmd_percent"] == pytest.approx(0, abs=1e-3)
    assert figures["silent_closed"] is None
    assert own_figures(face(opening, angles), active)["closures"] == len(sync.closures(opening, 0.02, active)) > 3


def test_a_still_face_is_found_out_except_by_hs() -> None:
    opening = np.abs(wander(300, 2)) * 0.05
    angles = np.stack([3 * wander(300, seed, 41) for seed in (3, 4, 5)], 1)
    figures = score(face(opening, angles), face(np.zeros(300)), np.ones(300, bool))
    assert figures["opening_r"] == figures["amplitude"] == figures["speed"] == figures["spread"] == 0
    assert figures["closure_precision"] is None
    assert figures["hs"] > 0.93
    assert 0.45 < figures["strict"] < 0.65


def test_silence_wants_lips_closed_and_still() -> None:
    active = np.zeros(100, bool)
    active[:30] = True
    opening = np.zeros(100)
    opening[40:57:2] = 0.05
    figures = score(face(np.zeros(100)), face(opening), active)
    # Frames 35 on are silent by more than lips need to close; 9 of these 65 are open, 18 steps of 0.05.
    assert figures["silent_closed"] == pytest.approx(56 / 65, abs=1e-4)
    assert figures["silent_motion"] == pytest.approx(1000 * 18 * 0.05 / 64, abs=1e-3)


def test_head_figures_by_axis_and_across_cuts() -> None:
    real = np.stack([wander(400, seed, 41) * 4 for seed in (6, 7, 8)], 1)
    made = real * (1, 0.5, 1) + (0, 0, 8)
    figures = head_pose.head_figures(real, made)
    assert figures["strict_pitch"] == pytest.approx(1)
    assert figures["strict_roll"] == pytest.approx(0, abs=0.01)
    assert figures["spread_yaw"] == pytest.approx(0.5)
    assert head_pose.spread_ratio(real, 2 * real) == pytest.approx(2)
    cut = real.copy()
    cut[200:] += 30
    steady = np.ones(399, bool)
    steady[199] = False
    assert head_pose.angular_speed(cut, steady) == pytest.approx(head_pose.angular_speed(real), rel=0.02)
    assert head_pose.angular_speed(cut) > head_pose.angular_speed(real) * 1.05
    cut[10] = np.nan
    assert np.isfinite(head_pose.head_figures(cut, made)["speed"])
    assert head_pose.head_figures(np.full((9, 3), np.nan), made) == {}
    assert head_pose.head_similarity(real, real + 200) == 0


def test_every_figure_has_its_place_in_the_tables() -> None:
    opening = np.abs(wander(300, 2)) * 0.05
    angles = np.stack([3 * wander(300, seed, 41) for seed in (3, 4, 5)], 1)
    assert set(score(face(opening, angles), face(opening, angles), np.ones(300, bool))) <= set(FIGURES)
