"""Training of the motion network on shards: resumable, stopped early by the validation clips, every figure in a CSV.

Works on a CPU, on a GPU in mixed precision, and on several under `torchrun`; see `distributed`.
"""

from __future__ import annotations

import copy
import csv
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.metrics.landmarks import lip_operator
from ml_backend.motion import train_state
from ml_backend.motion.card import write_card
from ml_backend.motion.checkpoint import MotionWeights, save_weights
from ml_backend.motion.curve import draw_curve
from ml_backend.motion.dataset import Clip, Windows, make_clips
from ml_backend.motion.distributed import World, world
from ml_backend.motion.losses import LipLoss, published_loss, scaled_operator
from ml_backend.motion.network import MotionConfig, MotionEnsemble, build
from ml_backend.motion.pretrain import initialise
from ml_backend.motion.schedule import SETTINGS, TrainSettings, rate_at
from ml_backend.motion.score import LipScore, channel_gain, run, score
from ml_backend.motion.shards import Shard, load_folder
from ml_backend.motion.statistics import Statistics, gather, mouth_channels
from ml_backend.progress import Progress, silent

WEIGHTS, STATE, CURVE, PICTURE, CARD = "motion.safetensors", "last.safetensors", "curve.csv", "curve.png", "card.md"
COLUMNS: tuple[str, ...] = ("step", "loss", "validation_loss", "opening", "width")
_PATIENCE = 6


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
          steps: int = 450, resume: bool = False, settings: TrainSettings | None = None, rights: str = "",
          pretrained: Path | None = None, device: str = "auto", half: bool | None = None,
          progress: Progress = silent) -> TrainReport:
    """Train `config` on the shards of a folder.

    Parameters
    ----------
    config : what to build; its `expressions` follow the shards
    shard_folder : folder of motion shards; those of split "train" are learned from, those of "validate" stop it
    out : folder; gets ``motion.safetensors`` (best), ``last.safetensors`` (state to resume from), ``curve.csv``,
        ``curve.png`` and ``card.md``, the beginning of a model card
    model : face model whose lips the loss and the scores look at; without it the first two channels are scored
    seed : of the first weights, the windows and the variations
    steps : at most; the learning rate falls to zero at the last
    resume : go on from ``last.safetensors`` if it is there; the result is the same as without the break
    settings : by default those of the configuration's name
    rights : learn only from shards with these rights ("open"); by default from all
    pretrained : file that `pretrain` wrote: encoders and LSTMs to start from
    device, half : see `distributed.world`

    Raises
    ------
    UserInputError
        If the folder holds no shard for training or none for validation, or there is no such device.
    """
    training, validation = _splits(shard_folder, rights)
    settings = settings or SETTINGS.get(config.name, SETTINGS["default"])
    config = replace(config, expressions=len(next(iter(training.values())).names))
    operator = lip_operator(model) if model else plain_operator(config.expressions)
    whole = [shard for shard in training.values() if not len(shard.known)] or list(training.values())
    statistics = gather(whole, operator[:, -2:])
    plan = Plan(config, settings, statistics, operator, model, training, validation, Path(out), seed, steps, rights,
                pretrained)
    with world(device, half) as processes:
        return _Run(plan, processes).go(resume, progress)


def _splits(folder: Path, rights: str) -> tuple[dict[str, Shard], dict[str, Shard]]:
    """The shards to learn from, and those that validate, whatever their rights."""
    shards = load_folder(folder)
    training = {name: shard for name, shard in shards.items() if str(shard.split) == "train"
                and (not rights or str(shard.rights) == rights)}
    validation = {name: shard for name, shard in shards.items() if str(shard.split) != "train"}
    if not training or not validation:
        wanted = f"of both splits, train (rights: {rights})" if rights else "of both splits, train"
        raise UserInputError(f"{folder} needs shards {wanted} and validate; prepare more clips.")
    return training, validation


