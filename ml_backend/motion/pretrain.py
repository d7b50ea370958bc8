"""Before lips: encoder and LSTM learn to hear phones, from far more voices than there are faces.

What few filmed minutes teach about a mouth's width they teach better to a network that knows an "oo" from an "ee" in
any voice. The heads that name the phones are thrown away afterwards; at run time nothing is recognised.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ml_backend.audio.features import STEPS_PER_FRAME, step_count
from ml_backend.audio.phones import PHONES, frame_shares
from ml_backend.errors import ArtefactError
from ml_backend.motion import phone_shards, train_state
from ml_backend.motion.augment import Variation, draw, vary
from ml_backend.motion.checkpoint import read_tensors, write_tensors
from ml_backend.motion.curve import draw_curve
from ml_backend.motion.dataset import Clip, Take, Windows, features
from ml_backend.motion.distributed import World, world
from ml_backend.motion.network import MotionConfig, MotionEnsemble, MotionNetwork, build
from ml_backend.motion.phone_shards import PhoneShard
from ml_backend.motion.prepare import resample
from ml_backend.motion.schedule import TrainSettings, rate_at
from ml_backend.progress import Progress, silent

SCHEMA, VERSION = "parley.phone_encoder", "1"
WEIGHTS, STATE, CURVE, PICTURE = "phones.safetensors", "last.safetensors", "curve.csv", "curve.png"
SETTINGS = TrainSettings(variations=2, average=0.0)
SPEAKER_SECONDS = 120.0
_EARLY = 0.5


class PhoneMember(nn.Module):
    """A motion network that names the phone of each frame, twice: after its encoder and after its LSTM."""

    def __init__(self, network: MotionNetwork) -> None:
        super().__init__()
        self.network = network
        self.early = nn.Linear(network.encoder.size, len(PHONES))
        self.late = nn.Linear(network.head.in_features, len(PHONES))

    def forward(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """`steps` (B, 4T + 24, D) → two (B, T, 40) unnormalised log probabilities."""
        encoded = self.network.encoder(steps)
        states, _ = self.network.recurrent(encoded)
        return self.early(encoded), self.late(self.network.dropout(states))


@dataclass
class PretrainReport:
    """What came of it: the file, and the share of the last training frames whose phone was named rightly."""

    weights: Path
    right: float


def pretrain(config: MotionConfig, dataset: Path, out: Path, *, seed: int = 0, steps: int = 600, resume: bool = False,
             settings: TrainSettings = SETTINGS, rights: str = "", device: str = "auto", half: bool | None = None,
             progress: Progress = silent) -> PretrainReport:
    """Teach all members of `config` the phones of a data set's phone shards.

    Parameters are those of `train`; `out` gets ``phones.safetensors``, ``last.safetensors``, ``curve.csv`` and
    ``curve.png``.

    Raises
    ------
    UserInputError
        If there is no phone shard, or no such device.
    """
    shards = phone_shards.load_folder(dataset, rights)
    with world(device, half) as processes:
        run = _Run(config, settings, shards, Path(out), seed, steps, processes)
        return run.go(resume, progress)


def initialise(network: MotionEnsemble, path: Path) -> None:
    """Give `network` the encoders and LSTMs in the file that `pretrain` wrote; its heads stay as they are.

    Raises
    ------
    ArtefactError
        If the file is no such file, or of another configuration.
    """
    tensors, metadata = read_tensors(path, SCHEMA, VERSION)
    config = MotionConfig.from_json(metadata.get("config", ""))
    if _shape(config) != _shape(network.config):
        raise ArtefactError(f"{path} was learned by a network of another shape; run `parley train phones` with the "
                            "same --config.")
    for index, member in enumerate(network.members):
        learned = train_state.under(tensors, f"{index % config.members}.")
        member.load_state_dict({**member.state_dict(), **{name: value.float() if value.is_floating_point() else value
                                                          for name, value in learned.items()}})


def _shape(config: MotionConfig) -> MotionConfig:
    """What decides about the shapes of encoder and LSTM."""
    return replace(config, name="", members=1, expressions=1, dropout=0.0, standardised=True)


def make_phone_clips(shards: dict[str, PhoneShard], config: MotionConfig, *, variations: int, seed: int) -> list[Clip]:
    """Features and phone shares of every shard, unchanged and in `variations`."""
    clips = []
    for number, (name, shard) in enumerate(shards.items()):
        generator = np.random.default_rng([seed, number])
        shares = frame_shares(shard.phones)
        changes = [Variation(), *(draw(generator) for _ in range(variations))]
        clips.append(Clip(name, str(shard.speaker), [_take(shard, shares, change, config, generator)
                                                     for change in changes]))
    return clips


def _take(shard: PhoneShard, shares: np.ndarray, change: Variation, config: MotionConfig,
          generator: np.random.Generator) -> Take:
    steps = features(config, vary(shard.samples, change, generator), change.warp)
    frames = (len(steps) - step_count(1)) // STEPS_PER_FRAME + 1
    positions = np.arange(frames) * change.speed
    return Take(steps.astype(np.float16), resample(shares, positions),
                (positions <= len(shares) - 1 + 1e-6).astype(np.float32))


class _Run:
    def __init__(self, config: MotionConfig, settings: TrainSettings, shards: dict[str, PhoneShard], out: Path,
                 seed: int, steps: int, processes: World) -> None:
        self.config, self.settings, self.out, self.world = config, settings, out, processes
        self.seed, self.steps, self.step = seed, steps, 0
        self.rows: list[dict[str, float]] = []
        self.clips = make_phone_clips(shards, config, variations=settings.variations, seed=seed)
        torch.manual_seed(seed)
        network = build(config)
        self.network = nn.ModuleList(PhoneMember(cast(MotionNetwork, member))
                                     for member in network.members).to(processes.device)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), settings.rate, settings.betas,
                                           weight_decay=settings.decay)
        self.scaler = processes.scaler()
        self.plan = {"config": asdict(config), "settings": json.loads(json.dumps(asdict(settings))), "seed": seed,
                     "steps": steps, "clips": sorted(shards)}

    def go(self, resume: bool, progress: Progress) -> PretrainReport:
        modules, state = {"network": self.network}, self.out / STATE
        if resume and state.exists():
            found = train_state.restore(state, modules, self.optimiser, self.plan)
            self.step, self.rows = found["step"], found["rows"]
        losses: list[tuple[float, float]] = []
        while self.step < self.steps:
            progress(self.step, self.steps)
            losses.append(self.update())
            if self.step % self.settings.every == 0 or self.step == self.steps:
                loss, right = (self.world.mean(float(value)) for value in np.mean(losses, axis=0))
                losses = []
                self.rows.append({"step": self.step, "loss": loss, "right": right})
                if self.world.leads:
                    self.write()
                    train_state.save(state, modules, self.optimiser, self.plan, {"step": self.step, "rows": self.rows})
        progress(self.steps, self.steps)
        return PretrainReport(self.out / WEIGHTS, self.rows[-1]["right"])

    def update(self) -> tuple[float, float]:
        """One step of every member; loss and share of frames named rightly."""
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.steps, self.settings)
        place = [self.seed, self.world.rank, self.step]
        torch.manual_seed(int(np.random.default_rng([*place, 1]).integers(2**62)))
        windows = Windows(self.clips, self.settings.window, np.random.default_rng(place), self.settings.hide,
                          SPEAKER_SECONDS)
        self.optimiser.zero_grad()
        figures = []
        for member in self.network:
            steps, shares, mask = self.world.moved(*windows.batch(self.settings.batch))
            with self.world.precision():
                early, late = member(steps.float())
            value = _EARLY * cross_entropy(early.float(), shares, mask) + cross_entropy(late.float(), shares, mask)
            self.scaler.scale(value).backward()
            right = ((late.argmax(-1) == shares.argmax(-1)) * mask).sum() / mask.sum()
            figures.append((float(value.detach()), float(right)))
        self.world.average_gradients(self.network)
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        loss, right = np.mean(figures, axis=0)
        return float(loss), float(right)

    def write(self) -> None:
        """Weights without any head, and the curve."""
        tensors = {f"{index}.{name}": value.cpu() for index, member in enumerate(self.network)
                   for name, value in member.state_dict().items() if isinstance(member, PhoneMember)}
        kept = {f"{name.split('.', 1)[0]}.{name.split('.network.', 1)[1]}": value.half() if value.is_floating_point()
                else value for name, value in tensors.items() if ".network." in name and ".network.head." not in name}
        write_tensors(kept, {"schema": SCHEMA, "version": VERSION, "config": self.config.to_json(),
                             "provenance": json.dumps({"step": self.step, **self.plan}, sort_keys=True)},
                      self.out / WEIGHTS)
        write_rows(self.rows, self.out / CURVE)
        draw_curve([{**row, "loss": row["loss"] / self.rows[0]["loss"]} for row in self.rows], self.out / PICTURE,
                   title="phones (loss over the first, share of frames named rightly)")


def cross_entropy(raw: Tensor, shares: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy of (B, T, 40) with soft targets over the frames where `mask` (B, T) is 1."""
    return -((shares * raw.log_softmax(-1)).sum(-1) * mask).sum() / mask.sum().clamp(min=1)


def write_rows(rows: Sequence[dict[str, float]], path: Path) -> None:
    """`rows` as CSV."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
