"""Loudness, pitch and voicing on the film's frames, as the backend's ``audio.prosody``: what heads and brows follow."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from . import filters
from .features import BLOCK, FPS, LEAD, STEPS, frame_count, slopes
from .features import RATE as SAMPLE_RATE

HALVED = 2
RATE = SAMPLE_RATE // HALVED
HOP, WINDOW, FFT = RATE // (FPS * STEPS), RATE // FPS, 512
LOWEST, HIGHEST = 65.0, 400.0
VOICED, SHORT_LAG_BONUS, INAUDIBLE, SEMITONES = 0.5, 0.06, 1e-4, 4.0
CEPSTRA = 4
SIZE = 6 + CEPSTRA
LOUDNESS, PITCH, ACTIVE = 0, 2, 5
"""Columns that others look at."""


@lru_cache(maxsize=1)
def _low_pass() -> np.ndarray:
    """(41,) filter that keeps what half the rate can carry: a windowed sinc, Kaiser's β = 5."""
    reach = 10 * HALVED
    places = np.arange(-reach, reach + 1)
    kernel = np.sinc(places / HALVED) * np.kaiser(2 * reach + 1, 5.0)
    return kernel / kernel.sum()


def pitch(samples: np.ndarray) -> np.ndarray:
    """(4T,) float32 Hz per 10 ms of `samples` (N,), 0 without voice: normalised autocorrelation (Boersma 1993)."""
    steps = frame_count(len(samples)) * STEPS
    half = np.convolve(samples, _low_pass(), mode="same")[::HALVED]
    half = (half / max(float(np.abs(half).max()), 1e-9)).astype(np.float32)
    lead = WINDOW // 2
    whole = np.zeros(steps * HOP + WINDOW, np.float32)
    count = min(len(half), len(whole) - lead)
    whole[lead:lead + count] = half[:count]
    windows = np.lib.stride_tricks.sliding_window_view(whole, WINDOW)[HOP // 2::HOP][:steps]
    hertz, strength = np.zeros(steps, np.float32), np.zeros(steps, np.float32)
    for start in range(0, steps, BLOCK):
        hertz[start:start + BLOCK], strength[start:start + BLOCK] = _periods(windows[start:start + BLOCK])
    hertz[strength < VOICED] = 0
    # A single step that jumps an octave is a mistake of the peak, not melody.
    return np.where(hertz > 0, filters.median(hertz, 5), 0).astype(np.float32)


def _periods(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,) frequency and (S,) strength of the best period of each of `windows` (S, W)."""
    taper = np.hanning(WINDOW).astype(np.float32)
    shortest, longest = int(RATE / HIGHEST), int(RATE / LOWEST)
    own = _autocorrelation(taper[None])[0, :longest + 2]
    found = _autocorrelation((windows - windows.mean(1, keepdims=True)) * taper)[:, :longest + 2]
    ratio = found / np.maximum(found[:, :1], INAUDIBLE) / (own / own[0])
    lags = np.arange(shortest, longest + 1)
    scored = ratio[:, shortest:longest + 1] - SHORT_LAG_BONUS * np.log2(lags / shortest)
    best = lags[np.argmax(scored, axis=1)]
    rows = np.arange(len(ratio))
    before, here, after = ratio[rows, best - 1], ratio[rows, best], ratio[rows, best + 1]
    bend = before - 2 * here + after
    shift = np.where(bend < -1e-6, np.clip(0.5 * (before - after) / np.minimum(bend, -1e-6), -0.5, 0.5), 0)
    return (RATE / (best + shift)).astype(np.float32), np.minimum(here, 1).astype(np.float32)


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    return np.fft.irfft(np.abs(np.fft.rfft(values, FFT, axis=1)) ** 2, FFT, axis=1)


def prosody(samples: np.ndarray, rich: np.ndarray, active: np.ndarray) -> np.ndarray:
    """(T, 10) float32 per film frame of `samples` (N,).

    Columns: loudness and its slope, pitch and its slope, share of voice, speech activity, four cepstra.

    Parameters
    ----------
    rich : (4T + 24, 26) the speech's features
    active : (T,) bool, where somebody speaks
    """
    frames = len(active)
    rich = rich[LEAD:LEAD + frames * STEPS]
    hertz = pitch(samples)
    voiced = (hertz > 0) & np.repeat(active, STEPS)
    melody, loudness = _melody(hertz, voiced), np.clip(rich[:, 0], -3, 3)
    steps = np.stack([loudness, 10 * slopes(loudness[:, None])[:, 0], melody, 10 * slopes(melody[:, None])[:, 0],
                      voiced.astype(np.float32)], 1)
    steps = np.concatenate([steps, rich[:, 1:1 + CEPSTRA]], 1)
    mean = steps.reshape(frames, STEPS, -1).mean(1)
    return np.clip(np.insert(mean, ACTIVE, active, axis=1), -4, 4).astype(np.float32)


def _melody(hertz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """(S,) pitch in units of 4 semitones about its median, bridged where there is no voice, 0 in long gaps."""
    if voiced.sum() < STEPS:
        return np.zeros(len(hertz))
    logs = np.log2(np.maximum(hertz, LOWEST))
    logs = 12 * (logs - np.median(logs[voiced])) / SEMITONES
    at = np.flatnonzero(voiced)
    bridged = np.interp(np.arange(len(hertz)), at, np.clip(logs[at], -3, 3))
    near = np.minimum(filters.mean(voiced.astype(float), 10 * STEPS) * 5, 1)
    return filters.mean(bridged * near, 5)
