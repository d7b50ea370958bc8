"""Audio encoders and the recurrent network that turn speech features into expression and head pose, frame by frame.

Three configurations: ``yi2020`` is the published network (Yi et al. 2020: convolutions over 28 × 12 cepstra, two fully
connected layers, a 3-layer LSTM, 29.4 M parameters); ``default`` is Parley's own, a fiftieth of the cost: strided
convolutions over the 10 ms steps and a bidirectional LSTM, a few of them side by side, their outputs averaged;
``streaming`` is one of those whose LSTM looks back only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace

import torch
from torch import Tensor, nn

from ml_backend.audio.features import PLAIN_SIZE, RICH_SIZE, STEPS_PER_FRAME, WINDOW_STEPS
from ml_backend.errors import ArtefactError

POSE_SIZE = 6


@dataclass(frozen=True)
class MotionConfig:
    """What a motion network is made of.

    Attributes
    ----------
    name : "default", "streaming", "yi2020" or a name of one's own
    encoder : "temporal" or "windows" (the published one)
    features : number of features per 10 ms step: 26 rich or 12 plain ones
    channels : width of the temporal encoder
    hidden, layers, bidirectional : the LSTM
    dropout : probability, between encoder, LSTM layers and head, in training only
    members : networks side by side whose outputs are averaged
    expressions : K, outputs beside the 6 of the pose
    standardised : whether outputs are deviations from the person's mean in units of the general standard deviation
    """

    name: str = "default"
    encoder: str = "temporal"
    features: int = RICH_SIZE
    channels: int = 96
    hidden: int = 128
    layers: int = 2
    bidirectional: bool = True
    dropout: float = 0.3
    members: int = 1
    expressions: int = 52
    standardised: bool = True

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> MotionConfig:
        """The configuration in JSON `text`; raises `ArtefactError` if it is none."""
        try:
            values = json.loads(text)
            known = {field.name for field in fields(MotionConfig)}
            return MotionConfig(**{key: value for key, value in values.items() if key in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtefactError(f"The motion weights' configuration can't be read ({error}); "
                                "make the weights again.") from error


DEFAULT = MotionConfig(members=3)
YI2020 = MotionConfig(name="yi2020", encoder="windows", features=PLAIN_SIZE, hidden=256, layers=3, bidirectional=False,
                      dropout=0.0, standardised=False)
STREAMING = MotionConfig(name="streaming", hidden=192, bidirectional=False)
"""Looks 120 ms ahead and no further, so that speech can be animated as it comes."""
CONFIGS = {config.name: config for config in (DEFAULT, STREAMING, YI2020)}


class WindowEncoder(nn.Module):
    """E of Yi et al. 2020: (B, T, 28, 12) windows → (B, T, 256)."""

    size = 256

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_convolution(1, 64), *_convolution(64, 128), nn.MaxPool2d(3, (1, 2))]
        layers += [*_convolution(128, 256), *_convolution(256, 256), *_convolution(256, 512), nn.MaxPool2d(3, (2, 2))]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Linear(512 * 12 * 2, 2048), nn.ReLU(), nn.Linear(2048, self.size), nn.ReLU())
        for module in self.modules():
            _initialise(module)

    def forward(self, steps: Tensor) -> Tensor:
        """`steps` (B, 4T + 24, 12) → (B, T, 256)."""
        windows = steps.unfold(1, WINDOW_STEPS, STEPS_PER_FRAME).transpose(2, 3)
        batch, frames = windows.shape[:2]
        maps = self.convolutions(windows.reshape(batch * frames, 1, *windows.shape[2:]))
        return self.dense(maps.flatten(1)).view(batch, frames, self.size)


class TemporalEncoder(nn.Module):
    """Strided convolutions over the 10 ms steps: (B, 4T + 24, D) → (B, T, C). Each frame sees its 28 steps, no more."""

    def __init__(self, features: int, channels: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        # Receptive fields 3, 6, 12, 28 steps; strides multiply to the 4 steps of a frame.
        for kernel, stride in ((3, 1), (4, 2), (4, 2), (5, 1)):
            layers += [nn.Conv1d(features, channels, kernel, stride, bias=False), nn.BatchNorm1d(channels), nn.GELU(),
                       nn.Dropout(dropout / 2)]
            features = channels
        self.layers = nn.Sequential(*layers)
        self.size = channels

    def forward(self, steps: Tensor) -> Tensor:
        """`steps` (B, 4T + 24, D) → (B, T, C)."""
        return self.layers(steps.transpose(1, 2)).transpose(1, 2)


class MotionNetwork(nn.Module):
    """Encoder, LSTM and linear head: (B, 4T + 24, D) feature steps → (B, T, K + 6)."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: WindowEncoder | TemporalEncoder = (
            WindowEncoder() if config.encoder == "windows"
            else TemporalEncoder(config.features, config.channels, config.dropout))
        self.recurrent = nn.LSTM(self.encoder.size, config.hidden, config.layers, batch_first=True,
                                 bidirectional=config.bidirectional, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden * (2 if config.bidirectional else 1), config.expressions + POSE_SIZE)
        if config.encoder == "windows":
            _initialise(self.head)

    def forward(self, steps: Tensor) -> Tensor:
        """`steps` (B, 4T + 24, D) → (B, T, K + 6): expression, then pose."""
        states, _ = self.recurrent(self.encoder(steps))
        return self.head(self.dropout(states))


class MotionEnsemble(nn.Module):
    """`config.members` networks of one configuration; the output is their mean."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(MotionNetwork(replace(config, members=1)) for _ in range(config.members))

    def forward(self, steps: Tensor) -> Tensor:
        """`steps` (B, 4T + 24, D) → (B, T, K + 6)."""
        return torch.stack([member(steps) for member in self.members]).mean(0)


def build(config: MotionConfig) -> MotionEnsemble:
    """A network with fresh weights (seed torch before); raises `ArtefactError` for an impossible configuration."""
    if config.encoder not in ("temporal", "windows"):
        raise ArtefactError(f"The motion encoder {config.encoder} is unknown; use temporal or windows.")
    if config.encoder == "windows" and config.features != PLAIN_SIZE:
        raise ArtefactError(f"The windows encoder takes {PLAIN_SIZE} features, not {config.features}.")
    return MotionEnsemble(config)


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers in `network`."""
    return sum(parameter.numel() for parameter in network.parameters())


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02), biases 0, normalisation scales N(1, 0.02), as published."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
