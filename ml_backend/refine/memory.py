"""The memory network: pairs of spatial and identity features (Yi et al. 2020, §3.4; rules after Yoo et al. 2019).

In training it is written with the features of composite and real frame; afterwards the composite alone finds the
identity feature that belongs to it. It is trained apart from the GAN: one step on its linear layer, one write, each
iteration, before discriminator and generator.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend.errors import StageError
from ml_backend.refine.config import FEATURE_SIZE, RefinerConfig

ANCHOR_EVERY = 25
"""Frames between two retrieved features; in between they are interpolated linearly (published smoothing)."""


class Memory(nn.Module):
    """Slots of (key, value, age) and the learnable layer that makes queries.

    Buffers: keys (N, 512) and values (N, 512), L2-normalised; ages (N,), steps since written; filled (), slots in use.
    A slot that was never written is never read: random first keys, as published, could answer a query with noise.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        n = config.memory_slots
        self.top_k, self.margin, self.threshold = config.memory_top_k, config.memory_margin, config.identity_threshold
        self.query_layer = nn.Linear(FEATURE_SIZE, FEATURE_SIZE)
        # Identity as a start: before any training the nearest key is the nearest spatial feature.
        nn.init.eye_(self.query_layer.weight)
        nn.init.zeros_(self.query_layer.bias)
        self.register_buffer("keys", torch.zeros(n, FEATURE_SIZE))
        self.register_buffer("values", torch.zeros(n, FEATURE_SIZE))
        self.register_buffer("ages", torch.zeros(n))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.keys: Tensor
        self.values: Tensor
        self.ages: Tensor
        self.filled: Tensor

    def query(self, spatial: Tensor) -> Tensor:
        """Queries (B, 512), L2-normalised, of spatial features (B, 512)."""
        return F.normalize(self.query_layer(spatial), dim=1)

    def triplet_loss(self, query: Tensor, identity: Tensor) -> Tensor:
        """Threshold triplet loss: mean of max(neg - pos + margin, 0) over the batch, cosines to the k nearest keys.

        Positive is the best key whose value is the same identity (cosine above the threshold), negative the best of
        the others; a frame without both contributes nothing, there being no triplet.

        Parameters
        ----------
        query : (B, 512) from `query`
        identity : (B, 512), L2-normalised, of the real frames
        """
        used = int(self.filled)
        if used == 0:
            return query.sum() * 0
        scores, index = (query @ self.keys[:used].T).topk(min(self.top_k, used), dim=1)
        same = torch.einsum("bkc,bc->bk", self.values[index], identity) > self.threshold
        lowest = torch.finfo(scores.dtype).min
        positive = scores.masked_fill(~same, lowest).amax(1)
        negative = scores.masked_fill(same, lowest).amax(1)
        valid = same.any(1) & (~same).any(1)
        loss = torch.where(valid, (negative - positive + self.margin).clamp(min=0), torch.zeros_like(positive))
        return loss.mean()

    @torch.no_grad()
    def write(self, query: Tensor, identity: Tensor, generator: torch.Generator | None = None) -> None:
        """Write pairs, one after the other, then make every slot one step older.

        If the nearest key holds the same identity, that key moves half-way to the query; otherwise the pair takes an
        unused slot, or the oldest one (ages jittered by U(-4, 4), so that slots of one age don't go in order).
        """
        for q, value in zip(query, identity, strict=True):
            used = int(self.filled)
            nearest = int((self.keys[:used] @ q).argmax()) if used else -1
            if used and float(self.values[nearest] @ value) > self.threshold:
                self.keys[nearest] = F.normalize(self.keys[nearest] + q, dim=0)
                self.ages[nearest] = 0
                continue
            slot = used if used < len(self.keys) else self._oldest(generator)
            self.keys[slot], self.values[slot], self.ages[slot] = q, value, 0
            self.filled.fill_(min(used + 1, len(self.keys)) if slot == used else used)
        self.ages[: int(self.filled)] += 1

    def _oldest(self, generator: torch.Generator | None) -> int:
        jitter = torch.rand(len(self.ages), generator=generator).to(self.ages) * 8 - 4
        return int((self.ages + jitter).argmax())

    @torch.no_grad()
    def read(self, query: Tensor, top_k: int = 1) -> Tensor:
        """Identity features (B, 512) of the nearest keys; with `top_k` > 1 their mean by softmax of the cosines.

        Raises
        ------
        StageError
            If nothing was ever written.
        """
        used = int(self.filled)
        if used == 0:
            raise StageError("The refiner's memory has no entries; train the refiner before applying it.")
        scores, index = (query @ self.keys[:used].T).topk(min(top_k, used), dim=1)
        share = torch.softmax(scores * 20, dim=1)[..., None]
        return F.normalize((self.values[index] * share).sum(1), dim=1)


def anchors(frames: int, every: int = ANCHOR_EVERY) -> np.ndarray:
    """Indices of the frames whose feature is retrieved: each `every`-th and the last, int64."""
    return np.unique(np.append(np.arange(0, frames, every), frames - 1))


def interpolate_anchors(features: Tensor, positions: np.ndarray, frames: int) -> Tensor:
    """Features (frames, 512), L2-normalised, linear between those (K, 512) of the anchor frames `positions` (K,).

    Fed frame by frame, a retrieved feature jumps between neighbours and the picture with it (§3.4: jitter).
    """
    if len(positions) == 1:
        return F.normalize(features, dim=1).expand(frames, -1)
    place = np.interp(np.arange(frames), positions, np.arange(len(positions)))
    low = np.minimum(place.astype(np.int64), len(positions) - 2)
    part = torch.from_numpy((place - low).astype(np.float32)).to(features)[:, None]
    return F.normalize(features[low] * (1 - part) + features[low + 1] * part, dim=1)
