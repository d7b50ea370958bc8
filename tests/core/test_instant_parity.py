"""The instant engine against the backend: the same features, networks and performances, number by number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from addon.core import performance
from addon.core.instant import contact, engine, features, head, motion_network, prosody, sound, voice, weights
from addon.core.instant.options import WEIGHTS, Options, only_backend
from addon.core.worker_options import EMOTIONS
from ml_backend.artefacts import performance as backend_performance
from ml_backend.audio import features as backend_features
from ml_backend.audio.load import Speech, load_speech
from ml_backend.audio.prosody import prosody as backend_prosody
from ml_backend.audio.voice import voice_activity, voice_probability
from ml_backend.config import assets, contact_weights, head_model, motion_weights, pose_weights, sample_speech
from ml_backend.face_model.model import load as load_model
from ml_backend.motion import contact as backend_contact
from ml_backend.motion import controls
from ml_backend.motion.checkpoint import MotionWeights, save_weights
from ml_backend.motion.head_controls import HeadControls, PoseAmount
from ml_backend.motion.hearing import run_in_parts
from ml_backend.motion.network import MotionConfig, build
from ml_backend.motion.predict import PredictOptions, cached_weights, predict
from ml_backend.motion.style import default_style
from ml_backend.talk.builtin import portrait_position
from ml_backend.worker_commands import figures

ASSETS = engine.Assets(assets() / "models", head_model())
BAR = 1e-3


@pytest.fixture(scope="module")
def speech() -> Speech:
    """The sample's first seconds, a pause, and its end: voice, silence, voice."""
    samples = load_speech(sample_speech()).samples
    mixed = np.concatenate([samples[:35000], np.zeros(16000, np.float32), samples[-20000:]])
    return Speech(mixed, 16000, len(mixed) / 16000)


@pytest.fixture(scope="module")
def spectra(speech: Speech) -> tuple[np.ndarray, np.ndarray]:
    return features.spectra(features.padded(speech.samples))


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Greatest difference, as a share of the greatest value."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-9))


def test_features_are_the_backends(speech: Speech, spectra: tuple[np.ndarray, np.ndarray]) -> None:
    rich = features.rich_steps(*spectra)
    assert apart(rich, backend_features.rich_steps(speech.samples)) < BAR
    assert apart(features.plain_steps(speech.samples), backend_features.plain_steps(speech.samples)) < BAR
    frames = features.frame_count(len(speech.samples))
    assert apart(features.contact_steps(*spectra, frames), backend_contact.contact_steps(speech.samples)) < BAR
    active = voice_activity(speech.samples)
    assert apart(prosody.prosody(speech.samples, rich, active), backend_prosody(speech.samples, active)) < BAR


def test_the_voice_detector_is_the_wheels(speech: Speech) -> None:
    detector = voice.Detector(weights.load(ASSETS.weights / "voice.safetensors", voice.SCHEMA))
    level = min(0.5 / float(np.percentile(np.abs(speech.samples), 99.5)), 100)
    found = detector.probabilities((speech.samples * level).astype(np.float32))
    times = (np.arange(len(found)) + 0.5) * voice.BLOCK
    framed = np.interp((np.arange(features.frame_count(len(speech.samples))) + 0.5) * features.FRAME, times, found)
    assert np.abs(framed - voice_probability(speech.samples)).max() < BAR
    active = voice.activity(speech.samples, detector)
    assert np.array_equal(active, voice_activity(speech.samples)) and 0.2 < active.mean() < 0.9
    assert not voice.activity(np.zeros(9000, np.float32), detector).any()


@pytest.mark.parametrize("which", ["default", "open"])
def test_the_motion_network_is_the_backends(speech: Speech, which: str) -> None:
    steps = backend_features.rich_steps(speech.samples)
    network = motion_network.MotionNetwork(weights.load(ASSETS.motion(which), motion_network.SCHEMA))
    ours = network.run(steps)
    assert np.abs(ours - run_in_parts(cached_weights(motion_weights(which)).network, steps)).max() < BAR
    assert ours.std() > 0.1


@pytest.mark.parametrize("config", [
    MotionConfig(name="streaming", channels=8, hidden=6, bidirectional=False, expressions=52),
    MotionConfig(channels=8, hidden=5, layers=1, members=2, features=12, expressions=52)], ids=["streaming", "plain"])
