"""Speech features on the 25 fps grid: cepstra, their windows per film frame, and loudness.

The plain features are those of Yi et al. 2020: 25 ms windows every 10 ms, 26 mel filters, pre-emphasis 0.97, 13 cepstra
with lifter 22 whose first is replaced by the log energy; 28 steps centred on each frame, the speech padded with 120 ms
of zeros at both ends so that window k belongs to frame k.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.fft import dct, rfft
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d

from ml_backend.audio.load import SAMPLE_RATE

FPS = 25


def exact_ratio(a: int, b: int) -> int:
    """a / b, which has to leave no remainder; `ValueError` otherwise."""
    if a % b:
        raise ValueError(f"{a} is no multiple of {b}")
    return a // b


HOP = exact_ratio(SAMPLE_RATE, 100)
WINDOW = exact_ratio(SAMPLE_RATE, 40)
FRAME = exact_ratio(SAMPLE_RATE, FPS)
STEPS_PER_FRAME = exact_ratio(FRAME, HOP)
CONTEXT_FRAMES = 3
WINDOW_STEPS = (2 * CONTEXT_FRAMES + 1) * STEPS_PER_FRAME
PADDING = CONTEXT_FRAMES * FRAME
FFT, FILTERS, CEPSTRA, LIFTER, PRE_EMPHASIS = 512, 26, 13, 22, 0.97
PLAIN_SIZE = CEPSTRA - 1
RICH_SIZE = 2 * CEPSTRA
_BLOCK = 8192
_RICH_RANGE = 1e-7
_DELTA_REACH = 2


def frame_count(samples: int) -> int:
    """Film frames at 25 fps for that many samples: the nearest whole number, at least one."""
    return max(round(samples / FRAME), 1)


def step_count(frames: int) -> int:
    """Feature steps that `frames` windows need: 4 per frame and the 24 that the first window has in advance."""
    return frames * STEPS_PER_FRAME + WINDOW_STEPS - STEPS_PER_FRAME


def padded(samples: np.ndarray) -> np.ndarray:
    """Samples with 120 ms of zeros before and enough zeros after for exactly `step_count(frame_count(N))` steps."""
    length = (step_count(frame_count(len(samples))) - 1) * HOP + WINDOW
    result = np.zeros(max(length, PADDING + len(samples)), np.float32)
    result[PADDING:PADDING + len(samples)] = samples
    return result[:length]


@lru_cache(maxsize=64)
def mel_filters(warp: float = 1.0) -> np.ndarray:
    """(26, 257) float32 triangular filters from 0 to 8 kHz, evenly spaced in mel = 2595 log10(1 + f/700).

    `warp` stretches the frequency axis (vocal-tract length; 1 = none): the filters sit at f · warp, which makes a voice
    sound as if it came from a tract shorter (below 1) or longer (above 1).
    """
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    hertz = np.minimum(hertz * warp, SAMPLE_RATE / 2)
    edges = np.floor((FFT + 1) * hertz / SAMPLE_RATE)
    bins = np.arange(FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.maximum(edges[1:-1] - edges[:-2], 1)[:, None]
    falling = (edges[2:, None] - bins) / np.maximum(edges[2:] - edges[1:-1], 1)[:, None]
    filters = np.clip(np.minimum(rising, falling), 0, None)
    # The lower edge belongs to a triangle only where it has a rising side, and the upper edge never.
    filters[(bins < edges[:-2, None]) | (bins >= edges[2:, None])] = 0
    return filters.astype(np.float32)


def spectra(samples: np.ndarray, warp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Mel energies and total energy of each 10 ms step.

    Parameters
    ----------
    samples : (N,) float32
    warp : vocal-tract warp, see `mel_filters`

    Returns
    -------
    mel : (S, 26) float32 and energy : (S,) float32, S = 1 + ceil((N - 400) / 160), the last window padded with zeros
    """
    steps = 1 + max(-(-(len(samples) - WINDOW) // HOP), 0)
    emphasised = np.zeros((steps - 1) * HOP + WINDOW, np.float32)
    emphasised[:len(samples)] = np.append(samples[:1], samples[1:] - PRE_EMPHASIS * samples[:-1])
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP]
    filters, mel, energy = mel_filters(warp).T, np.empty((steps, FILTERS), np.float32), np.empty(steps, np.float32)
    for start in range(0, steps, _BLOCK):
        # In blocks, so that an hour of speech doesn't need half a gigabyte of spectra.
        power = np.abs(np.asarray(rfft(windows[start:start + _BLOCK], FFT))) ** 2 / FFT
        mel[start:start + _BLOCK], energy[start:start + _BLOCK] = power @ filters, power.sum(1)
    return mel, energy


def cepstra(mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(S, 13) float32 liftered cepstra of `mel` (S, 26), the first replaced by the log of `energy` (S,)."""
    tiny = np.finfo(np.float64).eps
    logs = np.log(np.maximum(mel, tiny))
    result = np.asarray(dct(logs, type=2, axis=1, norm="ortho"))[:, :CEPSTRA]
    result = result * (1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER))
    result[:, 0] = np.log(np.maximum(energy, tiny))
    return result.astype(np.float32)


def windows_per_frame(steps: np.ndarray) -> np.ndarray:
    """(T, 28, D) view of `steps` (4T + 24, D): row k is centred on film frame k."""
    view = np.lib.stride_tricks.sliding_window_view(steps, WINDOW_STEPS, axis=0)[::STEPS_PER_FRAME]
    return view.transpose(0, 2, 1)


def plain_steps(samples: np.ndarray) -> np.ndarray:
    """(4T + 24, 12) float32: cepstra of the padded samples (N,) without the log energy (config yi2020)."""
    return cepstra(*spectra(padded(samples)))[:, 1:]


def plain_windows(samples: np.ndarray) -> np.ndarray:
    """(T, 28, 12) float32 input of the published network (Yi et al. 2020) for speech `samples` (N,)."""
    return windows_per_frame(plain_steps(samples))


def rich_steps(samples: np.ndarray, warp: float = 1.0) -> np.ndarray:
    """(4T + 24, 26) float32: 13 cepstra with log energy and their deltas, normalised per utterance.

    Mean and variance are taken over the steps with voice, so that neither the level, the microphone nor the amount of
    silence shifts the features. Energies are floored 70 dB under the loudest step, so that digital silence looks like
    a quiet room.
    """
    mel, energy = spectra(padded(samples), warp)
    mel = mel + _RICH_RANGE * max(float(mel.max()), 1e-12)
    energy = energy + _RICH_RANGE * max(float(energy.max()), 1e-12)
    static = cepstra(mel, energy)
    voiced = voiced_steps(mel, energy)
    chosen = static[voiced] if voiced.sum() >= STEPS_PER_FRAME * 4 else static
    static = (static - chosen.mean(0)) / (chosen.std(0) + 1e-3)
    return np.concatenate([static, deltas(static)], 1).astype(np.float32)


def deltas(steps: np.ndarray) -> np.ndarray:
    """(S, D) slopes of `steps` (S, D) per step: the least-squares line over two steps to either side."""
    padding = np.pad(steps, ((_DELTA_REACH, _DELTA_REACH), (0, 0)), mode="edge")
    total = np.zeros_like(steps)
    for reach in range(1, _DELTA_REACH + 1):
        ahead = padding[_DELTA_REACH + reach:len(padding) - _DELTA_REACH + reach]
        total += reach * (ahead - padding[_DELTA_REACH - reach:len(padding) - _DELTA_REACH - reach])
    return total / (2 * sum(reach * reach for reach in range(1, _DELTA_REACH + 1)))


def loudness(samples: np.ndarray) -> np.ndarray:
    """(T,) float32 in [0, 1] per film frame: energy in dB from 40 dB under the loudest frame (0) to the loudest (1)."""
    _, energy = spectra(padded(samples))
    first = CONTEXT_FRAMES * STEPS_PER_FRAME
    count = frame_count(len(samples))
    frames = energy[first:first + count * STEPS_PER_FRAME].reshape(count, STEPS_PER_FRAME).mean(1)
    level = 10 * np.log10(frames + 1e-12)
    return np.clip((level - np.percentile(level, 99)) / 40 + 1, 0, 1).astype(np.float32)


def voiced_steps(mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(S,) bool; steps of the padding are never voiced and do not count towards the noise floor."""
    level = 10 * np.log10(energy + 1e-12)
    inside = level > -115
    if not inside.any():
        return inside
    loudest = float(np.percentile(level[inside], 98))
    bands = 10 * np.log10(mel[:, 2:22] + 1e-12)
    # Nothing further than 55 dB under the speech is a floor worth measuring (digital silence between words).
    floor = np.maximum(np.percentile(bands[inside], 8, axis=0), np.percentile(bands[inside], 98, axis=0) - 55)
    above = np.clip(bands - floor, 0, 40).mean(1)
    score = median_filter(above, 5)
    voiced = (score > max(5.0, 0.22 * float(np.percentile(score[inside], 95)))) & (level > loudest - 42) & inside
    closed = minimum_filter1d(maximum_filter1d(voiced, 13), 13)
    return maximum_filter1d(minimum_filter1d(closed, 5), 5).astype(bool)
