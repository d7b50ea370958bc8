"""Several processes train the refiner as one: gradients are shared, one of them looks and writes."""

from __future__ import annotations

from pathlib import Path

import torch

from ml_backend.refine import shards
from ml_backend.refine.general import WEIGHTS, train_general
from ml_backend.refine.weights import load_weights
from tests.ml.test_refine_general import person, plan
from tests.ml.torchrun import run_two

STEPS = 4
CHILD = """
import sys
from pathlib import Path
import torch
from ml_backend.motion.distributed import world
from ml_backend.refine.general import train_general
from ml_backend.refine.trainer import Trainer
from tests.ml.test_refine_distributed import STEPS
from tests.ml.test_refine_general import plan
torch.set_num_threads(1)
seen = []
kept = Trainer.step
def step(self, batch, spatial, identity, share):
    seen.append(float(batch.window.double().sum()))
    losses = kept(self, batch, spatial, identity, share)
    if self.steps == STEPS:
        print(seen[0], sum(float(value.double().sum()) for value in self.generator.parameters()), flush=True)
    return losses
Trainer.step = step
with world("cpu"):
    train_general(plan(Path(sys.argv[1]), Path(sys.argv[2]), steps=STEPS))
"""


def test_two_processes_keep_the_same_weights_and_one_of_them_writes(tmp_path: Path) -> None:
    folder, out = tmp_path / "faces", tmp_path / "out"
    folder.mkdir()
    for seed, split in enumerate(("train", "train", "validate")):
        shards.save(person(seed, split, 6), folder / f"p{seed}.npz")
    said = run_two(CHILD, folder, out)
    assert said[0][0] != said[1][0], "each process draws squares of its own"
    assert said[0][1] == said[1][1], "and both end with the same network"
    weights = load_weights(out / WEIGHTS)
    assert weights.meta["steps"] == STEPS
    assert sorted(path.name for path in out.glob("samples_*.png")) == [f"samples_{STEPS:06d}.png"]
    alone = train_general(plan(folder, tmp_path / "alone", steps=STEPS))
    # Were gradients not shared, the first process would have trained as if alone: same seed, same squares.
    first = torch.cat([value.ravel() for value in load_weights(alone.weights).generator.parameters()])
    both = torch.cat([value.ravel() for value in weights.generator.parameters()])
    assert not torch.equal(first, both)
