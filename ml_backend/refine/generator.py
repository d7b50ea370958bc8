"""The refining network: composites and an identity feature in, a person out (Yi et al. 2020, §3.4, eq. (3)).

o_t = A_t · r_t + (1 - A_t) · C_t: where the attention A is 1 the rendering stays as it is, where it is 0 the generated
colour C replaces it. Pictures are float in [-1, 1] inside the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend.refine.config import FEATURE_SIZE, RefinerConfig

HEADS = 4
"""Channels of the two published heads, colour and attention."""


class AdaIN(nn.Module):
    """Normalisation whose scale and bias come from outside (no running statistics); see `RefinerConfig.normalise`."""

    def __init__(self, channels: int, *, unit_scale: bool, normalise: str = "instance") -> None:
        super().__init__()
        self.channels, self.unit_scale, self.normalise = channels, unit_scale, normalise
        self.typical = nn.BatchNorm2d(channels, affine=False) if normalise == "batch" else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Normalise `x` (B, C, H, W) and apply `style` (B, 2C): scales, then biases."""
        scale, bias = style[:, :, None, None].chunk(2, dim=1)
        if self.typical is not None:
            return self._typical(x) * (1 + scale if self.unit_scale else scale) + bias
        mean = x.mean((2, 3), keepdim=True)
        # A 1x1 or constant map has no spread: the floor keeps its gradient finite.
        spread = (x - mean).square().mean((2, 3), keepdim=True).add(1e-5).rsqrt()
        return (x - mean) * (spread * (1 + scale if self.unit_scale else scale)) + bias

    def _typical(self, x: Tensor) -> Tensor:
        """`x` by what is typical of its channels; a single value tells nothing about that."""
        norm = self.typical
        assert norm is not None
        learning = norm.training and x.shape[0] * x.shape[2] * x.shape[3] > 1
        return F.batch_norm(x, norm.running_mean, norm.running_var, training=learning, momentum=0.05, eps=norm.eps)


class StyleNetwork(nn.Sequential):
    """MLP from an identity feature (B, 512) to the numbers of all AdaIN layers (B, outputs)."""

    def __init__(self, outputs: int, hidden: int, layers: int) -> None:
        widths = [FEATURE_SIZE] + [hidden] * (layers - 1) + [outputs]
        parts: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            parts += [nn.ReLU()] * (i > 0) + [nn.Linear(a, b)]
        super().__init__(*parts)


