"""Trains the reader of mouths in single pictures (`ml_backend.reconstruct.mouth_reader`); see `learn_still`.

Drawn heads tell what a mouth really does, frames of people what real skin, beards and cameras look like, with their
whole clips' solution for the truth. Every step sees the views moved, turned, mirrored, in other light, blurred and with
noise, so that the network reads lips and neither pixels nor Blender's smoothness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import mouth_reader
from ml_backend.reconstruct.mouth_reader import SPREAD, MouthReader, others, told
from ml_backend.reconstruct.mouth_view import HEIGHT, WIDTH

READ = ("mouth", "jaw", "cheekPuff")
"""How the channels begin that the network is asked for; it learns better from more than those that are believed."""
WEIGHTS = {"mouthPucker": 4.0, "mouthFunnel": 2.0, "mouthSmileLeft": 2.0, "mouthSmileRight": 2.0, "jawOpen": 2.0}
OTHERS = 0.5
"""Of channels in the loss, and of the others."""
KERNELS, STRIDES = (16, 32, 32, 64, 64), (2, 2, 1, 2, 1)
HIDDEN, TOLD, DROPPED = 48, 16, 0.3
STEPS, BATCH, RATE, DECAY = 2000, 64, 2e-3, 0.05
PEOPLE = 0.4
"""Share of people's frames among those of a step, beside that of heads."""
BETA = 0.5
"""Error from which on the loss grows linearly: people's truth has outliers. With less, rare shapes would be taken for
none: most mouths don't pucker."""
TURN, SIZE, SHIFT = 0.08, 0.06, 0.06
"""Greatest turn (radians), share of the size and of the view's half width by which a view is moved."""
LIGHT, TINT, LEVEL, NOISE, BLURRED = 0.2, 0.1, 0.05, 0.03, 0.3
"""Greatest change of gain, of a colour's gain, of the level; of noise; how often a view is blurred."""
USUAL = 98.0
"""Percentage of the views learned from that lie within the limit of likeness."""


@dataclass(frozen=True)
class Mouths:
    """N mouths: views (N, H, W, 3) uint8, solved expression (N, K), angles (N, 3) radians, true weights (N, K).

    guess (N, G) is what `photo_prior` says that was learned from others.
    """

    views: np.ndarray
    expression: np.ndarray
    angles: np.ndarray
    guess: np.ndarray
    weights: np.ndarray


