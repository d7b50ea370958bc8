"""Training of the motion network on shards: resumable, stopped early by the validation clips, every figure in a CSV."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.motion.checkpoint import MotionWeights, read_tensors, save_weights, write_tensors
from ml_backend.motion.dataset import Windows, make_clips
from ml_backend.motion.losses import LipLoss, published_loss, scaled_operator
from ml_backend.motion.measure import lip_operator
from ml_backend.motion.network import MotionConfig, MotionEnsemble, build
from ml_backend.motion.score import LipScore, channel_gain, score
from ml_backend.motion.shards import Shard, load_folder
from ml_backend.motion.statistics import Statistics, gather, mouth_channels
from ml_backend.progress import Progress, silent

STATE_SCHEMA, STATE_VERSION = "parley.motion_training", "1"
_PATIENCE = 6


@dataclass(frozen=True)
class TrainSettings:
    """How a configuration is trained: window length (frames), batch, learning rate, variations per clip."""

    window: int = 75
    batch: int = 24
    rate: float = 2e-3
    decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    variations: int = 10
    hide: bool = True
    warm_up: int = 100
    every: int = 50


SETTINGS = {"default": TrainSettings(),
            "yi2020": TrainSettings(window=16, batch=16, rate=2e-4, decay=0.0, betas=(0.5, 0.999), variations=0,
                                    hide=False, warm_up=0, every=100)}


@dataclass
class TrainReport:
    """What came of a training: best validation scores, the step they were reached at, seconds, files."""

    weights: Path
    step: int
    opening: float
    width: float
    seconds: float
    scores: list[LipScore] = field(default_factory=list)


def train(config: MotionConfig, shard_folder: Path, out: Path, *, model: FaceModel | None = None, seed: int = 0,
          steps: int = 450, resume: bool = False, settings: TrainSettings | None = None,
          progress: Progress = silent) -> TrainReport:
    """Train `config` on the shards of a folder.

    Parameters
    ----------
    config : what to build; its `expressions` follow the shards
    shard_folder : folder of motion shards; those of split "train" are learned from, those of "validate" stop it
    out : folder; gets ``motion.safetensors`` (best), ``last.safetensors`` (state to resume from), ``curve.csv``
    model : face model whose lips the loss and the scores look at; without it the first two channels are scored
    seed : of the first weights, the windows and the variations
    steps : at most; the learning rate falls to zero at the last
    resume : go on from ``last.safetensors`` if it is there; the result is the same as without the break
    settings : by default those of the configuration's name

    Raises
    ------
    UserInputError
        If the folder holds no shard for training or none for validation.
    """
    shards = load_folder(shard_folder)
    training = {name: shard for name, shard in shards.items() if str(shard.split) == "train"}
    validation = {name: shard for name, shard in shards.items() if str(shard.split) != "train"}
    if not training or not validation:
        raise UserInputError(f"{shard_folder} needs shards of both splits, train and validate; prepare more clips.")
    settings = settings or SETTINGS.get(config.name, SETTINGS["default"])
    config = replace(config, expressions=len(next(iter(training.values())).names))
    operator = lip_operator(model) if model else plain_operator(config.expressions)
    statistics = gather(list(training.values()), operator[:, -2:])
    plan = _Plan(config, settings, statistics, operator, model, training, validation, Path(out), seed, steps)
    return _Run(plan).go(resume, progress)


@dataclass(frozen=True)
class _Plan:
    """What a training run is given."""

    config: MotionConfig
    settings: TrainSettings
    statistics: Statistics
    operator: np.ndarray
    model: FaceModel | None
    training: dict[str, Shard]
    validation: dict[str, Shard]
    out: Path
    seed: int
    steps: int


class _Run:
    """State of one training run; everything that `resume` has to bring back is in `save` and `restore`."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        config, settings, statistics, seed = plan.config, plan.settings, plan.statistics, plan.seed
        clips = make_clips(plan.training, statistics, config, variations=settings.variations, seed=seed)
        self.held_out = make_clips(plan.validation, statistics, config, variations=0, seed=seed)
        torch.manual_seed(seed)
        self.network: MotionEnsemble = build(config)
        self.windows = Windows(clips, settings.window, np.random.default_rng(seed), settings.hide)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), settings.rate, settings.betas,
                                           weight_decay=settings.decay)
        self.loss = lip_loss(statistics, plan.operator) if config.standardised else None
        self.step, self.best, self.best_step, self.seconds = 0, -np.inf, 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.scores: list[LipScore] = []

    def go(self, resume: bool, progress: Progress) -> TrainReport:
        if resume and (self.plan.out / "last.safetensors").exists():
            self.restore()
        started, before = time.monotonic(), self.seconds
        while self.step < self.plan.steps:
            progress(self.step, self.plan.steps)
            value = self.update()
            if self.step % self.plan.settings.every == 0 or self.step == self.plan.steps:
                self.seconds = before + time.monotonic() - started
                self.check(value)
                if self.stale() and self.step > self.plan.steps // 2:
                    break
        progress(self.plan.steps, self.plan.steps)
        best = max(self.rows, key=lambda row: row["opening"] + row["width"])
        return TrainReport(self.plan.out / "motion.safetensors", self.best_step, best["opening"], best["width"],
                           self.seconds, self.scores)

    def stale(self) -> bool:
        """Whether nothing has got better for a while."""
        return self.step - self.best_step >= _PATIENCE * self.plan.settings.every

    def update(self) -> float:
        """One step of every member on a batch of its own."""
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad()
        total = 0.0
        for member in self.network.members:
            steps, targets, mask = self.windows.batch(self.plan.settings.batch)
            value = self.value(member(steps), targets, mask)
            value.backward()
            total += float(value.detach())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return total / len(self.network.members)

    def value(self, predicted: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        return published_loss(predicted, targets) if self.loss is None else self.loss(predicted, targets, mask)

    def rate(self) -> float:
        """Learning rate of the coming step: warm-up, then a half cosine; constant where there is no warm-up."""
        if not self.plan.settings.warm_up:
            return self.plan.settings.rate
        if self.step < self.plan.settings.warm_up:
            return self.plan.settings.rate * (self.step + 1) / self.plan.settings.warm_up
        part = (self.step - self.plan.settings.warm_up) / max(self.plan.steps - self.plan.settings.warm_up, 1)
        return self.plan.settings.rate * 0.5 * (1 + float(np.cos(np.pi * min(part, 1))))

    def check(self, value: float) -> None:
        """Score the validation clips, keep the best weights, write curve and state."""
        self.network.eval()
        plan = self.plan
        self.scores = score(self.network, self.held_out, plan.validation, plan.statistics, plan.config, plan.model)
        opening = float(np.mean([item.opening for item in self.scores]))
        width = float(np.mean([item.width for item in self.scores]))
        self.rows.append({"step": self.step, "loss": value, "opening": opening, "width": width})
        if opening + width > self.best:
            self.best, self.best_step = opening + width, self.step
            provenance = {"seed": plan.seed, "step": self.step, "steps": plan.steps, "opening": round(opening, 4),
                          "width": round(width, 4)}
            gain = channel_gain(self.network, self.held_out)
            best = MotionWeights(self.network, plan.statistics, gain, plan.operator, provenance)
            save_weights(best, plan.out / "motion.safetensors")
        with (plan.out / "curve.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["step", "loss", "opening", "width"])
            writer.writeheader()
            writer.writerows(self.rows)
        self.save()

    def save(self) -> None:
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in entry.items()}
        tensors["torch_random"] = torch.get_rng_state()
        state = {"step": self.step, "best": self.best, "best_step": self.best_step, "rows": self.rows,
                 "seconds": self.seconds, "random": self.windows.generator.bit_generator.state, "seed": self.plan.seed,
                 "steps": self.plan.steps, "scores": [vars(item) for item in self.scores]}
        write_tensors(tensors, {"schema": STATE_SCHEMA, "version": STATE_VERSION, "config": self.plan.config.to_json(),
                                "state": json.dumps(state)}, self.plan.out / "last.safetensors")

    def restore(self) -> None:
        path = self.plan.out / "last.safetensors"
        tensors, metadata = read_tensors(path, STATE_SCHEMA, STATE_VERSION)
        state = json.loads(metadata["state"])
        same = (state["seed"], state["steps"]) == (self.plan.seed, self.plan.steps)
        if metadata["config"] != self.plan.config.to_json() or not same:
            raise UserInputError(f"{path} is of a training with other settings; give another folder or the same ones.")
        self.network.load_state_dict(_under(tensors, "network."))
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimiser.").items():
            index, key = name.split(".")
            entries.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({"state": entries, "param_groups": self.optimiser.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["torch_random"])
        self.windows.generator.bit_generator.state = state["random"]
        self.step, self.best, self.best_step = state["step"], state["best"], state["best_step"]
        self.rows, self.seconds = state["rows"], state["seconds"]
        self.scores = [LipScore(**item) for item in state["scores"]]


def lip_loss(statistics: Statistics, operator: np.ndarray) -> LipLoss:
    """The loss for standardised targets, with lips that move by `operator` (K, M)."""
    mouth = torch.from_numpy(mouth_channels(statistics.names).astype(np.float32))
    return LipLoss(scaled_operator(torch.from_numpy(operator), torch.from_numpy(statistics.std)), 0.3 + 0.7 * mouth)


def plain_operator(expressions: int) -> np.ndarray:
    """(K, K + 2) float32 for targets of which no face model is known: every channel by itself; the first two lead."""
    return np.eye(expressions, dtype=np.float32)[:, [*range(expressions), 0, 1]]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}
