"""Speech features on the 25 fps grid, as the backend's ``audio.features`` has them: the networks were taught so."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from . import filters

RATE, FPS = 16000, 25
HOP, WINDOW, FRAME = RATE // 100, RATE // 40, RATE // FPS
STEPS = FRAME // HOP
"""Feature steps of a film frame."""
CONTEXT = 3
LEAD = CONTEXT * STEPS
"""Steps that the first frame's window has in advance."""
FFT, FILTERS, CEPSTRA, LIFTER, EMPHASIS = 512, 26, 13, 22, 0.97
PLAIN, RICH = CEPSTRA - 1, 2 * CEPSTRA
BLOCK = 1024
"""Steps that are transformed at a time; between blocks other threads have their turn."""
RANGE = 1e-7


def frame_count(samples: int) -> int:
    """Film frames of so many samples: the nearest whole number, at least one."""
    return max(round(samples / FRAME), 1)


def step_count(frames: int) -> int:
    """Steps that `frames` windows need: 4 a frame, and the 24 that the first window has in advance and after."""
    return frames * STEPS + 2 * LEAD


def padded(samples: np.ndarray) -> np.ndarray:
    """`samples` (N,) with 120 ms of zeros before, and after them enough for `step_count(frame_count(N))` steps."""
    length = (step_count(frame_count(len(samples))) - 1) * HOP + WINDOW
    result = np.zeros(max(length, CONTEXT * FRAME + len(samples)), np.float32)
    result[CONTEXT * FRAME:CONTEXT * FRAME + len(samples)] = samples
    return result[:length]


@lru_cache(maxsize=64)
def mel_filters(warp: float = 1.0) -> np.ndarray:
    """(26, 257) float32 triangles from 0 to 8 kHz, evenly spaced in mel = 2595 log10(1 + f / 700), at f · `warp`."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = np.minimum(700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1) * warp, RATE / 2)
    edges = np.floor((FFT + 1) * hertz / RATE)
    low, middle, high = (edges[index:FILTERS + index, None] for index in range(3))
    bins = np.arange(FFT // 2 + 1)
    triangles = np.minimum((bins - low) / np.maximum(middle - low, 1), (high - bins) / np.maximum(high - middle, 1))
    return np.where((bins < low) | (bins >= high), 0, np.maximum(triangles, 0)).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """(26, 13) float64: orthonormal DCT-II and the lifter in one matrix."""
    places, orders = np.arange(FILTERS)[:, None], np.arange(CEPSTRA)
    matrix = np.sqrt(2 / FILTERS) * np.cos(np.pi * (2 * places + 1) * orders / (2 * FILTERS))
    matrix[:, 0] /= np.sqrt(2)
    return matrix * (1 + LIFTER / 2 * np.sin(np.pi * orders / LIFTER))


def spectra(samples: np.ndarray, warp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(S, 26) float32 mel energies and (S,) float32 energy of the 10 ms steps of padded `samples` (N,)."""
    steps = 1 + max(-(-(len(samples) - WINDOW) // HOP), 0)
    emphasised = np.zeros((steps - 1) * HOP + WINDOW, np.float32)
    emphasised[:1] = samples[:1]
    emphasised[1:len(samples)] = samples[1:] - EMPHASIS * samples[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP]
    mel, energy = np.empty((steps, FILTERS), np.float32), np.empty(steps, np.float32)
    for start in range(0, steps, BLOCK):
        power = np.abs(np.fft.rfft(windows[start:start + BLOCK], FFT)).astype(np.float32) ** 2 / FFT
        mel[start:start + BLOCK], energy[start:start + BLOCK] = power @ mel_filters(warp).T, power.sum(1)
    return mel, energy


def cepstra(mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(S, 13) float32 liftered cepstra of `mel` (S, 26), the first replaced by the log of `energy` (S,)."""
    tiny = np.finfo(np.float64).eps
    result = np.log(np.maximum(mel, tiny)) @ _cosines()
    result[:, 0] = np.log(np.maximum(energy, tiny))
    return result.astype(np.float32)


def plain_steps(samples: np.ndarray) -> np.ndarray:
    """(4T + 24, 12) float32 cepstra of `samples` (N,) without the energy."""
    return cepstra(*spectra(padded(samples)))[:, 1:]


def rich_steps(mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(4T + 24, 26) float32: 13 cepstra and their slopes, normalised over the steps with voice."""
    mel = mel + RANGE * max(float(mel.max()), 1e-12)
    energy = energy + RANGE * max(float(energy.max()), 1e-12)
    static = cepstra(mel, energy)
    voiced = voiced_steps(mel, energy)
    chosen = static[voiced] if voiced.sum() >= STEPS * 4 else static
    static = (static - chosen.mean(0)) / (chosen.std(0) + 1e-3)
    return np.concatenate([static, slopes(static)], 1).astype(np.float32)


def slopes(steps: np.ndarray) -> np.ndarray:
    """(S, D) least-squares slope of `steps` (S, D) over two steps to either side."""
    held = np.pad(steps, ((2, 2), (0, 0)), mode="edge")
    return (held[3:-1] - held[1:-3] + 2 * (held[4:] - held[:-4])) / 10


def voiced_steps(mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(S,) bool: steps well above the noise between words; the padding never is."""
    level = 10 * np.log10(energy + 1e-12)
    inside = level > -115
    if not inside.any():
        return inside
    bands = 10 * np.log10(mel[:, 2:22] + 1e-12)
    low, high = np.percentile(bands[inside], [8, 98], axis=0)
    score = filters.median(np.clip(bands - np.maximum(low, high - 55), 0, 40).mean(1), 5)
    enough = max(5.0, 0.22 * float(np.percentile(score[inside], 95)))
    voiced = (score > enough) & (level > float(np.percentile(level[inside], 98)) - 42) & inside
    closed = filters.lowest(filters.highest(voiced, 13), 13)
    return filters.highest(filters.lowest(closed, 5), 5)


def contact_steps(mel: np.ndarray, energy: np.ndarray, frames: int) -> np.ndarray:
    """(4T, 26) float32 log-mel steps of `frames` film frames, normalised over the steps with voice."""
    logs = np.log(mel + 1e-10)
    logs = np.maximum(logs, np.percentile(logs, 98) - 45 * np.log(10) / 10)
    voiced = voiced_steps(mel, energy)
    chosen = logs[voiced] if voiced.sum() >= STEPS * 4 else logs
    logs = (logs - chosen.mean(0)) / (chosen.std(0) + 0.3)
    return logs[LEAD:LEAD + frames * STEPS].astype(np.float32)
