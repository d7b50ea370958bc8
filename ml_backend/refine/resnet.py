"""ResNet-18 up to pool5 (He et al. 2016), our own module with torchvision's parameter names.

Someone who has ImageNet weights can so use the published memory keys without torchvision.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ml_backend.errors import UserInputError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a short cut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + short)


class ResNet18(nn.Module):
    """Pictures (B, 3, H, W), RGB in [0, 1], to pool5 features (B, 512)."""

    NAME = "resnet18"

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1, self.layer2 = _stage(64, 64, 1), _stage(64, 128, 2)
        self.layer3, self.layer4 = _stage(128, 256, 2), _stage(256, 512, 2)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1((x - self.mean) / self.deviation)))
        h = F.max_pool2d(h, 3, 2, 1)
        h = self.layer4(self.layer3(self.layer2(self.layer1(h))))
        return h.mean((2, 3))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))


def load_resnet18(path: Path) -> ResNet18:
    """ResNet-18 with the weights of a ``.safetensors`` file in torchvision's naming (its ``fc`` is not needed).

    Raises
    ------
    UserInputError
        If the file can't be read or does not hold exactly these tensors.
    """
    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise UserInputError(f"{path} can't be read as weights ({error}); give a .safetensors file.") from error
    tensors = {name: t.float() for name, t in tensors.items() if not name.startswith("fc.")}
    tensors = {name: t.long() if name.endswith("num_batches_tracked") else t for name, t in tensors.items()}
    model = ResNet18()
    try:
        lacking = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise UserInputError(f"{path} has other shapes than ResNet-18; use torchvision's weights.") from error
    absent = [name for name in lacking.missing_keys if not name.endswith("num_batches_tracked")]
    if absent or lacking.unexpected_keys:
        raise UserInputError(
            f"{path} is not ResNet-18 in torchvision's naming (first difference: "
            f"{(absent + lacking.unexpected_keys)[0]}); use torchvision's weights."
        )
    return model.eval()
