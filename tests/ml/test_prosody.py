"""Prosody: pitch where there is a voice, none where there is not, levels that do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.audio.prosody import ACTIVE, LOUDNESS, PITCH, SIZE, pitch, prosody


def buzz(hertz: np.ndarray) -> np.ndarray:
    """(N,) a voice-like sound of 1 s per entry whose pitch is `hertz`."""
    phase = 2 * np.pi * np.cumsum(np.repeat(hertz, 16000)) / 16000
    noise = np.random.default_rng(0).standard_normal(len(phase)) * 1e-3
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 12)) + noise).astype(np.float32)


@pytest.mark.parametrize("hertz", [80.0, 130.0, 210.0, 330.0])
def test_pitch_is_found_without_octave_errors(hertz):
    found, _ = pitch(buzz(np.array([hertz, hertz])))
    assert np.abs(found[10:-10] / hertz - 1).max() < 0.02


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(1).standard_normal(32000).astype(np.float32) * 0.1
    assert (pitch(noise)[0] > 0).mean() < 0.05
    assert not pitch(np.zeros(32000, np.float32))[0].any()


def test_melody_rises_with_the_voice_and_level_does_not_matter():
    samples = buzz(np.array([120.0, 150.0, 180.0]))
    samples *= np.where(np.arange(len(samples)) % 16000 < 11200, 1, 1e-3).astype(np.float32)
    # No detector of voices takes a buzz for one.
    active = np.arange(75) % 25 < 18
    quiet, loud = prosody(samples * 0.05, active), prosody(samples, active)
    assert loud.shape == (75, SIZE)
    np.testing.assert_allclose(quiet, loud, atol=0.05)
    rise = loud[55:65, PITCH].mean() - loud[5:15, PITCH].mean()
    assert rise == pytest.approx(12 * np.log2(1.5) / 4, abs=0.25)
    assert loud[10, LOUDNESS] > loud[23, LOUDNESS]
    assert loud[10, ACTIVE] == 1
    assert loud[22, ACTIVE] == 0


def test_silence_is_finite():
    assert np.isfinite(prosody(np.zeros(16000, np.float32))).all()
