"""Training of the head-pose network: teacher forcing by maximum likelihood, stopped early, resumable to the byte."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_backend.audio.features import FPS
from ml_backend.errors import UserInputError
from ml_backend.motion.checkpoint import read_tensors, write_tensors
from ml_backend.motion.curve import draw_curve
from ml_backend.motion.pose_checkpoint import PoseWeights, save_pose
from ml_backend.motion.pose_data import (
    Batch,
    PoseWindows,
    Stretch,
    collate,
    general_manner,
    load_stretches,
    window,
)
from ml_backend.motion.pose_manner import Manner
from ml_backend.motion.pose_network import PoseConfig, PoseNetwork, build, negative_log_likelihood
from ml_backend.motion.train_state import under
from ml_backend.progress import Progress, silent

STATE_SCHEMA, STATE_VERSION = "parley.pose_training", "1"
COLUMNS: tuple[str, ...] = ("step", "loss", "validation", "without_sound", "wrong_sound")


@dataclass(frozen=True)
class PoseSettings:
    """How the pose network is trained: window (s), batch, learning rate, frames unscored at a window's start."""

    seconds: float = 12.0
    batch: int = 32
    rate: float = 3e-3
    decay: float = 0.05
    warm_up: int = 50
    every: int = 50
    patience: int = 8
    unscored: int = 6


@dataclass(frozen=True)
class PoseReport:
    """What came of a training: weights file, best step, negative log-likelihood per step (nats), seconds."""

    weights: Path
    step: int
    validation: float
    without_sound: float
    wrong_sound: float
    seconds: float


def train_pose(shard_folder: Path, out: Path, *, config: PoseConfig | None = None, seed: int = 0, steps: int = 600,
               resume: bool = False, settings: PoseSettings | None = None, rights: str = "",
               progress: Progress = silent) -> PoseReport:
    """Train the head-pose network on the shards of a folder.

    Parameters
    ----------
    shard_folder : motion shards, and in ``silent/`` shards of clips without sound; those of split "train" are learned
        from, the others stop the training
    out : folder; gets ``pose.safetensors`` (best), ``last.safetensors`` (state), ``curve.csv`` and ``curve.png``
    config : what to build
    seed : of the first weights, the windows and their variations
    steps : at most; the learning rate falls to zero at the last
    resume : go on from ``last.safetensors`` if it is there; the result is the same as without the break
    settings : see `PoseSettings`
    rights : learn only from shards with these rights ("open"); by default from all

    Raises
    ------
    UserInputError
        If there is no steady motion to learn from, or none to validate on.
    """
    config, settings = config or PoseConfig(), settings or PoseSettings()
    stretches = load_stretches(shard_folder, rights)
    training = [stretch for stretch in stretches if stretch.split == "train"]
    held_out = [stretch for stretch in stretches if stretch.split != "train"]
    if not training or not held_out:
        raise UserInputError(f"{shard_folder} needs head motion of both splits, train and validate; "
                             "prepare more clips.")
    return _Run(config, settings, training, held_out, Path(out), seed, steps).go(resume, progress)


