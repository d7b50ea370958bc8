"""Speech features: shapes, timing, the published numbers, robustness to level and noise."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.audio import features as f


def syllables(seconds: float, *, seed: int = 0, gaps: tuple[tuple[float, float], ...] = ()) -> np.ndarray:
    """Something like speech: harmonics under moving formants, four syllables a second, silent in `gaps`."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    envelope = 0.1 + 0.9 * np.abs(np.sin(np.pi * 4 * time))
    wave = sum(np.sin(2 * np.pi * 120 * k * time + k) * np.exp(-((120 * k - 700 - 400 * np.sin(9 * time)) / 500) ** 2)
               for k in range(1, 30))
    wave = 0.2 * envelope * wave + 0.002 * generator.standard_normal(len(time))
    for start, stop in gaps:
        wave[int(start * 16000):int(stop * 16000)] = 0
    return wave.astype(np.float32)


def test_constants_derive_from_each_other_and_leave_no_remainder():
    assert (f.HOP, f.WINDOW, f.FRAME, f.STEPS_PER_FRAME, f.WINDOW_STEPS, f.PADDING) == (160, 400, 640, 4, 28, 1920)
    with pytest.raises(ValueError, match="no multiple"):
        f.exact_ratio(16000, 24)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.017, 4.39, 5.48, 12.0])
def test_one_window_per_frame_of_film(seconds):
    samples = syllables(seconds)
    frames = round(seconds * 25)
    assert f.plain_windows(samples).shape == (frames, 28, 12)
    assert f.rich_steps(samples).shape == (4 * frames + 24, 26)
    assert len(f.loudness(samples)) == frames


@pytest.mark.parametrize("frame", [0, 1, 7, 20, 24])
def test_an_impulse_lands_in_the_centre_of_its_frame(frame):
    samples = np.zeros(16000, np.float32)
    samples[int((frame + 0.25) / 25 * 16000)] = 1
    _, energy = f.spectra(f.padded(samples))
    windows = f.windows_per_frame(energy[:, None])[:, :, 0]
    centre = (windows * np.arange(28)).sum(1) / np.maximum(windows.sum(1), 1e-9)
    seen = windows.sum(1) > 0
    assert int(np.flatnonzero(seen)[np.abs(centre[seen] - 13.5).argmin()]) == frame


def test_cepstra_agree_with_their_definition():
    """One window worked out by hand: DFT, triangles in mel, log, orthonormal DCT-II, lifter."""
    samples = syllables(0.5)[1000:1400]
    emphasised = np.append(samples[0], samples[1:] - 0.97 * samples[:-1]).astype(np.float64)
    power = np.abs(np.fft.rfft(emphasised, 512)) ** 2 / 512
    points = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28) / 2595) - 1)
    bins = np.floor(513 * points / 16000).astype(int)
    energies = []
    for low, middle, high in zip(bins, bins[1:], bins[2:], strict=False):
        rising = sum(power[i] * (i - low) / (middle - low) for i in range(low, middle))
        energies.append(rising + sum(power[i] * (high - i) / (high - middle) for i in range(middle, high)))
    logs = np.log(energies)
    n, k = np.arange(26), np.arange(13)[:, None]
    expected = (np.cos(np.pi * k * (2 * n + 1) / 52) * logs).sum(1) * np.sqrt(2 / 26)
    expected *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    expected[0] = np.log(power.sum())
    found = f.cepstra(*f.spectra(samples))
    assert found.shape == (1, 13)
    np.testing.assert_allclose(found[0], expected, rtol=2e-3, atol=2e-3)


def test_rich_features_ignore_the_level_and_nearly_ignore_the_amount_of_silence():
    samples = syllables(3.0)
    quiet = f.rich_steps(samples * 0.05)
    assert np.abs(quiet - f.rich_steps(samples)).max() < 0.02
    longer = f.rich_steps(np.concatenate([samples, np.zeros(32000, np.float32)]))
    assert np.abs(longer[20:280] - f.rich_steps(samples)[20:280]).mean() < 0.15


def test_vocal_tract_warp_moves_the_cepstra():
    samples = syllables(2.0)
    assert np.abs(f.rich_steps(samples, 1.12) - f.rich_steps(samples)).mean() > 0.1


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.01])
def test_voiced_steps_leave_the_pauses_out_in_noise(noise):
    samples = syllables(6.0, gaps=((0.0, 0.8), (2.4, 3.6), (5.2, 6.0)))
    samples = samples + noise * np.random.default_rng(1).standard_normal(len(samples)).astype(np.float32)
    voiced = f.voiced_steps(*f.spectra(f.padded(samples)))
    active = voiced[12:12 + 600].reshape(150, 4).mean(1) >= 0.5
    assert active[25:56].mean() > 0.95
    assert active[94:126].mean() > 0.95
    assert not active[3:16].any()
    assert not active[65:86].any()
    assert not active[134:148].any()


def test_deltas_are_slopes():
    line = np.arange(20, dtype=np.float32)[:, None] * 3
    np.testing.assert_allclose(f.deltas(line)[3:-3], 3, rtol=1e-5)
