"""All face shards of a data set as one source of training squares, and the validation clips beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.refine import shards
from ml_backend.refine.config import FEATURE_SIZE, TrainOptions
from ml_backend.refine.dataset import Batch, to_network
from ml_backend.refine.identity import IdentityEncoder, to_batch
from ml_backend.refine.losses import LEFT_EYE, LIPS, RIGHT_EYE, feature_weights
from ml_backend.refine.shards import FaceShard

Compose = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(S, S, 4) render and (S, S, 3) plate to (S, S, 3) composite, uint8."""
IDENTITY_FRAMES = 8
SQUARES = ((LIPS, 0.55), (LEFT_EYE, 0.125), (RIGHT_EYE, 0.125), (tuple(range(468)), 0.2))
"""What a training square is centred on, and how often."""


@dataclass
class FaceClip:
    """One shard in memory; composites are made when they are first asked for."""

    name: str
    shard: FaceShard
    compose: Compose
    identity: Tensor
    composites: dict[int, np.ndarray] = field(default_factory=dict)
    spatials: dict[int, Tensor] = field(default_factory=dict)

    def composite(self, i: int) -> np.ndarray:
        """The composite of frame `i` over its own plate."""
        if i not in self.composites:
            self.composites[i] = self.compose(self.shard.rgba[i], self.shard.real[i])
        return self.composites[i]

    def spatial(self, i: int, trunk: Callable[[Tensor], Tensor]) -> Tensor:
        """(512,) spatial feature of composite `i`."""
        if i not in self.spatials:
            with torch.no_grad():
                self.spatials[i] = trunk(to_batch([self.composite(i)]))[0]
        return self.spatials[i]

    def window(self, i: int, size: int) -> list[int]:
        """Frames of the window that ends in `i`, never reaching into another run."""
        first = int(np.flatnonzero(self.shard.run == self.shard.run[i])[0])
        return [max(i - k, first) for k in range(size - 1, -1, -1)]


class FaceSet:
    """The clips of one split.

    Parameters
    ----------
    folder : of face shards
    split : "train" or "validate"
    compose : how a render goes over a plate
    encoder : of identities
    without : names of shards, or of speakers, that are left out
    rights : only shards with these rights; "" = all
    most : frames kept of each clip (0 = all), the first runs
    """

    def __init__(self, folder: Path, split: str, compose: Compose, encoder: IdentityEncoder, *,
                 without: Sequence[str] = (), rights: str = "", most: int = 0, progress: Progress = silent) -> None:
        self.clips: list[FaceClip] = []
        found = shards.find(folder)
        for number, path in enumerate(found):
            shard = shards.load(path)
            left_out = path.stem in without or str(shard.speaker) in without
            if str(shard.split) == split and not left_out and rights in ("", str(shard.rights)):
                self.clips.append(FaceClip(path.stem, shard, compose, clip_identity(shard, encoder)))
            progress(number + 1, len(found))
        if not self.clips:
            raise UserInputError(f"{folder} has no face shards of the split {split}; prepare more clips.")
        if most:
            for clip in self.clips:
                clip.shard = first_frames(clip.shard, most)

    def batch(self, options: TrainOptions, side: int, window: int, trunk: Callable[[Tensor], Tensor],
              random: np.random.Generator) -> tuple[Batch, Tensor, Tensor]:
        """`options.batch` squares of `side` pixels of as many clips, their spatial and identity features (B, 512)."""
        parts, spatial, identity = [], [], []
        for _ in range(options.batch):
            clip = self.clips[int(random.integers(len(self.clips)))]
            i = int(random.integers(len(clip.shard)))
            parts.append(square(clip, i, side, window, options, random))
            spatial.append(clip.spatial(i, trunk))
            identity.append(clip.identity)
        batch = Batch(*(torch.stack([part[k] for part in parts]) for k in range(3)))
        return batch, torch.stack(spatial), torch.stack(identity)


def first_frames(shard: FaceShard, most: int) -> FaceShard:
    """`shard` with at most `most` frames."""
    values = dict(vars(shard))
    for name in ("rgba", "real", "landmarks", "run", "frame"):
        values[name] = values[name][:most]
    return FaceShard(**values)


def clip_identity(shard: FaceShard, encoder: IdentityEncoder) -> Tensor:
    """(512,) mean identity feature of some real frames."""
    picks = np.unique(np.linspace(0, len(shard) - 1, IDENTITY_FRAMES).round().astype(int))
    found = torch.from_numpy(encoder.encode(shard.real[picks], shard.landmarks[picks])).reshape(-1, FEATURE_SIZE)
    return torch.nn.functional.normalize(found.mean(0), dim=0)


def square(clip: FaceClip, i: int, side: int, window: int, options: TrainOptions, random: np.random.Generator
           ) -> tuple[Tensor, Tensor, Tensor]:
    """Window (3·n, s, s), target (3, s, s) and weight (1, s, s) of a random square around a feature of frame `i`."""
    real, points = clip.shard.real[i], clip.shard.landmarks[i]
    side = min(side, clip.shard.side)
    rows, columns = place_square(points, clip.shard.side, side, random)
    pictures = [clip.composite(k)[rows, columns] for k in clip.window(i, window)] + [real[rows, columns]]
    weight = feature_weights(points - [columns.start, rows.start], (side, side), mouth=options.mouth_weight,
                             eyes=options.eye_weight)
    stacked = np.stack(pictures)
    if options.flip and random.random() < 0.5:
        stacked, weight = stacked[:, :, ::-1], weight[:, ::-1]
    tensor = to_network(np.ascontiguousarray(stacked))
    gain = 1.0 + options.gain * torch.from_numpy(random.uniform(-1, 1, 3).astype(np.float32)).repeat(len(stacked))
    tensor = tensor.add_(1).mul_(gain[:, None, None]).sub_(1).clamp_(-1, 1)
    return tensor[:-3], tensor[-3:], torch.from_numpy(np.ascontiguousarray(weight))[None]


def place_square(points: np.ndarray, size: int, side: int, random: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a square of `side` pixels within `size`, around one of `SQUARES`."""
    chosen = int(random.choice(len(SQUARES), p=[share for _, share in SQUARES]))
    feature = points[list(SQUARES[chosen][0])]
    middle = feature.mean(0) if chosen < len(SQUARES) - 1 else feature[int(random.integers(len(feature)))]
    middle = middle if np.isfinite(middle).all() else np.full(2, size / 2)
    corner = middle + random.uniform(-0.3, 0.3, 2) * side - side / 2
    x, y = np.clip(corner.round(), 0, size - side).astype(int)
    return slice(int(y), int(y) + side), slice(int(x), int(x) + side)
