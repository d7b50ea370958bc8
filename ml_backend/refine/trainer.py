"""One training run's networks, optimisers and steps; knows nothing of clips, files' places or time budgets."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend.errors import ArtefactError
from ml_backend.refine.config import RefinerConfig, TrainOptions
from ml_backend.refine.dataset import Batch
from ml_backend.refine.device import agreed, autocast, average_gradients, mean
from ml_backend.refine.discriminator import PatchDiscriminator
from ml_backend.refine.generator import Generator
from ml_backend.refine.losses import (
    adversarial_loss,
    attention_loss,
    detail_loss,
    discriminator_loss,
    edge_loss,
    structure_loss,
    variation_loss,
    weighted_l1,
)
from ml_backend.refine.memory import Memory
from ml_backend.refine.weights import (
    RefinerWeights,
    load_tensors,
    memory_state,
    pack,
    restore_memory,
    save_tensors,
    unpack,
)

STATE_SCHEMA = "parley.refiner.state"
BETAS = (0.5, 0.999)
RELAX = 0.05, 0.2
"""Shares of the budget between which λ2 changes, see `TrainOptions.attention_last`."""
ELSEWHERE = 0.2
"""Share of the squares trained on that lie anywhere, not around a feature."""


class Trainer:
    """Generator, its running average, discriminator and memory in training.

    Parameters
    ----------
    start : weights to begin with; None = from scratch
    device : where to train
    seed : of first weights, crops and ages
    """

    def __init__(
        self,
        config: RefinerConfig,
        options: TrainOptions,
        device: torch.device,
        seed: int,
        start: RefinerWeights | None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = Generator(config)
            self.discriminator = PatchDiscriminator(config)
            self.memory = Memory(config)
        if start is not None:
            self.generator.load_state_dict(start.generator.state_dict())
            if start.discriminator is not None:
                self.discriminator.load_state_dict(start.discriminator.state_dict())
            # The general memory's layer is kept, its people are not: this memory is to know one clip.
            self.memory.query_layer.load_state_dict(start.memory.query_layer.state_dict())
        self.config, self.options, self.device = config, options, device
        # What is typical of all people is known better from general weights than from a few squares of one clip.
        self.settled = start is not None
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        for network in (self.generator, self.discriminator, self.memory, self.average):
            network.to(device)
        for network in (self.generator, self.discriminator, self.average):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), options.learning_rate,
                                          (options.momentum, BETAS[1])),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), options.disc_rate, BETAS),
            "memory": torch.optim.Adam(self.memory.query_layer.parameters(), options.memory_rate, BETAS),
        }
        self.ages = torch.Generator().manual_seed(seed)
        self.crops = np.random.default_rng(seed)
        self.steps = 0

    def step(self, batch: Batch, spatial: Tensor, identity: Tensor, share: float) -> dict[str, float]:
        """One iteration in the published order: memory layer, memory write, D, G.

        Parameters
        ----------
        batch : pictures of B frames
        spatial, identity : (B, 512) each, features of composite and real frame
        share : of the budget that is used up, [0, 1]

        Returns
        -------
        Losses by name.
        """
        batch, spatial, identity = batch.to(self.device), spatial.to(self.device), identity.to(self.device)
        losses = {"memory": self._memory_step(spatial, identity)}
        if self.options.identity_drop:
            kept = self.crops.random(len(identity)) >= self.options.identity_drop
            identity = identity * torch.from_numpy(kept.astype(np.float32)).to(identity)[:, None]
        batch = self._scaled(batch, share)
        gan = self.options.gan_weight * ramp(share, self.options.gan_start, self.options.gan_full)
        self.generator.train()
        if self.settled:
            settle(self.generator)
        with autocast(self.device):
            output, _, attention = self.generator(batch.window, identity)
        output, attention = output.float(), attention.float()
        patch = self._square(batch.weight, self.options.disc_crop) if gan > 0 else None
        if patch is not None:
            losses["discriminator"] = self._discriminator_step(batch, output.detach(), patch)
        losses |= self._generator_step(batch, output, attention, gan, patch, share)
        self._update_average()
        self.steps += 1
        return losses

    def _scaled(self, batch: Batch, share: float) -> Batch:
        """Half resolution first, then squares around the features, whole frames at last."""
        multiple, options = self.config.multiple, self.options
        if share < options.coarse_share and not any(side % (2 * multiple) for side in batch.weight.shape[-2:]):
            return batch.halved()
        if options.crop >= multiple and share < options.crop_until:
            return batch.cut(*self._square(batch.weight, options.crop - options.crop % multiple))
        return batch

    def _memory_step(self, spatial: Tensor, identity: Tensor) -> float:
        loss = self.memory.triplet_loss(self.memory.query(spatial), identity)
        value = float(loss.detach())
        # Where one process has a triplet all take the step: a gradient is asked of each.
        if mean(value) > 0:
            self._descend("memory", loss)
        self.memory.write(self.memory.query(spatial).detach(), identity, self.ages)
        return value

    def _discriminator_step(self, batch: Batch, output: Tensor, patch: tuple[slice, slice]) -> float:
        rows, columns = patch
        window = batch.window[..., rows, columns]
        self.discriminator.train().requires_grad_(True)
        with autocast(self.device):
            real = self.discriminator(window, batch.target[..., rows, columns])
            fake = self.discriminator(window, output[..., rows, columns])
        loss = discriminator_loss(real.float(), fake.float())
        self._descend("discriminator", loss)
        return float(loss.detach())

    def _generator_step(
        self,
        batch: Batch,
        output: Tensor,
        attention: Tensor,
        gan: float,
        patch: tuple[slice, slice] | None,
        share: float,
    ) -> dict[str, float]:
        o = self.options
        terms = {
            "l1": o.l1_weight * weighted_l1(output, batch.target, batch.weight),
            "attention": self._attention_weight(share) * attention_loss(attention),
            "variation": o.variation_weight * variation_loss(attention),
        }
        if o.structure_weight:
            terms["structure"] = o.structure_weight * structure_loss(output, batch.target, batch.weight)
        if o.edge_weight:
            terms["edges"] = o.edge_weight * edge_loss(output, batch.target, batch.weight)
        if o.detail_weight:
            terms["detail"] = o.detail_weight * detail_loss(output, batch.target, batch.weight)
        if patch is not None:
            rows, columns = patch
            self.discriminator.requires_grad_(False)
            with autocast(self.device):
                logits = self.discriminator(batch.window[..., rows, columns], output[..., rows, columns])
            terms["gan"] = gan * adversarial_loss(logits.float(), True)
        rate = o.learning_rate * max(0.05, 0.5 + 0.5 * math.cos(math.pi * min(share, 1.0)))
        self._descend("generator", torch.stack(list(terms.values())).sum(), rate * min(1.0, (self.steps + 1) / 20))
        return {name: float(value.detach()) for name, value in terms.items()}

    def _attention_weight(self, share: float) -> float:
        first, last = self.options.attention_weight, self.options.attention_last
        return first if last is None else first + (last - first) * ramp(share, *RELAX)

    def _descend(self, name: str, loss: Tensor, rate: float | None = None) -> None:
        if not agreed(bool(torch.isfinite(loss.detach()))):
            # One such step would end in weights that never come back.
            return
        optimiser = self.optimisers[name]
        for group in optimiser.param_groups:
            group["lr"] = rate if rate is not None else group["lr"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(optimiser)
        optimiser.step()

    def _square(self, weight: Tensor, side: int) -> tuple[slice, slice]:
        """A random square of `side` pixels (0 = all), mostly where the weights say the features are."""
        height, width = weight.shape[-2:]
        side = min(side or max(height, width), height, width)
        extra = (weight.mean((0, 1), keepdim=True) - 1).clamp(min=0)
        chance = F.adaptive_avg_pool2d(extra, 16)[0, 0].double().cpu().numpy() ** 2
        # Beside mouth and eyes composites are nearly right; where no features are known, anywhere.
        chance = ELSEWHERE / 256 + (1 - ELSEWHERE) * chance / max(chance.sum(), 1e-9)
        cell = int(self.crops.choice(256, p=chance.ravel() / chance.sum()))
        y = int(np.clip((cell // 16 + 0.5) * height / 16 - side / 2, 0, height - side))
        x = int(np.clip((cell % 16 + 0.5) * width / 16 - side / 2, 0, width - side))
        return slice(y, y + side), slice(x, x + side)

    @torch.no_grad()
    def _update_average(self) -> None:
        # A short run would otherwise still average over its first, untrained steps.
        keep = min(self.options.ema, (1 + self.steps) / (10 + self.steps))
        for kept, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            kept.lerp_(now, 1 - keep)
        for kept, now in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(now)

    @torch.no_grad()
    def refine(self, batch: Batch, identity: Tensor) -> Tensor:
        """Refined frames (B, 3, H, W) in [-1, 1] by the averaged weights."""
        window = batch.window.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device):
            return self.average(window, identity.to(self.device))[0].float().cpu()

    def save(self, path: Path, metadata: dict[str, str]) -> None:
        """Write everything that a resumed run needs, beside `metadata`."""
        tensors = self._networks_state()
        for name, optimiser in self.optimisers.items():
            for i, state in optimiser.state_dict()["state"].items():
                tensors |= pack(f"adam.{name}.{i}", state)
        save_tensors(path, tensors, {"schema": STATE_SCHEMA, "version": "1", "steps": str(self.steps), **metadata})

    def _networks_state(self) -> dict[str, Tensor]:
        state = pack("memory", memory_state(self.memory))
        for name in ("generator", "discriminator", "average"):
            state |= pack(name, getattr(self, name).state_dict())
        return state

    def restore(self, path: Path) -> dict[str, str]:
        """Inverse of `save`; returns the metadata.

        Raises
        ------
        ArtefactError
            If the file is missing, damaged, or of a run with other sizes.
        """
        tensors, metadata = load_tensors(path, STATE_SCHEMA)
        try:
            for name in ("generator", "discriminator", "average"):
                getattr(self, name).load_state_dict(unpack(name, tensors))
            restore_memory(self.memory, unpack("memory", tensors))
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(self._adam_state(name, optimiser, tensors))
            self.steps = int(metadata["steps"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ArtefactError(f"{path} is of another training run; delete it and train again.") from error
        # Otherwise a resumed run would repeat the crops it began with.
        self.crops = np.random.default_rng([self.steps])
        return metadata

    @staticmethod
    def _adam_state(name: str, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in unpack(f"adam.{name}", tensors).items():
            number, entry = key.split(".")
            state.setdefault(int(number), {})[entry] = tensor
        return {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}


def settle(network: nn.Module) -> None:
    """Let batch normalisation go by the statistics it has."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def ramp(share: float, start: float, full: float) -> float:
    """0 up to `start`, 1 from `full`, linear in between."""
    if full <= start:
        return float(share >= start)
    return min(max((share - start) / (full - start), 0.0), 1.0)


def pick_frames(count: int, batch: int, step: int, seed: int) -> Sequence[int]:
    """Frames of step `step`: every epoch in another order, each frame once, the same for the same seed."""
    picked = []
    for k in range(step * batch, (step + 1) * batch):
        order = np.random.default_rng([seed, k // count]).permutation(count)
        picked.append(int(order[k % count]))
    return picked
