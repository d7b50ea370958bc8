"""Training data of the pose network: steady stretches of head motion with their prosody, random windows of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_backend.audio.features import FPS
from ml_backend.audio.prosody import SIZE, prosody
from ml_backend.errors import UserInputError
from ml_backend.motion import shards
from ml_backend.motion.pose_manner import Manner, average, observe
from ml_backend.motion.pose_network import AXES, MIRROR
from ml_backend.motion.prepare import resample
from ml_backend.motion.shards import Shard
from ml_backend.motion.style import smooth, steady_parts

SILENT = "silent"
"""Subfolder of a dataset for shards without sound, which teach how heads move but not what they follow."""
SHORTEST = 2 * FPS
LEAST_SPREAD = 0.002
"""Radians; a head stiller than that was not tracked at all (shards made of face-rig weights have no pose)."""
SPEAKER_SECONDS = 60.0
STRETCH = 0.15
SPREAD_JITTER, MEAN_JITTER, INPUT_NOISE, SOUND_NOISE = 0.15, 0.15, 0.03, 0.1
DEAF = 0.15
"""How often a window is shown without its sound, so that the network can do without."""
_MOST = 5.0


@dataclass(frozen=True)
class Stretch:
    """T frames of one person without a cut: pose (T, 6), prosody (T, 10) or None where there is no sound."""

    speaker: str
    split: str
    pose: np.ndarray
    sound: np.ndarray | None

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True)
class Batch:
    """Tensors of B windows of S steps, see `PoseNetwork.forward`; `target` (B, S, 6), `mask` (B, S)."""

    audio: Tensor
    person: Tensor
    position: Tensor
    movement: Tensor
    target: Tensor
    mask: Tensor


def load_stretches(folder: Path, rights: str = "") -> list[Stretch]:
    """All stretches of the shards in `folder` and in its subfolder for clips without sound.

    With `rights`, training shards with other rights are left out.

    Raises
    ------
    UserInputError
        If there is no shard, or none of two seconds.
    """
    silent = Path(folder) / SILENT
    found = dict(shards.load_folder(folder))
    if silent.is_dir() and any(silent.glob("*.npz")):
        found |= {f"{SILENT}/{name}": shard for name, shard in shards.load_folder(silent).items()}
    usable = [shard for _, shard in sorted(found.items())
              if not rights or str(shard.split) != "train" or str(shard.rights) == rights]
    stretches = [stretch for shard in usable for stretch in stretches_of(shard)]
    if not stretches:
        raise UserInputError(f"{folder} holds no two seconds of steady head motion; prepare longer clips.")
    return stretches


def stretches_of(shard: Shard) -> list[Stretch]:
    """The parts of a shard between cuts and between frames without a face, of two seconds or more."""
    sound = prosody(shard.samples) if np.any(shard.speech) else None
    pose = smooth(shard.pose)
    seen = np.flatnonzero(shard.confidence > 0.5)
    if not len(seen):
        return []
    result = []
    for run in np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1):
        start = int(run[0])
        for part in steady_parts(pose[run[0]:run[-1] + 1]):
            heard = None if sound is None else fitted(sound[start:start + len(part)], len(part))
            if len(part) >= SHORTEST and part[:, :3].std(0).max() > LEAST_SPREAD:
                result.append(Stretch(str(shard.speaker), str(shard.split), part, heard))
            start += len(part)
    return result


def general_manner(stretches: list[Stretch], stride: int) -> Manner:
    """How people in general move, every stretch counting by its length, at most `SPEAKER_SECONDS`."""
    return average([observe(stretch.pose, stride) for stretch in stretches],
                   [min(len(stretch) / FPS, SPEAKER_SECONDS) for stretch in stretches])


def audio_steps(sound: np.ndarray | None, steps: int, stride: int) -> np.ndarray:
    """(steps, stride · 10 + 1) float32 input of the audio encoder; all zero where `sound` (T, 10) is None."""
    result = np.zeros((steps, stride * SIZE + 1), np.float32)
    if sound is not None:
        result[:, :-1] = fitted(sound, steps * stride).reshape(steps, stride * SIZE)
        result[:, -1] = 1
    return result


@dataclass
class PoseWindows:
    """Random windows of `steps` steps, speakers by their (capped) amount of motion."""

    stretches: list[Stretch]
    general: Manner
    stride: int
    steps: int
    generator: np.random.Generator
    weights: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        total: dict[str, float] = {}
        for stretch in self.stretches:
            total[stretch.speaker] = total.get(stretch.speaker, 0.0) + len(stretch) / FPS
        share = [len(stretch) / FPS * min(1.0, SPEAKER_SECONDS / total[stretch.speaker]) for stretch in self.stretches]
        self.weights = np.array(share) / np.sum(share)

    def batch(self, count: int) -> Batch:
        """`count` windows, each mirrored, stretched in time, jittered and deafened by chance."""
        picks = self.generator.choice(len(self.stretches), count, p=self.weights)
        return collate([self._window(self.stretches[pick]) for pick in picks])

    def _window(self, stretch: Stretch) -> tuple[np.ndarray, ...]:
        speed = float(np.exp(self.generator.uniform(-STRETCH, STRETCH)))
        frames = min((self.steps + 1) * self.stride, int(len(stretch) / speed) - 1)
        start = float(self.generator.uniform(0, max(len(stretch) - 1 - frames * speed, 0)))
        positions = start + np.arange(frames) * speed
        pose = resample(stretch.pose, positions)
        deaf = stretch.sound is None or self.generator.random() < DEAF
        sound = None if deaf or stretch.sound is None else resample(stretch.sound, positions)
        if self.generator.random() < 0.5:
            pose = pose * np.array(MIRROR, np.float32)
        return window(pose, sound, self.general, self.stride, self.steps, self.generator)


def window(pose: np.ndarray, sound: np.ndarray | None, general: Manner, stride: int, steps: int,
           generator: np.random.Generator | None = None) -> tuple[np.ndarray, ...]:
    """audio, person, position, movement, target, mask of one window, padded to `steps`; jittered with a `generator`."""
    manner = observe(pose, stride)
    person = manner.compared(general)
    mean, std = manner.mean, manner.std
    if generator is not None:
        mean = mean + generator.normal(0, MEAN_JITTER, AXES) * std
        std = std * np.exp(generator.normal(0, SPREAD_JITTER, AXES))
        person = person + generator.normal(0, 0.1, len(person)).astype(np.float32)
    kept = ((pose - mean) / std)[::stride]
    moves = np.diff(kept, axis=0) / manner.step * (std / manner.std)
    count = min(len(moves) - 1, steps)
    audio = audio_steps(sound, count + 1, stride)[1:]
    position, movement, target = kept[1:count + 1], moves[:count], moves[1:count + 1]
    if generator is not None:
        audio[:, :-1] += audio[:, -1:] * generator.normal(0, SOUND_NOISE, (count, audio.shape[1] - 1))
        position = position + generator.normal(0, INPUT_NOISE, position.shape)
        movement = movement + generator.normal(0, INPUT_NOISE, movement.shape)
    parts = (audio, position, movement, target, np.ones(count))
    audio, position, movement, target, mask = (_padded(part, steps) for part in parts)
    return audio, person, position, movement, target, mask


def collate(windows: list[tuple[np.ndarray, ...]]) -> Batch:
    """Windows as one batch of tensors."""
    return Batch(*(torch.from_numpy(np.stack(column).astype(np.float32)) for column in zip(*windows, strict=True)))


def fitted(values: np.ndarray, length: int) -> np.ndarray:
    """`values` (T, D) cut, or its end held, to `length`."""
    return values[np.minimum(np.arange(length), len(values) - 1)]


def _padded(values: np.ndarray, steps: int) -> np.ndarray:
    limited = np.clip(values, -_MOST, _MOST)
    return np.pad(limited, [(0, steps - len(values)), *[(0, 0)] * (values.ndim - 1)])
