"""Voice activity, the labial detector, what it does to lips, and alignment of a known text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio.features import frame_count
from ml_backend.audio.load import load_speech
from ml_backend.audio.voice import voice_activity, voice_probability
from ml_backend.config import contact_weights, sample_speech
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.motion.contact import ContactNetwork, contact_steps, contacts, labial_probability, load, save

SAMPLE_TEXT = "Hello. This is parlay. Give me your words, and I will move my lips with every one of them."


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_speech(sample_speech()).samples


def test_noise_breath_and_silence_are_no_voice(speech: np.ndarray) -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.05, 32000).astype(np.float32)
    breath = noise * np.hanning(len(noise)).astype(np.float32)
    for quiet in (np.zeros(32000, np.float32), noise, breath, np.zeros(100, np.float32)):
        assert not voice_activity(quiet).any()
        assert len(voice_activity(quiet)) == frame_count(len(quiet))
    assert voice_activity(speech).mean() > 0.6


@pytest.mark.parametrize("gain", [1e-3, 1.0])
def test_speech_between_pauses_is_found_at_any_level(speech: np.ndarray, gain: float) -> None:
    padded = np.concatenate([np.zeros(16000), speech[:32000], np.zeros(16000)]).astype(np.float32)
    hiss = np.random.default_rng(1).normal(0, 2e-3, len(padded)).astype(np.float32)
    active = voice_activity((padded + hiss) * gain)
    assert not active[:20].any() and not active[-15:].any()
    assert active[30:70].mean() > 0.7
    assert 0 <= voice_probability(padded).min() <= voice_probability(padded).max() <= 1


def test_the_detector_is_aligned_and_hears_labials(speech: np.ndarray) -> None:
    network = load(contact_weights())
    found = labial_probability(speech, network)
    assert len(found) == 4 * frame_count(len(speech)) == len(contact_steps(speech))
    assert 0.01 < (found > 0.5).mean() < 0.25
    later = labial_probability(np.concatenate([np.zeros(6400, np.float32), speech]), network)
    part = found[:len(later) - 80]
    shift = np.argmax([np.corrcoef(part, later[lag:lag + len(part)])[0, 1] for lag in range(81)])
    assert shift == 40, "400 ms of silence in front move the labials by 40 steps"


def test_contacts_hold_the_peak_and_fade_to_either_side() -> None:
    probability = np.zeros(80, np.float32)
    probability[40:44] = [0.5, 0.9, 0.9, 0.5]
    drawn = contacts(probability, np.ones(20))
    assert drawn[10] == 1 and 0 < drawn[9] == drawn[11] < 0.5
    assert not drawn[:9].any() and not drawn[12:].any()
    assert not contacts(probability * 0.4, np.ones(20)).any(), "unsure is no contact"
    assert not contacts(probability, np.zeros(20)).any(), "no contact where nobody speaks"
    doubtful, busy = probability * 0.45, np.ones(20)
    closing, open_wide = np.full(20, 4.0), np.full(20, 4.0)
    closing[9:12] = 0
    assert contacts(doubtful, busy, closing).any(), "lips about to close need less"
    assert not contacts(doubtful, busy, open_wide).any(), "lips wide open need more"


def test_damaged_weights_are_one_sentence(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save(ContactNetwork(), whole, {})
    assert load(whole) is not None
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-100])
    for path in (cut, tmp_path / "missing.safetensors"):
        with pytest.raises(ArtefactError, match="can't be read"):
            load(path)


def test_a_known_text_is_aligned(speech: np.ndarray) -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is an optional dependency")
    from ml_backend.audio.transcript import align, words

    assert words("Don't — stop, “Bob's”!") == ["don't", "stop", "bob's"]
    found = align(speech, SAMPLE_TEXT)
    starts = [begin for _, begin, _ in found]
    assert starts == sorted(starts) and found[-1][2] <= len(speech) / 16000 + 0.1
    assert [name for name, _, _ in found if name in ("P", "B", "M")] == ["P", "M", "M", "M", "P", "M"]
    with pytest.raises(UserInputError, match="doesn't know xqzzt"):
        align(speech, "hello xqzzt")
    with pytest.raises(UserInputError, match="no word"):
        align(speech, " ... ")
