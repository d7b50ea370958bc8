"""Does the memory find the right person? Trained on composites of many people, asked with composites it never saw."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.refine import shards
from ml_backend.refine.config import RefinerConfig
from ml_backend.refine.faces import Compose, FaceClip, clip_identity
from ml_backend.refine.identity import BATCH, IdentityEncoder, to_batch
from ml_backend.refine.memory import Memory, anchors, interpolate_anchors
from ml_backend.refine.people import persons

HELD_OUT = 0.2
"""Share of each clip's frames, at its end, that the memory is asked with and not trained on."""


@dataclass(frozen=True)
class Questions:
    """N composites of C clips of P people.

    Attributes
    ----------
    spatial, identity : (N, 512) features of the composites, and of their clips' real frames
    clip, person : (N,) int, numbers in `clips` and `names`
    held : (N,) bool, whether the memory is asked with it, not trained on it
    names, clips : of the people, of the clips
    """

    spatial: Tensor
    identity: Tensor
    clip: np.ndarray
    person: np.ndarray
    held: np.ndarray
    names: tuple[str, ...]
    clips: tuple[str, ...]


@dataclass(frozen=True)
class Retrieval:
    """How often the person came back.

    Attributes
    ----------
    people, clips, asked, slots : people, clips of them, questions, slots in use after training
    before, after : share of the questions answered with the right person, with the first and the trained query layer
    smoothed : the same after the smoothing over time, as films use it
    unseen : share right among frames that the memory was not trained on, per person
    """

    people: int
    clips: int
    asked: int
    slots: int
    before: float
    after: float
    smoothed: float
    unseen: dict[str, float]


def gather(paths: Sequence[Path], compose: Compose, encoder: IdentityEncoder, trunk: Callable[[Tensor], Tensor], *,
           people: dict[str, str] | None = None, split: str = "train", most: int = 40, progress: Progress = silent
           ) -> Questions:
    """Features of up to `most` composites of each clip, evenly spread; one shard is in memory at a time.

    Parameters
    ----------
    paths : of face shards, of which those of `split` are taken
    compose : how a render goes over a plate
    encoder, trunk : of identities, and of spatial features
    people : who is seen in which clip, see `ml_backend.refine.people`; a clip it doesn't name is a person of its own

    Raises
    ------
    UserInputError
        If there are fewer than two people.
    """
    parts: list[tuple[Tensor, Tensor, int]] = []
    clips: list[str] = []
    for number, path in enumerate(paths):
        shard = shards.load(path)
        if str(shard.split) == split:
            parts.append(_features(FaceClip(path.stem, shard, compose, clip_identity(shard, encoder)), trunk, most))
            clips.append(path.stem)
        progress(number + 1, len(paths))
    who = persons(clips, people or {})
    names = tuple(dict.fromkeys(who))
    if len(names) < 2:
        raise UserInputError("Whether the memory finds the right person takes at least two; prepare more clips.")
    counts = [count for _, _, count in parts]
    held = [np.arange(count) >= round(count * (1 - HELD_OUT)) for count in counts]
    clip = np.repeat(np.arange(len(clips)), counts)
    person = np.array([names.index(name) for name in who])[clip]
    return Questions(torch.cat([spatial for spatial, _, _ in parts]), torch.cat([identity for _, identity, _ in parts]),
                     clip, person, np.concatenate(held), names, tuple(clips))


def _features(clip: FaceClip, trunk: Callable[[Tensor], Tensor], most: int) -> tuple[Tensor, Tensor, int]:
    """Spatial and identity features (n, 512) of `clip`'s chosen composites, and n."""
    rows = np.unique(np.linspace(0, len(clip.shard) - 1, min(most, len(clip.shard))).round().astype(int))
    spatial = []
    with torch.no_grad():
        for first in range(0, len(rows), BATCH):
            spatial.append(trunk(to_batch([clip.composite(int(i)) for i in rows[first:first + BATCH]])))
    return torch.cat(spatial), clip.identity[None].expand(len(rows), -1), len(rows)


def measure(questions: Questions, config: RefinerConfig, *, epochs: int = 3, rate: float = 1e-4, seed: int = 0
            ) -> Retrieval:
    """Train a memory as the refiner's training does, one triplet step and one write per sample, and ask it."""
    torch.manual_seed(seed)
    memory, random, ages = Memory(config), np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(memory.query_layer.parameters(), rate, (0.5, 0.999))
    learned = np.flatnonzero(~questions.held)
    first = _filled(memory, questions, learned, ages)
    before = float(_right(first, questions)[questions.held].mean())
    for _ in range(epochs):
        for i in random.permutation(learned):
            query = memory.query(questions.spatial[i:i + 1])
            loss = memory.triplet_loss(query, questions.identity[i:i + 1])
            if float(loss.detach()) > 0:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                memory.write(memory.query(questions.spatial[i:i + 1]), questions.identity[i:i + 1], ages)
    right = _right(memory, questions)
    held = questions.held
    unseen = {name: round(float(right[held & (questions.person == k)].mean()), 4)
              for k, name in enumerate(questions.names)}
    return Retrieval(len(questions.names), len(questions.clips), int(held.sum()), int(memory.filled), before,
                     float(right[held].mean()), float(_right(memory, questions, smooth=True)[held].mean()), unseen)


def _filled(memory: Memory, questions: Questions, rows: np.ndarray, ages: torch.Generator) -> Memory:
    """A copy of the untrained `memory` with every row written once."""
    filled = copy.deepcopy(memory)
    with torch.no_grad():
        for i in rows:
            filled.write(filled.query(questions.spatial[i:i + 1]), questions.identity[i:i + 1], ages)
    return filled


@torch.no_grad()
def _right(memory: Memory, questions: Questions, *, smooth: bool = False) -> np.ndarray:
    """(N,) bool: whether what the memory answers is nearest to the right person's mean identity."""
    means = torch.stack([questions.identity[questions.person == k].mean(0) for k in range(len(questions.names))])
    answers = memory.read(memory.query(questions.spatial))
    if smooth:
        answers = answers.clone()
        for k in range(len(questions.clips)):
            rows = np.flatnonzero(questions.clip == k)
            places = anchors(len(rows))
            answers[rows] = interpolate_anchors(answers[rows][places], places, len(rows))
    nearest = (answers @ torch.nn.functional.normalize(means, dim=1).T).argmax(1).numpy()
    return nearest == questions.person
