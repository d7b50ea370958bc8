"""Lids, gaze and brows: rates, sizes and times that people have, nothing beyond what eyes can do, seeds that repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.audio.prosody import ACTIVE, LOUDNESS, PITCH, SIZE
from ml_backend.motion import brows, gaze
from ml_backend.motion.blink import blink_frames, blinks, phrase_ends
from ml_backend.motion.eyes import EyeStyle, add_eyes, close_lids, eye_style
from ml_backend.motion.head_controls import HeadControls
from ml_backend.motion.statistics import blink_statistics

NAMES = ["browInnerUp", "browOuterUpLeft", "browOuterUpRight", "eyeBlinkLeft", "eyeBlinkRight",
         *(f"eyeLook{way}{side}" for way in ("Up", "Down", "In", "Out") for side in ("Left", "Right")), "jawOpen"]
SPREAD = np.radians([1.0, 2.0])
STILL = np.zeros((3000, 3))


def sound(frames: int) -> np.ndarray:
    """(T, 10) prosody: phrases of 2 s with one stressed syllable in the middle, pauses of 1 s."""
    result = np.zeros((frames, SIZE), np.float32)
    beat = np.arange(frames) % 75
    result[:, ACTIVE] = beat < 50
    result[:, PITCH] = 1.5 * np.exp(-((beat - 25) / 3) ** 2)
    result[:, LOUDNESS] = np.where(beat < 50, 0.5, -2)
    return result


def test_blinks_keep_rate_and_prefer_pauses_and_ends_of_phrases():
    active = (np.arange(25 * 600) // 50) % 2 == 0
    counts = [blink_frames(active, 0.3, seed) for seed in range(8)]
    assert np.mean([len(frames) for frames in counts]) / 600 == pytest.approx(0.3, rel=0.15)
    assert np.mean([np.mean(~active[frames]) for frames in counts]) > 0.6
    ends = phrase_ends(active)
    assert np.mean([np.mean(ends[frames]) for frames in counts]) > 1.5 * ends.mean()
    assert blink_frames(active, 0.3, 1) == blink_frames(active, 0.3, 1)
    assert min(np.diff(counts[0])) >= 12
    assert blink_frames(active, 0.0, 1) == []


def test_lids_close_faster_than_they_open_and_one_leads():
    active = np.ones(25 * 240, bool)
    closure = blinks(active, 0.25, 0.3, seed=2, leader=1.0)
    frames = blink_frames(active, 0.25, 2)
    shut = closure[frames]
    assert shut.min() > 0.7
    assert shut[:, 0].mean() > shut[:, 1].mean()
    before = np.array([closure[f - 6:f, 0].sum() for f in frames if f > 9])
    after = np.array([closure[f + 1:f + 7, 0].sum() for f in frames if f > 9 and f < len(active) - 9])
    assert after.mean() > 1.4 * before.mean()
    alike = blinks(active, 0.25, 0.3, seed=2, asymmetry=0)
    np.testing.assert_array_equal(alike[:, 0], alike[:, 1])


def test_blinks_can_be_measured_back():
    active = np.ones(25 * 120, bool)
    closure = blinks(active, 0.25, 0.24, seed=2)
    expression = close_lids(np.zeros((len(active), len(NAMES)), np.float32), closure, np.zeros(len(NAMES)), NAMES)
    rate, duration = blink_statistics(expression, NAMES)
    assert rate == pytest.approx(len(blink_frames(active, 0.25, 2)) / 120, rel=0.05)
    assert duration == pytest.approx(0.24, abs=0.08)


def test_fixations_last_and_saccades_are_quick():
    path = gaze.fixations(25 * 600, SPREAD, 3, [], None)
    moving = np.abs(np.diff(path, axis=0)).max(1) > 1e-9
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[1], moving, [1]])) != 0))
    fixed = runs[::2] / 25
    assert np.percentile(fixed, 2) >= 0.2
    assert fixed.max() <= 2.05
    assert moving.mean() < 0.15
    assert (path.std(0) / SPREAD).min() > 0.7
    assert (path.std(0) / SPREAD).max() < 1.4
    assert np.abs(path.mean(0) / SPREAD).max() < 0.2


def test_saccades_wait_for_a_blink():
    shut = list(range(20, 25 * 120, 40))
    with_blinks = gaze.fixations(25 * 120, SPREAD, 3, shut, None)
    size = np.abs(np.diff(with_blinks, axis=0)).sum(1)
    near = np.isin(np.arange(len(size)), np.concatenate([np.array(shut) + d for d in (-1, 0, 1)]))
    assert size[near].mean() > 2.5 * size[~near].mean()


def test_eyes_turn_against_the_head_and_never_too_far():
    turned = np.zeros((60, 3))
    turned[20:, 1], turned[20:, 0] = 0.2, -0.1
    eyes = gaze.gaze(turned, np.zeros(2), np.zeros(2), 0)
    assert eyes[40, 1] == pytest.approx(0.17, abs=0.02)
    assert eyes[40, 0] == pytest.approx(0.05, abs=0.01)
    loose = gaze.gaze(turned, np.zeros(2), np.zeros(2), 0, hold=0)
    np.testing.assert_array_equal(loose, 0)
    wild = gaze.gaze(turned * 20, np.array([0.5, -0.5]), np.radians([20, 20]), 0)
    for weight in gaze.weights_of(wild, NAMES).values():
        assert weight.max() <= gaze.FARTHEST + 1e-6
    weights = gaze.weights_of(eyes, NAMES)
    expression = np.zeros((60, len(NAMES)), np.float32)
    for index, weight in weights.items():
        expression[:, index] = weight
    np.testing.assert_allclose(gaze.angles_of(expression, NAMES), eyes, atol=1e-6)
    assert expression[40, NAMES.index("eyeLookOutLeft")] > 0.2
    assert expression[40, NAMES.index("eyeLookInLeft")] == 0


def test_lids_meet_whatever_the_eyes_do():
    expression = np.zeros((1, len(NAMES)), np.float32)
    expression[0, NAMES.index("eyeLookDownLeft")] = expression[0, NAMES.index("eyeLookUpRight")] = 0.8
    shut = close_lids(expression, np.ones((1, 2), np.float32), np.zeros(len(NAMES)), NAMES)[0]
    assert 0.8 < shut[NAMES.index("eyeBlinkLeft")] < 0.9
    assert shut[NAMES.index("eyeBlinkRight")] == 1
    assert shut[NAMES.index("eyeLookUpRight")] == 0


def test_brows_rise_just_before_stressed_syllables_and_only_there():
    speech = sound(3000)
    lift = brows.raises(speech, 0)
    stressed = [frame for frame, _ in brows.accents(speech, 0)]
    assert 10 <= len(stressed) <= 40
    assert all(abs(frame % 75 - 25) <= 2 for frame in stressed)
    peaks = [int(np.argmax(lift[frame - 10:frame + 10])) - 10 for frame in stressed]
    assert -3 <= np.mean(peaks) <= 1
    assert not lift[np.arange(3000) % 75 > 60].any()
    assert not brows.raises(np.zeros((500, SIZE), np.float32), 0).any()


def test_every_part_can_be_switched_off_and_seeds_repeat():
    speech, flat, rest = sound(3000), np.zeros((3000, len(NAMES)), np.float32), np.zeros(len(NAMES))
    off = HeadControls(gaze=0, saccades=0, accents=0, blink_asymmetry=0)

    def act(blinking: float, seed: int, controls: HeadControls) -> np.ndarray:
        return add_eyes(flat, NAMES, rest, EyeStyle(), STILL, speech, (blinking, 0.25), seed, controls)

    assert not act(0.0, 1, off).any()
    for name, channel in (("saccades", "eyeLookOutLeft"), ("accents", "browInnerUp")):
        changed = act(0.0, 1, replace(off, **{name: 1.0}))
        assert changed[:, NAMES.index(channel)].any()
        assert not changed[:, NAMES.index("jawOpen")].any()
    on = HeadControls()
    np.testing.assert_array_equal(act(0.3, 5, on), act(0.3, 5, on))
    assert (act(0.3, 5, on) != act(0.3, 6, on)).any()


def test_a_persons_eyes_are_measured_from_a_track():
    generator, frames = np.random.default_rng(0), 1500
    head = np.cumsum(generator.standard_normal((frames, 2)), 0)
    head = 0.1 * (head - head.mean(0)) / head.std(0)
    wander = gaze.fixations(frames, np.radians([1.0, 2.5]), 4, [], None)
    eyes = np.radians([2.0, -3.0]) + wander + head * gaze.COMPENSATION * np.array([-1, 1])
    expression = np.zeros((frames, len(NAMES)), np.float32)
    for index, weight in gaze.weights_of(eyes, NAMES).items():
        expression[:, index] = weight
    for frame in blink_frames(np.ones(frames, bool), 0.3, 0):
        expression[frame - 1:frame + 2, 3:5] = (0.9, 0.7)
    found = eye_style(expression, NAMES, head)
    np.testing.assert_allclose(found.aim, np.radians([2.0, -3.0]), atol=np.radians(1.3))
    assert found.spread[1] > found.spread[0]
    assert found.leader == pytest.approx(1, abs=0.05)
    assert eye_style(expression[:1], NAMES, head[:1]).leader == 0
