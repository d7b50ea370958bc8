"""Does the memory find the right person? Trained on composites of many people, asked with composites it never saw."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.refine.config import RefinerConfig
from ml_backend.refine.faces import FaceSet
from ml_backend.refine.memory import Memory, anchors, interpolate_anchors

HELD_OUT = 0.2
"""Share of each clip's frames, at its end, that the memory is asked with and not trained on."""


@dataclass(frozen=True)
class Questions:
    """N composites of P people: spatial (N, 512), identity (N, 512) of the real frames, person (N,), held (N,) bool."""

    spatial: Tensor
    identity: Tensor
    person: np.ndarray
    held: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Retrieval:
    """How often the person came back.

    Attributes
    ----------
    people, asked, slots : people, questions, slots in use after training
    before, after : share of the questions answered with the right person, with the first and the trained query layer
    smoothed : the same after the smoothing over time, as films use it
    unseen : share right among frames that the memory was not trained on, per person
    """

    people: int
    asked: int
    slots: int
    before: float
    after: float
    smoothed: float
    unseen: dict[str, float]


def gather(faces: FaceSet, trunk: Callable[[Tensor], Tensor], *, most: int = 40, progress: Progress = silent
           ) -> Questions:
    """Features of up to `most` composites of each clip, evenly spread.

    Each clip counts as a person of its own, since shards of unnamed people share their folder's name as speaker; a
    clip of somebody who occurs twice can so only count against the memory.

    Raises
    ------
    UserInputError
        If there are fewer than two people.
    """
    names = tuple(clip.name for clip in faces.clips)
    if len(names) < 2:
        raise UserInputError("Whether the memory finds the right person takes at least two; prepare more clips.")
    parts: list[tuple[Tensor, Tensor, np.ndarray, np.ndarray]] = []
    for number, clip in enumerate(faces.clips):
        rows = np.unique(np.linspace(0, len(clip.shard) - 1, min(most, len(clip.shard))).round().astype(int))
        count = len(rows)
        held = np.arange(count) >= round(count * (1 - HELD_OUT))
        progress(number + 1, len(faces.clips))
        parts.append((torch.stack([clip.spatial(int(i), trunk) for i in rows]),
                      clip.identity[None].expand(count, -1), np.full(count, number), held))
    spatial, identity, person, held = zip(*parts, strict=True)
    return Questions(torch.cat(spatial), torch.cat(identity), np.concatenate(person), np.concatenate(held), names)


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
    return Retrieval(len(questions.names), int(held.sum()), int(memory.filled), before, float(right[held].mean()),
                     float(_right(memory, questions, smooth=True)[held].mean()), unseen)


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
        for k in range(len(questions.names)):
            rows = np.flatnonzero(questions.person == k)
            places = anchors(len(rows))
            answers[rows] = interpolate_anchors(answers[rows][places], places, len(rows))
    nearest = (answers @ torch.nn.functional.normalize(means, dim=1).T).argmax(1).numpy()
    return nearest == questions.person
