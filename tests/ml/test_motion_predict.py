"""Prediction: silence is still, seeds repeat, blinks and head keep the person's statistics, files are valid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import blender_assets
from ml_backend.artefacts.performance import load, save
from ml_backend.audio.features import loudness
from ml_backend.audio.load import load_speech
from ml_backend.audio.voice import voice_activity
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import load as load_model
from ml_backend.metrics.landmarks import lip_operator, model_measures
from ml_backend.motion import postprocess
from ml_backend.motion.checkpoint import MotionWeights, load_weights
from ml_backend.motion.hearing import run_in_parts
from ml_backend.motion.network import parameter_count
from ml_backend.motion.predict import predict
from ml_backend.motion.score import run
from ml_backend.motion.style import default_style, longest_steady, style_from_track
from tests.ml.motion_toys import NAMES, babble, face, shard, speech, statistics, tiny
from tests.ml.test_motion_train import track_of


@pytest.fixture(scope="module")
def weights():
    network = tiny(3).eval()
    for parameter in network.members[0].head.parameters():
        parameter.data *= 20
    return MotionWeights(network, statistics(), np.ones(len(NAMES), np.float32), lip_operator(face()), {}, "0123")


def pausing(seconds: float = 6.0) -> np.ndarray:
    samples, _ = babble(seconds, 5)
    samples[2 * 16000:4 * 16000] = 0
    return samples


def test_one_valid_sample_per_frame_of_film(weights, tmp_path):
    samples = pausing()
    performance = predict(speech(samples), weights, face())
    assert len(performance) == 150
    np.testing.assert_allclose(performance.times, np.arange(150) / 25)
    assert performance.names == NAMES
    assert performance.provenance["weights"] == "0123"
    save(performance, tmp_path / "p.npz")
    np.testing.assert_array_equal(load(tmp_path / "p.npz").expression, performance.expression)


def test_silence_closes_and_stills_the_lips(weights):
    performance = predict(speech(pausing()), weights, face())
    mouth = performance.expression[:, :3]
    silent, spoken = mouth[60:90], mouth[5:45]
    np.testing.assert_allclose(silent, np.broadcast_to(default_style(statistics()).rest[:3], silent.shape), atol=1e-6)
    assert np.abs(silent @ statistics().lip_motion[:3, 0]).max() < 1e-4
    assert spoken.std(0).max() > 0.02


def test_reach_and_gain_scale_the_mouth_and_nothing_else():
    style = replace(default_style(statistics()), amplitude=0.5)
    deviation = np.sin(np.arange(100) / 4)[:, None] * np.ones(len(NAMES), np.float32)
    gain = np.array([2, 1, 1, 1, 1, 1, 1], np.float32)
    found = postprocess.to_weights(deviation, statistics().std, gain, style, 3.0) - style.neutral
    spread = np.sqrt(0.5) * 0.1
    np.testing.assert_allclose(found.std(0), spread * np.array([3, 1.5, 1.5, 1, 1, 1, 1]), rtol=0.05)


def test_smoothing_calms_trembling_but_not_syllables():
    time = np.arange(200) / 25
    syllables, trembling = np.sin(2 * np.pi * 3 * time), np.cos(np.pi * np.arange(200))
    style = default_style(statistics())
    deviation = np.stack([syllables, syllables + 0.5 * trembling] + [syllables] * 5, 1)
    found = (postprocess.to_weights(deviation, np.ones(7), np.ones(7), style) - style.neutral)[10:-10]
    assert found[:, 0].max() > 0.93
    assert np.abs(np.diff(found[:, 1], 2)).mean() < 0.6 * np.abs(np.diff(deviation[10:-10, 1], 2)).mean()


def test_seeds_repeat_and_differ(weights):
    one, two, other = (predict(speech(pausing()), weights, face(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.expression, two.expression)
    np.testing.assert_array_equal(one.pose, two.pose)
    assert np.abs(one.pose - other.pose).max() > 1e-3


def test_a_model_with_other_expressions_is_refused(weights):
    other = replace(face(), expression_names=np.array([f"shape{i}" for i in range(len(NAMES))]))
    with pytest.raises(UserInputError, match="don't know the expressions"):
        predict(speech(pausing()), weights, other)


def test_long_speech_in_parts_is_the_same_as_in_one_piece():
    network = tiny(1).eval()
    steps = np.random.default_rng(0).standard_normal((4 * 3500 + 24, 26)).astype(np.float32)
    assert np.abs(run_in_parts(network, steps) - run(network, steps)).max() < 1e-3


def test_a_photo_gets_general_motion_about_its_own_pose():
    one = shard(1, 4, "train")
    track = track_of(one)
    photo = replace(track, landmarks=track.landmarks[:1], confidence=track.confidence[:1],
                    expression=track.expression[:1], rotation=np.full((1, 3), 0.2, np.float32),
                    translation=np.full((1, 3), 0.5, np.float32))
    style = style_from_track(photo, statistics())
    np.testing.assert_allclose(style.pose_mean, [0.2] * 3 + [0.5] * 3, atol=1e-4)
    assert (style.pose_std > 0.5 * statistics().pose_std).all()


def test_a_cut_does_not_become_head_motion():
    pose = np.zeros((100, 6), np.float32)
    pose[70:, 1] = 0.6
    assert len(longest_steady(pose)) == 70


def test_flat_lips_are_brought_to_the_persons_range_and_never_cross():
    style, wave = default_style(statistics()), np.sin(np.arange(200) / 4)
    expression = np.full((200, len(NAMES)), 0.2, np.float32)
    expression[:, 0], expression[:, 2] = 0.3 + 0.05 * wave, 0.1
    opening = expression @ statistics().lip_motion[:, 0]
    found = postprocess.match_lips(expression, np.ones(200, np.float32), style, statistics())
    matched = found @ statistics().lip_motion[:, 0]
    assert np.corrcoef(matched, opening)[0, 1] > 0.95
    assert np.ptp(matched) > 3 * np.ptp(opening)
    assert matched.min() >= -0.35
    np.testing.assert_array_equal(found[:, 3:], expression[:, 3:])
    narrow = expression.copy()
    narrow[:, 1] = 0.9 + 0.1 * wave
    width = postprocess.match_lips(narrow, np.ones(200, np.float32), style, statistics()) @ statistics().lip_motion
    assert width[:, 1].min() < 5
    crossed = np.zeros((10, len(NAMES)), np.float32)
    crossed[:, 2] = 0.5
    met = postprocess.match_lips(crossed, np.zeros(10, np.float32), style, statistics())
    np.testing.assert_allclose(met @ statistics().lip_motion[:, 0], -0.3, atol=0.05)


def test_lips_rest_shut_and_wider_than_they_are_in_speech():
    people = statistics()
    rest = default_style(people).rest @ people.lip_motion
    np.testing.assert_allclose(rest, [0, np.interp(75, np.linspace(0, 100, 21), people.lip_range[1])], atol=1e-4)
    grinning = replace(people, rest=np.array([0.3, 0.9, 0, 0, 0, 0, 0], np.float32))
    np.testing.assert_allclose(default_style(grinning).rest @ people.lip_motion, [0, 9], atol=1e-4)


def test_lips_that_touch_leave_the_mouth_as_wide_as_it_was():
    people = statistics()
    # Opening the jaw narrows this mouth, and so would a jaw that is taken back widen it.
    people = replace(people, lip_motion=people.lip_motion + np.array([[0, -4]] + 6 * [[0, 0]], np.float32))
    expression = np.full((3, len(NAMES)), 0.5, np.float32)
    expression[:, 2] = 0
    touched = postprocess.touch(expression, np.array([0, 1, 0.5], np.float32), people) @ people.lip_motion
    before = expression @ people.lip_motion
    np.testing.assert_allclose(touched[:, 1], before[:, 1], atol=1e-3)
    np.testing.assert_allclose(touched[:2, 0], [before[0, 0], 0], atol=1e-3)


def test_crossed_lips_and_weights_beyond_their_range_are_cut():
    expression = postprocess.bounded(np.array([[0.2, 1.4, 0.7, -1, 0, 0, 0]], np.float32), NAMES)
    np.testing.assert_allclose(expression, [[0.2, 1, 0.2, 0, 0, 0, 0]])


def test_the_mouth_is_busy_a_little_before_and_after_the_voice():
    active = np.zeros(60, bool)
    active[20:40] = True
    share = postprocess.speaking(active)
    assert share[20:40].min() > 0.85
    assert 0.05 < share[16] < 1
    assert 0.05 < share[44] < 1
    assert not share[:12].any()
    assert not share[48:].any()


def test_the_shipped_weights_speak_the_shipped_sample_on_the_shipped_head():
    assets = Path(blender_assets.__file__).parent
    model = load_model(assets / "head" / "parley_head.npz")
    shipped = load_weights(assets / "models" / "motion.safetensors")
    assert parameter_count(shipped.network) <= 3_000_000
    assert (assets / "models" / "motion.safetensors").stat().st_size <= 20_000_000
    sound = load_speech(assets / "speech" / "sample.flac")
    performance = predict(sound, shipped, model, seed=1)
    opening = model_measures(model, performance.expression)[:, 0] * 1000
    active = voice_activity(sound.samples)
    assert opening[active].std() > 2
    assert np.percentile(opening[active], 90) > 8
    assert opening[active].min() < 1.5
    # Loosely: an m is loud, too, and the lips are shut.
    assert np.corrcoef(opening, loudness(sound.samples))[0, 1] > 0.2