@dataclass(frozen=True)
class Plan:
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
    rights: str = ""
    pretrained: Path | None = None

    def described(self) -> dict[str, Any]:
        """What has to be the same for a training to go on where it stopped."""
        return json.loads(json.dumps({
            "config": asdict(self.config), "settings": asdict(self.settings), "seed": self.seed, "steps": self.steps,
            "clips": [sorted(self.training), sorted(self.validation)],
            "pretrained": self.pretrained.name if self.pretrained else ""}))


@dataclass
class SoFar:
    """How far a training has come: steps done, the best sum of scores and its step, seconds, curve, last scores."""

    step: int = 0
    best: float = -np.inf
    best_step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    scores: list[LipScore] = field(default_factory=list)


class _Run:
    """One training run; what `resume` has to bring back is in `progress_so_far` and the tensors."""

    def __init__(self, plan: Plan, processes: World) -> None:
        self.plan, self.world = plan, processes
        config, settings, statistics, seed = plan.config, plan.settings, plan.statistics, plan.seed
        self.clips: list[Clip] = make_clips(plan.training, statistics, config, variations=settings.variations,
                                            seed=seed)
        self.held_out = make_clips(plan.validation, statistics, config, variations=0, seed=seed)
        torch.manual_seed(seed)
        network = build(config)
        if plan.pretrained:
            initialise(network, plan.pretrained)
        self.network: MotionEnsemble = network.to(processes.device)
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = torch.optim.AdamW(self.groups(), settings.rate, settings.betas, weight_decay=settings.decay)
        self.scaler = processes.scaler()
        self.loss = lip_loss(statistics, plan.operator) if config.standardised else None
        self.sofar = SoFar()
        self.modules = {"network": self.network, "average": self.average}

    def go(self, resume: bool, progress: Progress) -> TrainReport:
        path, sofar = self.plan.out / STATE, self.sofar
        if resume and path.exists():
            found = train_state.restore(path, self.modules, self.optimiser, self.plan.described())
            self.sofar = sofar = SoFar(**{**found, "scores": [LipScore(**item) for item in found["scores"]]})
        started, before = time.monotonic(), sofar.seconds
        while sofar.step < self.plan.steps:
            progress(sofar.step, self.plan.steps)
            value = self.update()
            if sofar.step % self.plan.settings.every == 0 or sofar.step == self.plan.steps:
                sofar.seconds = before + time.monotonic() - started
                value = self.world.mean(value)
                if self.world.leads:
                    self.check(value)
                if self.world.agreed(self.stale() and sofar.step > self.plan.steps // 2):
                    break
        progress(self.plan.steps, self.plan.steps)
        return self.report()

    def report(self) -> TrainReport:
        sofar, weights = self.sofar, self.plan.out / WEIGHTS
        if not self.world.leads:
            return TrainReport(weights, 0, 0.0, 0.0, 0.0)
        best = max(sofar.rows, key=lambda row: row["opening"] + row["width"])
        report = TrainReport(weights, sofar.best_step, best["opening"], best["width"], sofar.seconds, sofar.scores)
        write_card(self.plan, best, sofar.seconds, sofar.scores, self.plan.out / CARD)
        return report

    def groups(self) -> list[dict[str, Any]]:
        """Heads at the full rate; what was pre-trained more slowly, so that it isn't forgotten."""
        named = list(self.network.named_parameters())
        body = self.plan.settings.body if self.plan.pretrained else 1.0
        return [{"params": [value for name, value in named if (".head." in name) == head], "share": share}
                for head, share in ((True, 1.0), (False, body))]

    def stale(self) -> bool:
        """Whether nothing has got better for a while."""
        return self.sofar.step - self.sofar.best_step >= _PATIENCE * self.plan.settings.every

    def update(self) -> float:
        """One step of every member on a batch of its own."""
        step, plan, device = self.sofar.step, self.plan, self.world.device
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(step, plan.steps, plan.settings) * group["share"]
        # Every step has random numbers of its own, so that a resumed training draws what a whole one would have.
        place = [plan.seed, self.world.rank, step]
        torch.manual_seed(int(np.random.default_rng([*place, 1]).integers(2**62)))
        windows = Windows(self.clips, plan.settings.window, np.random.default_rng(place), plan.settings.hide)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=device)
        for member in self.network.members:
            steps, targets, mask = self.world.moved(*windows.batch(plan.settings.batch))
            with self.world.precision():
                predicted = member(steps)
            value = self.value(predicted.float(), targets, mask)
            self.scaler.scale(value).backward()
            total += value.detach()
        self.world.average_gradients(self.network)
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.sofar.step += 1
        follow(self.average, self.network, plan.settings.average, self.sofar.step)
        return float(total) / len(self.network.members)

    def value(self, predicted: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        if self.loss is None:
            return published_loss(predicted, targets)
        return self.loss.to(predicted.device)(predicted, targets, mask)

    def check(self, value: float) -> None:
        """Score the validation clips, keep the best weights, write curve and state."""
        plan, sofar = self.plan, self.sofar
        network = copy.deepcopy(self.average).cpu().eval()
        sofar.scores = score(network, self.held_out, plan.validation, plan.statistics, plan.config, plan.model)
        opening = float(np.mean([item.opening for item in sofar.scores]))
        width = float(np.mean([item.width for item in sofar.scores]))
        sofar.rows.append({"step": sofar.step, "loss": value, "validation_loss": self.held_out_loss(network),
                           "opening": opening, "width": width})
        if opening + width > sofar.best:
            sofar.best, sofar.best_step = opening + width, sofar.step
            provenance = {"seed": plan.seed, "step": sofar.step, "steps": plan.steps, "opening": round(opening, 4),
                          "width": round(width, 4), "clips": len(plan.training), "rights": plan.rights or "any",
                          "pretrained": bool(plan.pretrained),
                          "speakers": len({str(shard.speaker) for shard in plan.training.values()})}
            gain = channel_gain(network, self.held_out)
            save_weights(MotionWeights(network, plan.statistics, gain, plan.operator, provenance), plan.out / WEIGHTS)
        write_curve(sofar.rows, plan.out)
        train_state.save(plan.out / STATE, self.modules, self.optimiser, plan.described(), asdict(sofar))

    def held_out_loss(self, network: MotionEnsemble) -> float:
        """Mean loss on the whole validation clips."""
        values = []
        for clip in self.held_out:
            take = clip.takes[0]
            raw = torch.from_numpy(run(network, take.steps)[:len(take)])[None]
            values.append(float(self.value(raw, torch.from_numpy(take.targets)[None],
                                           torch.from_numpy(take.mask)[None])))
        return float(np.mean(values))


@torch.no_grad()
def follow(average: torch.nn.Module, network: torch.nn.Module, share: float, step: int) -> None:
    """Move the weights of `average` towards `network`'s; early on faster, so that the first weights are forgotten."""
    share = min(share, step / (step + 9))
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.mul_(share).add_(new, alpha=1 - share)
        else:
            kept.copy_(new)


def write_curve(rows: Iterable[dict[str, float]], out: Path) -> None:
    """The figures of every look as ``curve.csv`` and ``curve.png`` (losses over the first one) in `out`."""
    rows = list(rows)
    with (out / CURVE).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
    first = {name: max(rows[0][name], 1e-9) for name in ("loss", "validation_loss")}
    drawn = [{name: value / first.get(name, 1.0) for name, value in row.items()} for row in rows]
    draw_curve(drawn, out / PICTURE, title="motion training (losses over their first)")


def lip_loss(statistics: Statistics, operator: np.ndarray) -> LipLoss:
    """The loss for standardised targets, with lips that move by `operator` (K, M)."""
    mouth = torch.from_numpy(mouth_channels(statistics.names).astype(np.float32))
    return LipLoss(scaled_operator(torch.from_numpy(operator), torch.from_numpy(statistics.std)), 0.3 + 0.7 * mouth)


def plain_operator(expressions: int) -> np.ndarray:
    """(K, K + 2) float32 for targets of which no face model is known: every channel by itself; the first two lead."""
    return np.eye(expressions, dtype=np.float32)[:, [*range(expressions), 0, 1]]
