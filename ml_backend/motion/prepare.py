"""From clips to motion shards: tracked motion brought to 25 fps, the sound shifted into sync with the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.audio.features import FPS, FRAME
from ml_backend.audio.load import SAMPLE_RATE, Speech
from ml_backend.errors import UserInputError
from ml_backend.metrics.landmarks import lip_measures
from ml_backend.motion.shards import Shard


@dataclass(frozen=True)
class Motion:
    """What a face fit gives for one clip, at the clip's own rate.

    Attributes
    ----------
    expression : (T, K) float32 in [0, 1]
    names : list of K str
    pose : (T, 6) float32
    landmarks : (T, 478, 3) float32, pixels; NaN rows where no face was seen
    fps : float
    """

    expression: np.ndarray
    names: list[str]
    pose: np.ndarray
    landmarks: np.ndarray
    fps: float


Fit = Callable[[np.ndarray, tuple[int, int], float], Motion]
"""landmarks (T, 478, 3), frame size (w, h), fps -> Motion; raises `ParleyError` where nothing can be fitted."""


def make_shard(motion: Motion, speech: Speech, *, late_ms: float, speaker: str, split: str) -> Shard:
    """One clip as a shard.

    Parameters
    ----------
    motion : tracked motion
    speech : the clip's sound, starting with its first frame
    late_ms : how much the sound comes after the picture; the sound is shifted back by it
    speaker : name of the person, equal over that person's clips
    split : "train" or "validate"

    Raises
    ------
    UserInputError
        If picture and sound overlap for less than a second.
    """
    samples = shifted(speech.samples, round(late_ms * SAMPLE_RATE / 1000))
    frames = min(int(len(motion.expression) * FPS / motion.fps), len(samples) // FRAME)
    if frames < FPS:
        raise UserInputError(f"The clip of {speaker} has less than a second of sound and face together; leave it out.")
    times = np.arange(frames) / FPS * motion.fps
    seen = np.isfinite(motion.landmarks[:, 0, 0]).astype(np.float32)
    return Shard(
        speech=np.clip(np.round(samples[:frames * FRAME] * 32767), -32768, 32767).astype(np.int16),
        expression=resample(motion.expression, times).clip(0, 1), names=np.array(motion.names),
        pose=resample(motion.pose, times), measures=resample(lip_measures(motion.landmarks), times),
        confidence=resample(seen[:, None], times)[:, 0], speaker=np.array(speaker), split=np.array(split))


def resample(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(N, D) float32: `values` (T, D) at fractional frame `positions` (N,), linear, held at the ends; NaN stays NaN.

    From a higher rate a box as long as one output frame is averaged first, so that nothing aliases.
    """
    step = float(np.median(np.diff(positions))) if len(positions) > 1 else 1.0
    offsets = np.linspace(-0.5, 0.5, 5)[:, None] * step if step > 1.5 else np.zeros((1, 1))
    result = np.zeros((len(positions), values.shape[1]))
    for offset in offsets:
        at = np.clip(positions + offset, 0, len(values) - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, len(values) - 1)
        part = (at - low)[:, None]
        # Where a position falls on a frame its neighbour doesn't count, not even as NaN.
        result += np.where(part > 0, values[low] * (1 - part) + values[high] * part, values[low])
    return (result / len(offsets)).astype(np.float32)


def shifted(samples: np.ndarray, late: int) -> np.ndarray:
    """(N,) `samples` moved `late` samples earlier (later where negative), zeros where nothing is left."""
    result = np.zeros_like(samples)
    if late >= 0:
        result[:max(len(samples) - late, 0)] = samples[late:]
    else:
        result[-late:] = samples[:late]
    return result


def prepare_clip(landmarks_path: Path, speech: Speech, fit: Fit, *, late_ms: float, speaker: str, split: str) -> Shard:
    """Shard of a clip whose landmarks lie in an ``.npz`` (landmarks (T, 478, 3), fps, size (w, h)).

    Raises
    ------
    UserInputError
        If a face is seen in less than four frames of five: such a clip teaches nothing about its sound.
    """
    with np.load(landmarks_path, allow_pickle=False) as data:
        landmarks, fps, size = data["landmarks"], float(data["fps"]), tuple(int(side) for side in data["size"])
    seen = np.isfinite(landmarks[:, 0, 0])
    if seen.mean() < 0.8:
        raise UserInputError(f"{landmarks_path} shows a face in only {seen.mean():.0%} of its frames; leave it out.")
    return make_shard(fit(landmarks, (size[0], size[1]), fps), speech, late_ms=late_ms, speaker=speaker, split=split)
