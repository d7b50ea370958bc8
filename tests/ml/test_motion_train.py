"""Training: it learns, it resumes to the same bytes, it stops, it personalises without ever getting worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.errors import Cancelled, UserInputError
from ml_backend.metrics.landmarks import lip_operator
from ml_backend.motion import prepare, shards
from ml_backend.motion.augment import Variation, vary
from ml_backend.motion.checkpoint import load_weights
from ml_backend.motion.dataset import Windows, make_clips
from ml_backend.motion.network import YI2020
from ml_backend.motion.personalise import audio_lag, personalise
from ml_backend.motion.schedule import TrainSettings
from ml_backend.motion.statistics import gather
from ml_backend.motion.train import train
from tests.ml.motion_toys import NAMES, TINY, face, shard, shard_folder, speech

LIPS = lip_operator(face())[:, -2:]
QUICK = TrainSettings(window=50, batch=8, rate=1e-2, variations=1, hide=False, warm_up=5, every=15)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = shard_folder(tmp_path_factory.mktemp("shards"))
    out = tmp_path_factory.mktemp("out")
    report = train(TINY, folder, out, model=face(), steps=60, settings=QUICK)
    return folder, out, report


def test_training_learns_what_there_is_to_learn(trained):
    _, out, report = trained
    assert report.opening > 0.8
    assert report.width > 0.8
    assert load_weights(out / "motion.safetensors").provenance["step"] == report.step
    rows = (out / "curve.csv").read_text().splitlines()
    assert rows[0] == "step,loss,validation_loss,opening,width"
    assert len(rows) == 5


def test_a_broken_off_training_goes_on_to_the_same_result(trained, tmp_path):
    folder, _, _ = trained
    whole = train(TINY, folder, tmp_path / "whole", model=face(), steps=30, settings=QUICK)

    def stop(done: int, total: int) -> None:
        if done == 20:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        train(TINY, folder, tmp_path / "parts", model=face(), steps=30, settings=QUICK, progress=stop)
    parts = train(TINY, folder, tmp_path / "parts", model=face(), steps=30, settings=QUICK, resume=True)
    assert (parts.step, parts.opening, parts.width) == (whole.step, whole.opening, whole.width)
    one, two = (tmp_path / name / "motion.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == two.read_bytes()


def test_resuming_with_other_settings_is_refused(trained):
    folder, out, _ = trained
    with pytest.raises(UserInputError, match="other settings"):
        train(TINY, folder, out, model=face(), steps=60, seed=1, settings=QUICK, resume=True)


def test_the_published_configuration_trains_on_plain_targets(tmp_path):
    config = replace(YI2020, encoder="temporal", channels=8, hidden=8, layers=1)
    report = train(config, shard_folder(tmp_path), tmp_path / "out", model=face(), steps=4,
                   settings=TrainSettings(window=16, batch=4, rate=1e-3, variations=0, hide=False, warm_up=0, every=2))
    assert np.isfinite(report.opening)


def test_folders_without_shards_are_refused(tmp_path):
    with pytest.raises(UserInputError, match="no motion shard"):
        train(TINY, tmp_path, tmp_path / "out")
    shards.save(shard(2, 0, "train"), tmp_path / "a.npz")
    with pytest.raises(UserInputError, match="both splits"):
        train(TINY, tmp_path, tmp_path / "out")


def test_faster_speech_gets_faster_motion():
    one = shard(6, 0, "train")
    clip = make_clips({"a": one}, gather([one], LIPS), TINY, variations=2, seed=0)[0]
    plain, varied = clip.takes[0], clip.takes[1]
    assert len(plain) == len(one)
    assert len(varied) != len(plain)
    inside = int(varied.mask.sum())
    stretched = np.interp(np.linspace(0, 1, inside), np.linspace(0, 1, len(plain)), plain.targets[:, 0])
    assert np.corrcoef(stretched, varied.targets[:inside, 0])[0, 1] > 0.9


def test_noise_has_the_level_asked_for():
    samples = np.sin(np.arange(16000) / 5).astype(np.float32)
    noisy = vary(samples, Variation(noise_db=20.0), np.random.default_rng(0))
    assert abs(20 * np.log10(samples.std() / (noisy - samples).std()) - 20) < 0.5


def test_windows_draw_speakers_by_their_capped_share():
    many = {f"a{i}": replace(shard(4, i, "train"), speaker=np.array("a")) for i in range(15)}
    many["b"] = shard(4, 99, "train")
    clips = make_clips(many, gather(list(many.values()), LIPS), TINY, variations=0, seed=0)
    weights = Windows(clips, 50, np.random.default_rng(0)).weights
    assert weights[-1] == pytest.approx(4 / 34)


def test_shards_come_out_in_time_and_in_sync():
    one = shard(4, 0, "train")
    late = prepare.shifted(one.samples, -int(0.2 * 16000))
    thirty = prepare.resample(one.expression, np.arange(120) * 25 / 30)
    landmarks = np.full((120, 478, 3), 10, np.float32)
    landmarks[:, [33, 13, 78]] += 5
    motion = prepare.Motion(thirty, NAMES, np.zeros((120, 6), np.float32), landmarks, 30.0)
    made = prepare.make_shard(motion, speech(late), late_ms=200, speaker="x", split="train")
    assert len(made) == 100
    assert np.abs(made.expression[:95] - one.expression[:95]).mean() < 0.02
    assert np.abs(made.samples[1600:60000] - one.samples[1600:60000]).max() < 1e-3


def test_resampling_keeps_gaps_as_gaps():
    values = np.array([[0.0], [np.nan], [2.0], [3.0]])
    found = prepare.resample(values, np.array([0, 1, 2, 2.5]))
    assert np.isnan(found[1, 0])
    np.testing.assert_allclose(found[[0, 2, 3], 0], [0, 2, 2.5])


def track_of(one: shards.Shard, lag: int = 0) -> FaceTrack:
    """A FaceTrack of the shard's motion, `lag` frames early, landmarks showing its mouth."""
    frames = len(one)
    expression = np.roll(one.expression, -lag, 0)
    landmarks = np.zeros((frames, 478, 3), np.float32)
    landmarks[:, 263, 0], landmarks[:, 308, 0] = 100, 50
    landmarks[:, 14, 1] = expression[:, 0] * 30
    return FaceTrack(np.array(25.0), np.array([640, 360], np.int32), np.array(800.0), landmarks,
                     np.ones(frames, np.float32), expression, np.array(NAMES), one.pose[:, :3], one.pose[:, 3:],
                     np.zeros(1, np.float32), np.zeros((4, 3), np.float32), np.zeros(1, np.float32),
                     np.zeros((9, 3), np.float32), np.array([0, 0, 100], np.float32))