class StyledConv(nn.Module):
    """3x3 convolution, AdaIN, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, config: RefinerConfig, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = AdaIN(outputs, unit_scale=config.unit_scale, normalise=config.normalise)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x), style), 0.2)


class CompactUNet(nn.Module):
    """The default trunk, made for a CPU: works on 2x2 pixel blocks, halves four times more, adds its skips.

    The first level has no normalisation: instance statistics there would erase the very colours that
    have to be put right, and would change from frame to frame.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        self.heads_count = HEADS + (2 if config.warp else 0)
        self.stem = nn.Conv2d(3 * config.window * 4, widths[0], 3, 1, 1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(StyledConv(a, b, config, stride=2) for a, b in pairs)
        self.same = nn.ModuleList(StyledConv(b, b, config) for _, b in pairs)
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(pairs))
        self.up = nn.ModuleList(StyledConv(a, a, config) for a, _ in reversed(pairs[1:]))
        self.last = nn.Conv2d(widths[0], widths[0], 3, 1, 1)
        self.heads = nn.Conv2d(widths[0], 4 * self.heads_count, 3, 1, 1)
        self.tidy = nn.Conv2d(self.heads_count + 3, self.heads_count, 3, 1, 1)
        self.style_sizes = [2 * layer.norm.channels for layer in (*self.down, *self.same, *self.up)]  # type: ignore[union-attr]
        nn.init.zeros_(self.tidy.weight)
        nn.init.zeros_(self.tidy.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, styles: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Heads before their activations: colour (B, 3, H, W), attention (B, 1, H, W) and, where the config has one,
        displacement (B, 2, H, W), for a window `x` (B, 3·window, H, W)."""
        n = len(self.down)
        h = F.leaky_relu(self.stem(F.pixel_unshuffle(x, 2)), 0.2)
        skips = [h]
        for i in range(n):
            h = self.down[i](h, styles[i])
            h = h + self.same[i](h, styles[n + i])
            skips.append(h)
        skips.pop()
        for i in range(n):
            h = F.interpolate(self.lift[i](h), scale_factor=2.0, mode="nearest") + skips.pop()
            h = h + (self.up[i](h, styles[2 * n + i]) if i < n - 1 else F.leaky_relu(self.last(h), 0.2))
        heads = F.pixel_shuffle(self.heads(h), 2)
        out = self.tidy(torch.cat([F.leaky_relu(heads, 0.2), x[:, -3:]], 1))
        return out.split((3, 1, 2) if self.heads_count > HEADS else (3, 1), dim=1)


class PublishedUNet(nn.Module):
    """The published trunk: 4x4 convolutions with stride 2 down and up, concatenated skips, two 7x7 heads."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        n, unit = len(widths), config.unit_scale
        ins = [3 * config.window, *widths[:-1]]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(ins, widths, strict=True))
        outs = [*reversed(widths[:-1]), config.channels]
        up_ins = [widths[-1], *(2 * w for w in outs[:-1])]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(up_ins, outs, strict=True))
        normed = [*widths[1:-1], *outs]
        self.norms = nn.ModuleList(AdaIN(c, unit_scale=unit) for c in normed)
        self.dropout = nn.Dropout(config.dropout)
        self.colour = nn.Conv2d(config.channels, 3, 7, 1, 3)
        self.attention = nn.Conv2d(config.channels, 1, 7, 1, 3)
        self.levels = n
        self.style_sizes = [2 * c for c in normed]

    def forward(self, x: Tensor, styles: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Heads before their activations, (B, 3, H, W) and (B, 1, H, W), for a window `x` (B, 3·window, H, W)."""
        n, skips, h = self.levels, [], x
        for i in range(n):
            h = self.down[i](h if i == 0 else F.leaky_relu(h, 0.2))
            if 0 < i < n - 1:
                h = self.norms[i - 1](h, styles[i - 1])
            skips.append(h)
        skips.pop()
        for i in range(n):
            k = n - 2 + i
            h = self.norms[k](self.up[i](F.relu(h)), styles[k])
            h = self.dropout(h) if i < 3 else h
            h = torch.cat([h, skips.pop()], 1) if skips else h
        h = F.relu(h)
        return self.colour(h), self.attention(h)


class Generator(nn.Module):
    """Trunk, style network and eq. (3).

    An untrained default generator passes the composite through, bit for bit: its heads start at zero, and colour is
    the composite plus what the head says. Nothing of the rendering's detail is lost unless that pays.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        trunk = PublishedUNet(config) if config.name == "yi2020" else CompactUNet(config)
        self.trunk = trunk
        self.style_sizes = [int(size) for size in trunk.style_sizes]
        self.style = StyleNetwork(sum(self.style_sizes), config.style_hidden, config.style_layers)
        if config.unit_scale:
            # Small first styles: 1 + s near 1, biases near 0, yet not exactly zero so that identities differ at once.
            nn.init.normal_(self.style[-1].weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(self.style[-1].bias)  # type: ignore[arg-type]

    def forward(self, window: Tensor, identity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Refine the last frame of `window`.

        Parameters
        ----------
        window : (B, 3·window, H, W) float in [-1, 1], composites t-2, t-1, t along the channels
        identity : (B, 512) float, L2-normalised

        Returns
        -------
        refined (B, 3, H, W) in [-1, 1]; colour (B, 3, H, W); attention (B, 1, H, W) in [0, 1], 1 = the rendering stays
        """
        styles = self.style(identity).split(self.style_sizes, dim=1)
        colour, logit, *moved = self.trunk(window, styles)
        now = window[:, -3:]
        colour = self._colour(colour, displaced(now, moved[0], self.config.warp) if moved else now)
        limit = self.config.attention_limit
        logit = limit * torch.tanh(logit / limit) if limit else logit
        attention = 1 - self.config.strength * (1 - torch.sigmoid(logit + self.config.attention_bias))
        return attention * now + (1 - attention) * colour, colour, attention

    def _colour(self, head: Tensor, now: Tensor) -> Tensor:
        if self.config.colour_base == "none":
            return torch.tanh(head)
        base = blur(now) if self.config.colour_base == "blurred" else now
        return (base + 2 * torch.tanh(head)).clamp(-1, 1)


def displaced(frame: Tensor, head: Tensor, most: float) -> Tensor:
    """`frame` (B, C, H, W) looked up, bilinearly, up to `most` pixels away, as `head` (B, 2, H, W) says: x, then y.

    Rendered features that lie a pixel beside the real ones are moved with all their detail, which a colour that is
    added could only blur.
    """
    height, width = frame.shape[-2:]
    shift = most * torch.tanh(head.float())
    x = torch.arange(width, device=frame.device, dtype=torch.float32) + shift[:, 0]
    y = torch.arange(height, device=frame.device, dtype=torch.float32)[:, None] + shift[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    with torch.autocast(frame.device.type, enabled=False):
        return F.grid_sample(frame.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def blur(frame: Tensor, block: int = 8) -> Tensor:
    """`frame` (B, C, H, W) without detail finer than about `block` pixels."""
    return F.interpolate(F.avg_pool2d(frame, block), scale_factor=float(block), mode="bilinear", align_corners=False)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values in `module`."""
    return sum(p.numel() for p in module.parameters())
