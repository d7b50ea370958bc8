"""Prosody on the 25 fps grid: loudness, pitch and voicing, what heads and brows follow rather than lips."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, rfft
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import resample_poly

from ml_backend.audio.features import (
    CONTEXT_FRAMES,
    FPS,
    STEPS_PER_FRAME,
    deltas,
    exact_ratio,
    frame_count,
    rich_steps,
)
from ml_backend.audio.load import SAMPLE_RATE
from ml_backend.audio.voice import voice_activity

HALVED = 2
RATE = exact_ratio(SAMPLE_RATE, HALVED)
HOP = exact_ratio(RATE, FPS * STEPS_PER_FRAME)
PITCH_WINDOW = exact_ratio(RATE, FPS)
LOWEST, HIGHEST = 65.0, 400.0
"""Hz; below lies creak, above it singing."""
VOICED = 0.5
"""Normalised autocorrelation from which a step counts as voiced."""
SHORT_LAG_BONUS = 0.06
"""Added in favour of the shortest lag: a period repeats at its multiples too."""
INAUDIBLE = 1e-4
"""Energy of a window, of sound whose peak is 1, below which nothing periodic is believed: 65 dB under the peak."""
SEMITONES = 4.0
"""A usual swing of speech melody, the unit of the pitch features."""
CEPSTRA = 4
SIZE = 6 + CEPSTRA
LOUDNESS, PITCH, ACTIVE = 0, 2, 5
"""Columns of `prosody` that others look at."""
_FFT = 512
"""Longer than the window and the longest lag together, so that nothing wraps around onto a lag that is looked at."""
_BLOCK = 4096


def pitch(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency by normalised autocorrelation (Boersma 1993), in steps of 10 ms.

    Parameters
    ----------
    samples : (N,) float32, 16 kHz

    Returns
    -------
    hertz : (S,) float32, S = 4 T, 0 where there is no voice
    strength : (S,) float32, height of the autocorrelation's peak, at most 1
    """
    steps = frame_count(len(samples)) * STEPS_PER_FRAME
    half = resample_poly(np.asarray(samples, np.float32), 1, HALVED).astype(np.float32)
    half = half / max(float(np.abs(half).max()), 1e-9)
    lead = PITCH_WINDOW // 2
    whole = np.zeros(steps * HOP + PITCH_WINDOW, np.float32)
    count = min(len(half), len(whole) - lead)
    whole[lead:lead + count] = half[:count]
    windows = np.lib.stride_tricks.sliding_window_view(whole, PITCH_WINDOW)[HOP // 2::HOP][:steps]
    hertz, strength = np.zeros(steps, np.float32), np.zeros(steps, np.float32)
    for start in range(0, steps, _BLOCK):
        hertz[start:start + _BLOCK], strength[start:start + _BLOCK] = _peaks(windows[start:start + _BLOCK])
    hertz[strength < VOICED] = 0
    # A single step that jumps an octave is a mistake of the peak, not melody.
    return np.where(hertz > 0, median_filter(hertz, 5), 0).astype(np.float32), strength


def _peaks(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,) frequency and (S,) strength of the best period of each of `windows` (S, W)."""
    taper = np.hanning(PITCH_WINDOW).astype(np.float32)
    shortest, longest = int(RATE / HIGHEST), int(RATE / LOWEST)
    own = _autocorrelation(taper[None])[0, :longest + 2]
    found = _autocorrelation((windows - windows.mean(1, keepdims=True)) * taper)[:, :longest + 2]
    level = np.maximum(found[:, :1], INAUDIBLE)
    ratio = found / level / (own / own[0])
    lags = np.arange(shortest, longest + 1)
    scored = ratio[:, shortest:longest + 1] - SHORT_LAG_BONUS * np.log2(lags / shortest)
    best = lags[np.argmax(scored, axis=1)]
    rows = np.arange(len(ratio))
    before, here, after = ratio[rows, best - 1], ratio[rows, best], ratio[rows, best + 1]
    bend = before - 2 * here + after
    shift = np.where(bend < -1e-6, np.clip(0.5 * (before - after) / np.minimum(bend, -1e-6), -0.5, 0.5), 0)
    return (RATE / (best + shift)).astype(np.float32), np.minimum(here, 1).astype(np.float32)


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    return np.asarray(irfft(np.abs(np.asarray(rfft(values, _FFT, axis=1))) ** 2, _FFT, axis=1))


def prosody(samples: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
    """(T, 10) float32 per film frame of speech `samples` (N,): what says when and how strongly somebody stresses.

    Columns: loudness and its slope, pitch and its slope, share of voice, speech activity, then four cepstra. Pitch is
    in units of 4 semitones about the speaker's median, interpolated where there is no voice; everything else is
    normalised per utterance as in `rich_steps`, so that neither level nor voice nor microphone matters. `active` (T,)
    is the speech activity where the caller has it already.
    """
    frames = frame_count(len(samples))
    first = CONTEXT_FRAMES * STEPS_PER_FRAME
    rich = rich_steps(samples)[first:first + frames * STEPS_PER_FRAME]
    active = np.asarray(voice_activity(samples) if active is None else active, np.float32)
    hertz, _ = pitch(samples)
    voiced = (hertz > 0) & (np.repeat(active, STEPS_PER_FRAME) > 0)
    melody = _melody(hertz, voiced)
    loudness = np.clip(rich[:, 0], -3, 3)
    steps = np.stack([loudness, 10 * deltas(loudness[:, None])[:, 0], melody, 10 * deltas(melody[:, None])[:, 0],
                      voiced.astype(np.float32)], 1)
    steps = np.concatenate([steps, rich[:, 1:1 + CEPSTRA]], 1)
    mean = steps.reshape(frames, STEPS_PER_FRAME, -1).mean(1)
    return np.clip(np.insert(mean, ACTIVE, active, axis=1), -4, 4).astype(np.float32)


def _melody(hertz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """(S,) pitch about its median over the voiced steps, bridged in between, falling to 0 in long gaps."""
    if voiced.sum() < STEPS_PER_FRAME:
        return np.zeros(len(hertz))
    logs = np.log2(np.maximum(hertz, LOWEST))
    logs = 12 * (logs - np.median(logs[voiced])) / SEMITONES
    at = np.flatnonzero(voiced)
    bridged = np.interp(np.arange(len(hertz)), at, np.clip(logs[at], -3, 3))
    near = np.minimum(uniform_filter1d(voiced.astype(float), 10 * STEPS_PER_FRAME) * 5, 1)
    return uniform_filter1d(bridged * near, 5)