class Network(nn.Module):
    """What `MouthReader` evaluates, with normalised batches."""

    def __init__(self, known: int, read: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        depth, height, width = 3, HEIGHT, WIDTH
        for count, stride in zip(KERNELS, STRIDES, strict=True):
            layers += [nn.Conv2d(depth, count, 3, stride, 1), nn.BatchNorm2d(count), nn.ReLU()]
            depth, height, width = count, (height - 1) // stride + 1, (width - 1) // stride + 1
        self.picture = nn.Sequential(*layers)
        self.drop = nn.Dropout(DROPPED)
        self.dense = nn.Linear(depth * height * width, HIDDEN)
        self.told = nn.Linear(known, TOLD)
        self.out = nn.Linear(HIDDEN + TOLD + known, read)

    def forward(self, views: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """(N, C) weights of `views` (N, 3, H, W) in [0, 1] and of what is `told` (N, K + 4 + G)."""
        spread = views.std((1, 2, 3), keepdim=True) + SPREAD
        seen = self.picture((views - views.mean((2, 3), keepdim=True)) / spread)
        hidden = self.dense(self.drop(seen.flatten(1))).relu()
        return self.out(torch.cat([hidden, self.told(known).relu(), known], 1))


def learn(heads: Mouths, people: Mouths | None, mean: np.ndarray, names: list[str], guessed: list[str], *,
          steps: int = STEPS, seed: int = 0, progress: Progress = silent) -> MouthReader:
    """Train on `heads`, and on `people` `PEOPLE` times as often.

    The model is known by its landmarks' `mean` (L, 3) and its channels' `names` (K); guesses are of those `guessed`.
    """
    random, wanted = np.random.default_rng(seed), [name for name in names if name.startswith(READ)]
    torch.manual_seed(seed)
    parts = [heads] if people is None or not len(people.views) else [heads, people]
    network = Network(len(names) + 4 + len(guessed), len(wanted))
    weight = torch.tensor([WEIGHTS.get(name, OTHERS) for name in wanted])
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    for step in range(steps):
        views, known, truth = _batch(parts, names, guessed, wanted, random)
        error = functional.smooth_l1_loss(network(views, known), truth, beta=BETA, reduction="none")
        optimiser.zero_grad()
        (error * weight).mean().backward()
        optimiser.step()
        schedule.step()
        progress(step + 1, steps)
    reader = _folded(network.eval(), mean, names, guessed, wanted)
    seen = np.concatenate([part.views for part in parts])
    usual, modes, unlike = mouth_reader.likeness(seen)
    known = replace(reader, usual=usual, modes=modes, unlike=unlike)
    return replace(known, limit=np.percentile(known.unlikeness(seen), [USUAL]).astype(np.float32))


def _batch(parts: list[Mouths], names: list[str], guessed: list[str], wanted: list[str], random: np.random.Generator
           ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Views (N, 3, H, W), what is told (N, K + 4 + G) and true weights (N, C) of some mouths, changed at random."""
    counts = [BATCH] if len(parts) == 1 else [round(BATCH / (1 + PEOPLE)), BATCH - round(BATCH / (1 + PEOPLE))]
    rows = [random.integers(len(part.views), size=count) for part, count in zip(parts, counts, strict=True)]
    views, expression, angles, guess, weights = (
        np.concatenate([getattr(part, field)[row] for part, row in zip(parts, rows, strict=True)])
        for field in ("views", "expression", "angles", "guess", "weights"))
    turned = random.random(len(views)) < 0.5
    swap = others(names)
    views = np.where(turned[:, None, None, None], views[:, :, ::-1], views)
    expression = np.where(turned[:, None], expression[:, swap], expression)
    weights = np.where(turned[:, None], weights[:, swap], weights)
    angles = np.where(turned[:, None], angles * [1, -1, -1], angles)
    guess = np.where(turned[:, None], guess[:, others(guessed)], guess)
    plain = torch.from_numpy(views.astype(np.float32) / 255).permute(0, 3, 1, 2)
    read = [names.index(name) for name in wanted]
    return (changed(plain, random), torch.from_numpy(told(expression, angles, guess)),
            torch.from_numpy(weights[:, read].astype(np.float32)))


def changed(views: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """`views` (N, 3, H, W) in [0, 1], moved and turned a little, in other light, some blurred, with noise."""
    count, _, height, width = views.shape
    angle, size = random.uniform(-TURN, TURN, count), 1 + random.uniform(-SIZE, SIZE, count)
    across, down = size * np.cos(angle), size * np.sin(angle)
    place = np.zeros((count, 2, 3), np.float32)
    place[:, 0, 0], place[:, 0, 1] = across, -down * height / width
    place[:, 1, 0], place[:, 1, 1] = down * width / height, across
    place[:, :, 2] = random.uniform(-SHIFT, SHIFT, (count, 2))
    grid = functional.affine_grid(torch.from_numpy(place), list(views.shape), align_corners=False)
    out = functional.grid_sample(views, grid, padding_mode="border", align_corners=False)
    soft = torch.from_numpy(random.random(count) < BLURRED)
    out[soft] = functional.avg_pool2d(out[soft], 3, 1, 1, count_include_pad=False)

    def drawn(most: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(random.uniform(-most, most, (count, *shape)).astype(np.float32))

    out = out * (1 + drawn(LIGHT, 1, 1, 1)) * (1 + drawn(TINT, 3, 1, 1)) + drawn(LEVEL, 1, 1, 1)
    noise = torch.from_numpy(random.standard_normal(out.shape, dtype=np.float32))
    return (out + noise * NOISE * torch.from_numpy(random.random((count, 1, 1, 1), dtype=np.float32))).clamp(0, 1)


def _folded(network: Network, mean: np.ndarray, names: list[str], guessed: list[str], wanted: list[str]) -> MouthReader:
    """`network` as arrays, its batches' normalisation within the kernels; likeness is left open."""
    kernels, shifts = [], []
    blocks = list(network.picture)
    for convolution, batch in zip(blocks[::3], blocks[1::3], strict=True):
        assert isinstance(convolution, nn.Conv2d) and isinstance(batch, nn.BatchNorm2d)
        assert convolution.bias is not None and batch.running_var is not None and batch.running_mean is not None
        gain = batch.weight / torch.sqrt(batch.running_var + batch.eps)
        kernels.append((convolution.weight * gain[:, None, None, None]).detach().numpy())
        shifts.append((batch.bias + gain * (convolution.bias - batch.running_mean)).detach().numpy())

    def layer(one: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
        return one.weight.detach().numpy(), one.bias.detach().numpy()

    nothing = np.zeros(1, np.float32)
    return MouthReader(mean.astype(np.float32), np.array(names), np.array(wanted), np.array(guessed), tuple(kernels),
                       STRIDES, tuple(shifts), *layer(network.dense), *layer(network.told), *layer(network.out),
                       nothing, nothing, nothing, nothing)
