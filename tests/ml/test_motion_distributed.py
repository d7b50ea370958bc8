"""Several processes train as one: same weights everywhere, and the same code as one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ml_backend.errors import UserInputError
from ml_backend.motion.checkpoint import load_weights
from ml_backend.motion.distributed import world
from ml_backend.motion.schedule import TrainSettings
from ml_backend.motion.train import train
from tests.ml.motion_toys import TINY, face, shard_folder
from tests.ml.torchrun import run_two

CHILD = """
import sys
from pathlib import Path
from ml_backend.motion import train as training
from tests.ml.motion_toys import TINY, face
from tests.ml.test_motion_distributed import SETTINGS
def follow(average, network, share, step):
    if step == 6:
        print(sum(float(value.double().sum()) for value in network.parameters()), flush=True)
    kept(average, network, share, step)
kept, training.follow = training.follow, follow
training.train(TINY, Path(sys.argv[1]), Path(sys.argv[2]), model=face(), steps=6, settings=SETTINGS, device="cpu")
"""
SETTINGS = TrainSettings(window=25, batch=2, rate=1e-2, variations=0, hide=False, warm_up=2, every=3)


def test_two_processes_keep_the_same_weights_and_one_of_them_writes(tmp_path: Path) -> None:
    folder, out = shard_folder(tmp_path / "shards"), tmp_path / "out"
    said = run_two(CHILD, folder, out)
    assert said[0] == said[1] != []
    assert load_weights(out / "motion.safetensors").provenance["step"] in (3, 6)
    alone = train(TINY, folder, tmp_path / "alone", model=face(), steps=6, settings=SETTINGS, device="cpu")
    # Two processes look at twice the windows; were they not averaged, rank 0 would have trained as if alone.
    assert (alone.weights.read_bytes()) != (out / "motion.safetensors").read_bytes()


def test_half_precision_runs_the_same_steps(tmp_path: Path) -> None:
    report = train(TINY, shard_folder(tmp_path), tmp_path / "out", model=face(), steps=6, settings=SETTINGS,
                   device="cpu", half=True)
    assert all(torch.isfinite(value).all() for value in load_weights(report.weights).network.parameters())


def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserInputError, match="no GPU"), world("cuda"):
        pass
    with pytest.raises(UserInputError, match="unknown"), world("tpu"):
        pass
