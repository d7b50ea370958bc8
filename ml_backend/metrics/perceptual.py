"""LPIPS (Zhang et al. 2018, v0.1 on AlexNet), for users who hold its weights; they may not be shipped."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ml_backend.errors import UserInputError

TRUNK, HEADS = "alexnet.safetensors", "lpips_alex.safetensors"
_LAYERS = ((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2), (6, 192, 384, 3, 1, 1), (8, 384, 256, 3, 1, 1),
           (10, 256, 256, 3, 1, 1))
"""torchvision's number of the layer, channels in and out, kernel, stride, padding."""
_POOLED = (3, 6)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """The distance; make one with `load_lpips`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({str(number): nn.Conv2d(inputs, outputs, kernel, stride, padding)
                                       for number, inputs, outputs, kernel, stride, padding in _LAYERS})
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(1, layer[2], 1, 1), requires_grad=False)
                                      for layer in _LAYERS)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self.shift: Tensor
        self.scale: Tensor

    @torch.no_grad()
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(B,) distance of pictures (B, 3, H, W), RGB in [0, 1], sides of at least 32 pixels."""
        total = torch.zeros(len(a))
        for one, other, head in zip(self._stages(a), self._stages(b), self.heads, strict=True):
            total = total + ((one - other).square() * head).sum(1).mean((1, 2))
        return total

    def _stages(self, x: Tensor) -> list[Tensor]:
        """Unit feature vectors after each convolution."""
        h, found = (2 * x - 1 - self.shift) / self.scale, []
        for number, *_ in _LAYERS:
            h = F.relu(self.features[str(number)](F.max_pool2d(h, 3, 2) if number in _POOLED else h))
            found.append(h / (h.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def load_lpips(folder: Path) -> Lpips:
    """The distance with the weights in `folder`.

    Wanted are ``alexnet.safetensors``, torchvision's AlexNet under its names, and ``lpips_alex.safetensors``, the
    linear layers of LPIPS v0.1 under theirs (lin0.model.1.weight …).

    Raises
    ------
    UserInputError
        If a file is missing, can't be read or holds something else.
    """
    trunk, heads = (_read(Path(folder) / name) for name in (TRUNK, HEADS))
    model = Lpips()
    try:
        for number, *_ in _LAYERS:
            layer = model.features[str(number)]
            layer.load_state_dict({kind: trunk[f"features.{number}.{kind}"].float() for kind in ("weight", "bias")})
        for number, head in enumerate(model.heads):
            head.copy_(heads[f"lin{number}.model.1.weight"].float())
    except (KeyError, RuntimeError) as error:
        raise UserInputError(f"{folder} does not hold torchvision's AlexNet and the linear layers of LPIPS v0.1 "
                             f"({error}); save both state dicts with safetensors.torch.save_file.") from error
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserInputError(f"{path} does not exist; LPIPS needs {TRUNK} (torchvision's AlexNet) and {HEADS} (the "
                             "linear layers of LPIPS v0.1) in the folder that --lpips names.")
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise UserInputError(f"{path} can't be read as weights ({error}); save it as .safetensors again.") from error