def test_other_configurations_run_too_and_long_speech_in_parts(config: MotionConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    held = cached_weights(motion_weights())
    made = MotionWeights(build(config).eval(), held.statistics, held.gain, held.operator)
    save_weights(made, tmp_path / "toy.safetensors", half=False)
    network = motion_network.MotionNetwork(weights.load(tmp_path / "toy.safetensors", motion_network.SCHEMA))
    steps = np.random.default_rng(0).standard_normal((features.step_count(1700), config.features)).astype(np.float32)
    ours = network.run(steps)
    assert ours.shape == (1700, 58) and np.abs(ours - run_in_parts(made.network, steps)).max() < BAR


def test_the_contact_network_is_the_backends(speech: Speech, spectra: tuple[np.ndarray, np.ndarray]) -> None:
    listener = contact.Listener(weights.load(contact_weights(), contact.SCHEMA))
    theirs = backend_contact.labial_probability(speech.samples, backend_contact.load(contact_weights()))
    ours = listener.probability(features.contact_steps(*spectra, features.frame_count(len(speech.samples))))
    assert np.abs(ours - theirs).max() < BAR and ours.max() > 0.3


CASES = {
    "default": Options(),
    "another seed": Options(seed=3),
    "amounts": Options(mouth=1.3, upper_face=0.5, brows=2.0, blink_rate=2.0, gaze=0.4, saccades=1.5, accents=0.7,
                       blink_asymmetry=2.0, pose_amount=(1.0, 0.5, 0.0, 1.0, 2.0, 1.0)),
    "happy": Options(emotion="happy", emotion_strength=0.8, smoothing_ms=40, lead_ms=60, quiet_lips=False),
    "still": Options(pose="still", contact=False, emotion="surprised", lead_ms=-50),
}


@pytest.mark.parametrize("name", CASES)
def test_the_whole_performance_is_the_backends(speech: Speech, name: str) -> None:
    chosen = CASES[name]
    model, statistics = load_model(head_model()), cached_weights(motion_weights()).statistics
    general = default_style(statistics, seed=chosen.seed)
    mean = np.concatenate([np.zeros(3, np.float32), portrait_position(model)])
    style = replace(general, pose_track=general.pose_track - general.pose_mean + mean, pose_mean=mean)
    turned = PredictOptions(
        "still" if chosen.pose == "still" else "predicted",
        controls.Controls(chosen.mouth, chosen.upper_face, chosen.brows, chosen.blink_rate, chosen.emotion,
                          chosen.emotion_strength, chosen.smoothing_ms, chosen.lead_ms, chosen.quiet_lips,
                          chosen.contact),
        HeadControls(PoseAmount(*chosen.pose_amount), chosen.gaze, chosen.saccades, chosen.accents,
                     chosen.blink_asymmetry))
    theirs = predict(speech, motion_weights(), model, style=style, seed=chosen.seed, options=turned)
    ours = engine.perform(speech.samples, ASSETS, chosen, lambda *_: None)
    assert ours.names == theirs.names and np.array_equal(ours.times, theirs.times)
    assert np.abs(ours.expression - theirs.expression).max() < BAR
    assert np.abs(ours.pose - theirs.pose).max() < BAR
    assert engine.figures(ours) == figures(theirs)


def test_the_backend_reads_what_the_engine_made(speech: Speech, tmp_path: Path) -> None:
    made = engine.perform(speech.samples, ASSETS, Options(), lambda *_: None)
    performance.save(made, tmp_path / "a.npz")
    read = backend_performance.load(tmp_path / "a.npz")
    assert np.array_equal(read.expression, made.expression) and read.provenance["engine"] == "instant"


def test_head_motion_is_the_seeds(speech: Speech) -> None:
    network = head.PoseNetwork(weights.load(pose_weights(), head.SCHEMA))
    random = np.random.default_rng(0)
    track = (np.cumsum(random.standard_normal((800, 6)), 0) * 0.002).astype(np.float32)
    heard = random.standard_normal((90, prosody.SIZE)).astype(np.float32)
    first, second, other = (head.predicted(network, track, heard, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second) and np.abs(first - other).max() > 0.005 and first[:, :3].std() < 0.3


def test_tables_are_the_backends() -> None:
    assert set(EMOTIONS) == set(controls.EMOTIONS)
    for which, name in WEIGHTS.items():
        assert motion_weights(which).name == name


def test_the_two_samples_are_one() -> None:
    values, rate = sound.read_wav(assets() / "speech" / "sample.wav")
    assert np.allclose(sound.speech(values, rate, "sample"), load_speech(sample_speech()).samples, atol=1e-6)


def test_what_only_the_backend_can_do_is_said() -> None:
    assert only_backend({}) is None and only_backend({"pose": "frontal"}) is None
    assert "learns from a person's clip" in (only_backend({"target": "a.mp4"}) or "")
    assert "Head Motion" in (only_backend({"pose": "clip"}) or "")
    assert "Head Motion" in (only_backend({"pose": "predicted", "pose_from": "a.mp4"}) or "")
    chosen = Options.of({"seed": 4, "pose_amount": "pitch=0.5,roll=2", "out": "x", "text": "Hello"})
    assert chosen == Options(seed=4, pose_amount=(0.5, 1, 2, 1, 1, 1))