class _Run:
    """State of one training run; everything that `resume` has to bring back is in `save` and `restore`."""

    def __init__(self, config: PoseConfig, settings: PoseSettings, training: list[Stretch], held_out: list[Stretch],
                 out: Path, seed: int, steps: int) -> None:
        self.config, self.settings, self.out, self.seed, self.steps = config, settings, out, seed, steps
        self.general: Manner = general_manner(training, config.stride)
        length = round(settings.seconds * FPS / config.stride)
        self.windows = PoseWindows(training, self.general, config.stride, length, np.random.default_rng(seed))
        self.checks = checks(held_out, self.general, config.stride, length)
        torch.manual_seed(seed)
        self.network: PoseNetwork = build(config)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), settings.rate, weight_decay=settings.decay)
        self.step, self.best, self.seconds = 0, float("inf"), 0.0
        self.rows: list[dict[str, float]] = []

    def go(self, resume: bool, progress: Progress) -> PoseReport:
        if resume and (self.out / "last.safetensors").exists():
            self.restore()
        started, before = time.monotonic(), self.seconds
        while self.step < self.steps and not self.stale():
            progress(self.step, self.steps)
            value = self.update()
            if self.step % self.settings.every == 0 or self.step == self.steps:
                self.seconds = before + time.monotonic() - started
                self.check(value)
        progress(self.steps, self.steps)
        best = min(self.rows, key=lambda row: row["validation"])
        return PoseReport(self.out / "pose.safetensors", int(best["step"]), best["validation"], best["without_sound"],
                          best["wrong_sound"], self.seconds)

    def stale(self) -> bool:
        """Whether nothing has got better for a while."""
        values = [row["validation"] for row in self.rows]
        return bool(values) and len(values) - 1 - int(np.argmin(values)) >= self.settings.patience

    def update(self) -> float:
        """One step on one batch."""
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad()
        value = likelihood(self.network, self.windows.batch(self.settings.batch), self.settings.unscored)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(value.detach())

    def rate(self) -> float:
        """Learning rate of the coming step: linear warm-up, then a half cosine."""
        warm = min(1.0, (self.step + 1) / self.settings.warm_up)
        return self.settings.rate * warm * 0.5 * (1 + float(np.cos(np.pi * self.step / self.steps)))

    def check(self, value: float) -> None:
        """Score the held-out motion, keep the best weights, write curve and state."""
        self.network.eval()
        with torch.no_grad():
            scores = {name: float(likelihood(self.network, batch, self.settings.unscored))
                      for name, batch in self.checks.items()}
        self.rows.append({"step": float(self.step), "loss": value, **scores})
        if scores["validation"] < self.best:
            self.best = scores["validation"]
            facts = {"seed": self.seed, "step": self.step, "steps": self.steps,
                     **{name: round(score, 4) for name, score in scores.items()}}
            save_pose(PoseWeights(self.network, self.general, facts), self.out / "pose.safetensors")
        with (self.out / "curve.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        draw_curve(self.rows, self.out / "curve.png", title="negative log-likelihood per step, nats")
        self.save()

    def save(self) -> None:
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in entry.items()}
        tensors["torch_random"] = torch.get_rng_state()
        state = {"step": self.step, "best": self.best, "rows": self.rows, "seconds": self.seconds,
                 "random": self.windows.generator.bit_generator.state, "settings": self.identity()}
        write_tensors(tensors, {"schema": STATE_SCHEMA, "version": STATE_VERSION, "config": self.config.to_json(),
                                "state": json.dumps(state)}, self.out / "last.safetensors")

    def restore(self) -> None:
        path = self.out / "last.safetensors"
        tensors, metadata = read_tensors(path, STATE_SCHEMA, STATE_VERSION)
        state = json.loads(metadata["state"])
        if metadata["config"] != self.config.to_json() or state["settings"] != self.identity():
            raise UserInputError(f"{path} is of a training with other settings; give another folder or the same ones.")
        self.network.load_state_dict(under(tensors, "network."))
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in under(tensors, "optimiser.").items():
            index, key = name.split(".")
            entries.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({"state": entries, "param_groups": self.optimiser.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["torch_random"])
        self.windows.generator.bit_generator.state = state["random"]
        self.step, self.best = state["step"], state["best"]
        self.rows, self.seconds = state["rows"], state["seconds"]

    def identity(self) -> dict:
        """What makes two runs the same."""
        return {**asdict(self.settings), "seed": self.seed, "steps": self.steps}


def likelihood(network: PoseNetwork, batch: Batch, unscored: int) -> Tensor:
    """Mean negative log-likelihood (nats per step) of the batch's movements, without the first `unscored` steps."""
    raw = network(batch.audio, batch.person, batch.position, batch.movement)
    value = negative_log_likelihood(raw, batch.target, network.config.mixtures)
    mask = batch.mask.clone()
    mask[:, :unscored] = 0
    return (value * mask).sum() / mask.sum().clamp(min=1)


def checks(held_out: list[Stretch], general: Manner, stride: int, length: int) -> dict[str, Batch]:
    """The held-out motion one window after the other: with its sound, without, and with another window's sound."""
    parts = []
    for stretch in held_out:
        frames = (length + 1) * stride
        for start in range(0, max(len(stretch) - frames // 3, 1), frames):
            part = slice(start, start + frames)
            sound = None if stretch.sound is None else stretch.sound[part]
            parts.append(window(stretch.pose[part], sound, general, stride, length))
    right = collate(parts)
    return {"validation": right, "without_sound": replace(right, audio=torch.zeros_like(right.audio)),
            "wrong_sound": replace(right, audio=right.audio.roll(1, 0).flip(1))}
