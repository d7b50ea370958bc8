"""70x70 PatchGAN on the window of composites and one frame, real or refined (Yi et al. 2020, §3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ml_backend.refine.config import RefinerConfig


class PatchDiscriminator(nn.Module):
    """Three halvings, two steps at stride 1; each output sees 70x70 pixels.

    Input has 3·window + 3 channels (12). BatchNorm as published for ``yi2020``; instance normalisation in the
    default config, since batches of one or two frames give batch statistics that jump.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        c = config.disc_channels
        norm = nn.BatchNorm2d if config.name == "yi2020" else _instance_norm
        layers: list[nn.Module] = [nn.Conv2d(3 * config.window + 3, c, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inputs, outputs, stride in ((c, 2 * c, 2), (2 * c, 4 * c, 2), (4 * c, 8 * c, 1)):
            layers += [nn.Conv2d(inputs, outputs, 4, stride, 1, bias=False), norm(outputs), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * c, 1, 4, 1, 1))

    def forward(self, window: Tensor, frame: Tensor) -> Tensor:
        """Logits (B, 1, h, w), high = real; `window` (B, 3·window, H, W) and `frame` (B, 3, H, W) in [-1, 1]."""
        return self.layers(torch.cat([window, frame], 1))


def _instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)
