"""Speech as the networks want it: mono, 16 kHz, checked. WAV files are read here, all others by Blender."""

from __future__ import annotations

import wave
from math import gcd
from pathlib import Path

import numpy as np

from ..errors import UserInputError
from .features import RATE
from .layers import Pulse, idle

LEAST_SECONDS, SILENCE_DBFS = 0.3, -60.0
CROSSINGS, SHARPNESS, EDGE = 32, 10.0, 0.96
"""Resampling filter: zero crossings to either side, Kaiser's β, its edge as a share of what the lower rate carries."""
PASS = 4096
"""Outputs of one phase that are worked out at a time."""


def is_wav(path: Path | str) -> bool:
    """Whether `read_wav` can read the file: Python knows uncompressed WAV files of whole numbers only."""
    try:
        with wave.open(str(path), "rb") as file:
            return file.getsampwidth() in (1, 2, 3, 4)
    except (OSError, EOFError, wave.Error):
        return False


def read_wav(path: Path | str) -> tuple[np.ndarray, int]:
    """(N, C) float32 in [-1, 1] and the rate in Hz of an uncompressed WAV file; raises `UserInputError`."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, _ = file.getparams()[:4]
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise UserInputError(f"{path} can't be read as a WAV file ({error}); convert it to 16-bit WAV.") from error
    data = data[:len(data) // (width * channels) * width * channels]
    if width == 1:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        values = (((parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16) << 8) / 2.0 ** 31).astype(np.float32)
    else:
        values = np.frombuffer(data, f"<i{width}").astype(np.float32) / 2.0 ** (8 * width - 1)
    return values.reshape(-1, channels), rate


def speech(values: np.ndarray, rate: float, name: str, pulse: Pulse = idle) -> np.ndarray:
    """(N,) float32 mono at 16 kHz in [-1, 1] of `values` (M, C) at `rate` Hz; `name` is for errors.

    Raises
    ------
    UserInputError
        If there is no sound, less than 0.3 s of it, or nothing but silence.
    """
    if not values.size:
        raise UserInputError(f"{name} holds no sound; give another file.")
    samples = resampled(mono(values), round(rate), pulse)
    samples = np.clip(np.nan_to_num(samples), -1, 1)
    if len(samples) < LEAST_SECONDS * RATE:
        raise UserInputError(f"{name} lasts {len(samples) / RATE:.1f} s; Parley needs at least {LEAST_SECONDS} s of "
                             "speech.")
    if loudest_dbfs(samples) < SILENCE_DBFS:
        raise UserInputError(f"{name} is silent throughout (below {SILENCE_DBFS:.0f} dBFS); give a file in which "
                             "someone speaks.")
    return samples


def mono(values: np.ndarray) -> np.ndarray:
    """(N,) float32: the mean of the channels of `values` (N, C), or the loudest where they cancel each other out."""
    mean = values.mean(1)
    powers = np.mean(values ** 2, axis=0)
    if values.shape[1] > 1 and float(np.mean(mean ** 2)) < 0.02 * float(powers.max(initial=0)):
        mean = values[:, int(powers.argmax())]
    return np.ascontiguousarray(mean, np.float32)


def loudest_dbfs(samples: np.ndarray) -> float:
    """Level of the loudest 50 ms of `samples` (N,), dB of full scale: a single click is no speech."""
    blocks = np.array_split(samples, max(len(samples) // (RATE // 20), 1))
    power = max(float(np.mean(block.astype(np.float64) ** 2)) for block in blocks)
    return 10 * float(np.log10(max(power, 1e-20)))


def resampled(samples: np.ndarray, rate: int, pulse: Pulse = idle) -> np.ndarray:
    """`samples` (N,) at `rate` Hz brought to 16 kHz: a windowed sinc, one set of taps for each phase."""
    if rate == RATE or not len(samples):
        return samples
    if rate <= 0:
        raise UserInputError(f"A sound with {rate} samples a second can't be used.")
    common = gcd(rate, RATE)
    up, down = RATE // common, rate // common
    # In units of the input's step; where the rate goes down the filter has to be longer and lower.
    cut = EDGE * min(1.0, up / down)
    reach = int(np.ceil(CROSSINGS / cut))
    held = np.pad(samples, (reach, reach + down + 1))
    count = len(samples) * up // down
    result = np.empty(count, np.float32)
    for phase in range(min(up, count)):
        first, part = divmod(phase * down, up)
        offsets = np.arange(-reach, reach + 1) - part / up
        taps = cut * np.sinc(cut * offsets) * np.i0(SHARPNESS * np.sqrt(np.maximum(
            1 - (offsets / (reach + 1)) ** 2, 0))) / np.i0(SHARPNESS)
        outputs = -(-(count - phase) // up)
        around = np.lib.stride_tricks.sliding_window_view(held[first:], len(taps))[::down][:outputs]
        for start in range(0, outputs, PASS):
            pulse()
            result[phase + start * up:phase + (start + PASS) * up:up] = around[start:start + PASS] @ taps.astype(
                np.float32)
    return result
