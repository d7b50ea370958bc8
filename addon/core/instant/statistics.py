"""What is typical of people who speak, as the motion weights carry it, and the manner of people in general."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArtefactError
from .features import FPS
from .weights import Weights

BINS = 128
PERCENTILES = np.linspace(0, 100, 21)
TRACK_SECONDS, DISTANCE = 60, 0.6
PARTING = ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
           "mouthFunnel")
"""What parts the lips."""


@dataclass(frozen=True)
class Statistics:
    """As the backend's ``motion.statistics.Statistics``, K expressions.

    Attributes
    ----------
    names : list of K str
    mean, rest, std : (K,) float32, of the expressions
    pose_std : (6,) float32
    pose_spectrum : (6, 128) float32 amplitudes of 256 pose frames
    pose_mixing : (6, 6) float32, correlation of the pose's axes
    lip_motion : (K, 2) float32, mm by which each expression opens and widens the mouth
    lip_range : (2, 21) float32, mm, percentiles of both in speech
    blink_rate, blink_duration : per second and seconds
    """

    names: list[str]
    mean: np.ndarray
    rest: np.ndarray
    std: np.ndarray
    pose_std: np.ndarray
    pose_spectrum: np.ndarray
    pose_mixing: np.ndarray
    lip_motion: np.ndarray
    lip_range: np.ndarray
    blink_rate: float
    blink_duration: float

    @staticmethod
    def of(weights: Weights) -> Statistics:
        """The statistics in the metadata of `weights`; raises `ArtefactError` if they can't be used."""
        held = weights.json("statistics")
        try:
            names = [str(name) for name in held["names"]]
            count = len(names)
            shapes = {"mean": (count,), "rest": (count,), "std": (count,), "pose_std": (6,), "pose_spectrum": (6, BINS),
                      "pose_mixing": (6, 6), "lip_motion": (count, 2), "lip_range": (2, len(PERCENTILES))}
            arrays = {name: np.array(held[name], np.float32).reshape(shape) for name, shape in shapes.items()}
            return Statistics(names, **arrays, blink_rate=float(held["blink_rate"]),
                              blink_duration=float(held["blink_duration"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ArtefactError(f"{weights.path}: its statistics can't be read ({error}); make the weights "
                                "again.") from error


def mouth_channels(names: list[str]) -> np.ndarray:
    """(K,) bool: jaw, mouth, cheek and tongue shapes; all of them where no name is known."""
    mask = np.array([name.startswith(("jaw", "mouth", "cheek", "tongue")) for name in names])
    return mask if mask.any() else np.ones(len(names), bool)


def usual_track(statistics: Statistics, seed: int) -> np.ndarray:
    """(1500, 6) float32: a minute of head motion with people's general spectrum and correlation of the axes."""
    generator = np.random.default_rng([seed, 0x905E])
    count = TRACK_SECONDS * FPS
    frequency = np.fft.rfftfreq(count, 1 / FPS)
    known = np.arange(1, BINS + 1) * FPS / (2 * BINS)
    amplitude = np.stack([np.interp(frequency, known, row) for row in statistics.pose_spectrum])
    # What is slower than the blocks that the spectrum was measured on would be drift.
    amplitude[:, frequency < known[0] / 2] = 0
    shape = np.sqrt(np.mean(amplitude ** 2, axis=0))
    noise = np.fft.irfft(np.fft.rfft(generator.standard_normal((6, count)), axis=1) * shape, count, axis=1)
    noise /= noise.std(1, keepdims=True)
    mixed = np.linalg.cholesky(statistics.pose_mixing.astype(np.float64) + 0.05 * np.eye(6)) @ noise
    mixed *= statistics.pose_std[:, None] / np.maximum(mixed.std(1, keepdims=True), 1e-9)
    motion = (mixed - mixed.mean(1, keepdims=True)).T.astype(np.float32)
    return motion + np.array([0, 0, 0, 0, 0, DISTANCE], np.float32)
