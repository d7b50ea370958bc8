"""Training data in memory: features of every clip in several variations, standardised targets, random windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml_backend.audio.features import FPS, PLAIN_SIZE, STEPS_PER_FRAME, plain_steps, rich_steps, step_count
from ml_backend.motion.augment import Variation, draw, vary
from ml_backend.motion.network import MotionConfig
from ml_backend.motion.prepare import resample
from ml_backend.motion.shards import Shard
from ml_backend.motion.statistics import Statistics, clip_mean, mouth_amplitude
from ml_backend.progress import Progress, silent

_SPEAKER_SECONDS = 30.0
_VARIED_SECONDS = 240.0


@dataclass(frozen=True)
class Take:
    """One variation of one clip: feature steps (4T + 24, D), targets (T, K + 6), mask (T,), all float32."""

    steps: np.ndarray
    targets: np.ndarray
    mask: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Clip:
    """All takes of one clip; the first is the unchanged one."""

    name: str
    speaker: str
    takes: list[Take]


def features(config: MotionConfig, samples: np.ndarray, warp: float = 1.0) -> np.ndarray:
    """(4T + 24, D) float32 feature steps as `config` wants them, of speech `samples` (N,)."""
    return plain_steps(samples) if config.features == PLAIN_SIZE else rich_steps(samples, warp)


def standardise(shard: Shard, statistics: Statistics, config: MotionConfig) -> np.ndarray:
    """(T, K + 6) float32 targets of `shard`: plain values, or deviations from the person's mean in general units.

    What the shard doesn't know is NaN.
    """
    both = np.concatenate([shard.expression, shard.pose], 1)
    if config.standardised:
        amplitude = mouth_amplitude(shard.expression, statistics)
        expression = (shard.expression - clip_mean(shard.expression)) / (statistics.std * amplitude)
        pose = (shard.pose - shard.pose.mean(0)) / statistics.pose_std
        both = np.clip(np.concatenate([expression, pose], 1), -5, 5)
    if len(shard.known):
        both[:, ~shard.known] = np.nan
    return both.astype(np.float32)


def make_clips(shards: dict[str, Shard], statistics: Statistics, config: MotionConfig, *, variations: int, seed: int,
               progress: Progress = silent) -> list[Clip]:
    """Features and targets of every shard.

    A speaker with hours of clips gets fewer variations of each, since those clips already vary.
    """
    seconds: dict[str, float] = {}
    for shard in shards.values():
        seconds[str(shard.speaker)] = seconds.get(str(shard.speaker), 0) + len(shard) / FPS
    clips = []
    for done, (name, shard) in enumerate(shards.items()):
        progress(done, len(shards))
        generator = np.random.default_rng([seed, done])
        count = variations if seconds[str(shard.speaker)] < _VARIED_SECONDS else min(variations, 1)
        changes = [Variation(), *(draw(generator) for _ in range(count))]
        targets = standardise(shard, statistics, config)
        takes = [_take(shard, targets, change, config, generator) for change in changes]
        clips.append(Clip(name, str(shard.speaker), takes))
    progress(len(shards), len(shards))
    return clips


def _take(shard: Shard, targets: np.ndarray, change: Variation, config: MotionConfig,
          generator: np.random.Generator) -> Take:
    steps = features(config, vary(shard.samples, change, generator), change.warp)
    frames = (len(steps) - step_count(1)) // STEPS_PER_FRAME + 1
    positions = np.arange(frames) * change.speed
    inside = positions <= len(targets) - 1 + 1e-6
    values = resample(targets, positions)
    mask = (resample(shard.confidence[:, None], positions)[:, 0] > 0.5) & inside
    return Take(steps, values, mask.astype(np.float32))


@dataclass
class Windows:
    """Random windows out of clips: speakers by their amount of speech, up to `cap` seconds, in however many clips."""

    clips: list[Clip]
    length: int
    generator: np.random.Generator
    mask_features: bool = True
    cap: float = _SPEAKER_SECONDS

    def __post_init__(self) -> None:
        totals: dict[str, float] = {}
        for clip in self.clips:
            totals[clip.speaker] = totals.get(clip.speaker, 0) + len(clip.takes[0]) / FPS
        # A speaker counts by the seconds there are up to a cap: many speakers beat many minutes.
        weights = np.array([len(clip.takes[0]) / FPS * min(1.0, self.cap / totals[clip.speaker])
                            for clip in self.clips])
        self.weights = weights / weights.sum()

    def batch(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Steps (B, 4L + 24, D), targets (B, L, K + 6) and mask (B, L) of `size` random windows."""
        chosen = self.generator.choice(len(self.clips), size, p=self.weights)
        parts = [self._window(self.clips[index]) for index in chosen]
        steps, targets, mask = (torch.from_numpy(np.stack([part[i] for part in parts])) for i in range(3))
        return steps, targets, mask

    def _window(self, clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        take = clip.takes[int(self.generator.integers(len(clip.takes)))]
        start = int(self.generator.integers(max(len(take) - self.length, 0) + 1))
        steps = take.steps[start * STEPS_PER_FRAME:start * STEPS_PER_FRAME + step_count(self.length)]
        targets, mask = take.targets[start:start + self.length], take.mask[start:start + self.length]
        if len(targets) < self.length:
            missing = self.length - len(targets)
            steps = np.pad(steps, ((0, step_count(self.length) - len(steps)), (0, 0)), mode="edge")
            targets, mask = np.pad(targets, ((0, missing), (0, 0)), mode="edge"), np.pad(mask, (0, missing))
        return (self._hide(steps) if self.mask_features else steps), targets, mask

    def _hide(self, steps: np.ndarray) -> np.ndarray:
        """A copy with stretches of time and some features set to their mean, 0 (SpecAugment, Park et al. 2019)."""
        steps = steps + self.generator.normal(0, 0.1, steps.shape).astype(np.float32)
        for _ in range(2):
            width = int(self.generator.integers(0, 20))
            start = int(self.generator.integers(len(steps) - width))
            steps[start:start + width] = 0
        steps[:, self.generator.random(steps.shape[1]) < 0.06] = 0
        return steps
