"""Other voices, rooms and speeds for the same lips: training data as if more people had spoken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal

from ml_backend.audio.load import SAMPLE_RATE


@dataclass(frozen=True)
class Variation:
    """One way of changing a recording.

    Attributes
    ----------
    speed : playback rate; the motion is time-scaled with it (pitch moves too)
    warp : vocal-tract warp of the features
    noise_db : signal-to-noise ratio of added noise, dB; infinity for none
    tilt : spectrum of the noise, 0 white … 1 pink
    reverb : decay time of an added room, s; 0 for none
    cutoff : low-pass of a poor line, Hz; 8000 for none
    """

    speed: float = 1.0
    warp: float = 1.0
    noise_db: float = np.inf
    tilt: float = 0.0
    reverb: float = 0.0
    cutoff: float = SAMPLE_RATE / 2


def draw(generator: np.random.Generator) -> Variation:
    """A random variation, from barely changed to a noisy telephone in a hall."""
    return Variation(speed=float(generator.uniform(0.88, 1.14)), warp=float(np.round(generator.uniform(0.86, 1.16), 2)),
                     noise_db=float(generator.uniform(8, 40)) if generator.random() < 0.7 else np.inf,
                     tilt=float(generator.random()),
                     reverb=float(generator.uniform(0.1, 0.6)) if generator.random() < 0.4 else 0.0,
                     cutoff=float(generator.uniform(3400, 7600)) if generator.random() < 0.3 else SAMPLE_RATE / 2)


def vary(samples: np.ndarray, variation: Variation, generator: np.random.Generator) -> np.ndarray:
    """(N / speed,) float32: `samples` (N,) with all of `variation` but the warp, which belongs to the features."""
    result = samples
    if variation.speed != 1.0:
        positions = np.arange(int(len(samples) / variation.speed)) * variation.speed
        result = np.interp(positions, np.arange(len(samples)), samples)
    if variation.reverb > 0:
        result = _room(result, variation.reverb, generator)
    if np.isfinite(variation.noise_db):
        level = np.sqrt(np.mean(result ** 2)) * 10 ** (-variation.noise_db / 20)
        result = result + level * coloured_noise(len(result), variation.tilt, generator)
    if variation.cutoff < SAMPLE_RATE / 2:
        filtering = scipy.signal.butter(4, variation.cutoff, fs=SAMPLE_RATE, output="sos")
        result = scipy.signal.sosfilt(filtering, result)
    return np.asarray(result, np.float32)


def coloured_noise(count: int, tilt: float, generator: np.random.Generator) -> np.ndarray:
    """(count,) noise of standard deviation 1 whose amplitude falls with frequency to the power tilt / 2."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (tilt / 2)
    noise = np.fft.irfft(spectrum, count)
    return noise / max(float(noise.std()), 1e-12)


def _room(samples: np.ndarray, decay: float, generator: np.random.Generator) -> np.ndarray:
    """`samples` with exponentially dying reflections: -60 dB after `decay` seconds, the direct sound on top."""
    length = int(decay * SAMPLE_RATE)
    response = generator.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    response *= generator.uniform(0.2, 0.6) / np.sqrt(np.sum(response ** 2))
    response[0] = 1
    return scipy.signal.fftconvolve(samples, response)[:len(samples)]