@pytest.mark.parametrize("lag", [0, 6, -5])
def test_the_lag_between_lips_and_sound_is_found(trained, lag):
    _, out, _ = trained
    one = shard(10, 50, "validate")
    found, sync = audio_lag(load_weights(out / "motion.safetensors"), speech(one.samples), track_of(one, lag))
    assert found == pytest.approx(lag, abs=0.5)
    assert sync > 0.7


def test_personalising_helps_or_keeps_the_general_weights(trained, tmp_path, monkeypatch):
    # The toys' buzz is no voice to a detector that knows voices.
    monkeypatch.setattr("ml_backend.motion.personalise.voice_activity", lambda sound: np.ones(len(sound) // 640, bool))
    _, out, _ = trained
    weights, one = out / "motion.safetensors", shard(12, 60, "validate")
    # This person's jaw does what others' lip corners do, and the other way round.
    odd = one.expression.copy()
    odd[:, 0], odd[:, 1] = 0.5 * one.expression[:, 0] ** 2, 0.1 + one.expression[:, 0]
    sound, track = speech(one.samples), track_of(replace(one, expression=odd))
    report = personalise(sound, track, weights, tmp_path / "own.safetensors")
    assert report.kept
    assert report.weights == tmp_path / "own.safetensors"
    assert load_weights(report.weights).provenance["personalised"]["base"] == load_weights(weights).identifier
    again = personalise(sound, track, weights, tmp_path / "two.safetensors")
    assert report.weights.read_bytes() == again.weights.read_bytes()


def test_personalising_says_why_it_does_nothing(trained, tmp_path):
    _, out, _ = trained
    weights, one = out / "motion.safetensors", shard(8, 61, "validate")
    target = tmp_path / "own.safetensors"
    assert "no sound" in personalise(None, track_of(one), weights, target).reason
    assert "only 2.0 s" in personalise(speech(one.samples[:32000]), track_of(one), weights, target).reason
    other = shard(8, 77, "validate")
    unrelated = personalise(speech(one.samples), track_of(replace(other, expression=other.expression[::-1].copy())),
                            weights, target)
    assert not unrelated.kept
    assert unrelated.weights == weights
    assert not target.exists()
