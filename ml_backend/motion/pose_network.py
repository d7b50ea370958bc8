"""Motion-aware head-pose network: it hears prosody, sees its own last output, and says what may come next.

After the predictor of Audio2Head (Wang et al. 2021, §3.2: the output is fed back), with two changes. The output is a
mixture density over the next movement (Bishop 1994), from which one is drawn: a squared error would make the head stand
still. And the network is told how a person moves (how fast for how far, on each axis) and speaks in that person's
standard deviations, so that one set of weights moves everybody.

Heads move below 5 Hz: the network steps once in two film frames, which leaves less for the feedback to get wrong.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml_backend.audio import prosody
from ml_backend.errors import ArtefactError

AXES = 6
MIRROR = (1.0, -1.0, -1.0, -1.0, 1.0, 1.0)
"""Signs of pitch, yaw, roll, x, y, z in a mirror."""
_OFF_DIAGONAL = AXES * (AXES - 1) // 2
SCALE_MIDDLE, SCALE_HALF = -1.0, 2.5
"""Log scales of the mixture lie within this distance of the middle."""


@dataclass(frozen=True)
class PoseConfig:
    """What a pose network is made of.

    Attributes
    ----------
    name : of one's own choosing
    stride : film frames per step
    audio : prosody features per film frame
    channels : width of the audio encoder
    hidden : size of the recurrent state
    mixtures : Gaussians of the output
    dropout : probability, in training only
    """

    name: str = "default"
    stride: int = 2
    audio: int = prosody.SIZE
    channels: int = 24
    hidden: int = 96
    mixtures: int = 4
    dropout: float = 0.3

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> PoseConfig:
        """The configuration in JSON `text`; raises `ArtefactError` if it is none."""
        try:
            values = json.loads(text)
            known = {field.name for field in fields(PoseConfig)}
            return PoseConfig(**{key: value for key, value in values.items() if key in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtefactError(f"The pose weights' configuration can't be read ({error}); "
                                "make the weights again.") from error


class AudioEncoder(nn.Module):
    """Convolutions over steps of prosody: (B, S, stride · D + 1) → (B, S, C), each step hearing 0.5 s to either side.

    The last input says whether there is sound; without it all others are 0 (clips that only teach how heads move).
    """

    def __init__(self, config: PoseConfig) -> None:
        super().__init__()
        width = config.stride * config.audio + 1
        self.layers = nn.Sequential(
            nn.Conv1d(width, config.channels, 7, padding=3), nn.GELU(), nn.Dropout(config.dropout),
            nn.Conv1d(config.channels, config.channels, 7, padding=3), nn.GELU(), nn.Dropout(config.dropout))

    def forward(self, steps: Tensor) -> Tensor:
        """`steps` (B, S, stride · D + 1) → (B, S, C)."""
        return self.layers(steps.transpose(1, 2)).transpose(1, 2)


class PoseNetwork(nn.Module):
    """Audio encoder, recurrent cell with fed-back pose, mixture head.

    Positions are in the person's standard deviations about the person's mean, movements in the person's typical
    movement per step; `person` (12) holds what these are, see `pose_style.describe`.
    """

    def __init__(self, config: PoseConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = AudioEncoder(config)
        self.person = nn.Linear(2 * AXES, 16)
        self.recurrent = nn.GRU(config.channels + 16 + 2 * AXES, config.hidden, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden + 2 * AXES, config.mixtures * (1 + 2 * AXES + _OFF_DIAGONAL))

    def forward(self, audio: Tensor, person: Tensor, position: Tensor, movement: Tensor) -> Tensor:
        """Mixtures over the movement after each step, given all steps up to it (teacher forcing).

        Parameters
        ----------
        audio : (B, S, stride · D + 1)
        person : (B, 12)
        position, movement : (B, S, 6), where the head is at each step and how it came there from the last one

        Returns
        -------
        (B, S, M · 28) raw, see `mixture`
        """
        sound = self.encoder(audio)
        who = torch.tanh(self.person(person))[:, None].expand(-1, audio.shape[1], -1)
        fed_back = torch.cat([position, movement], -1)
        states, _ = self.recurrent(torch.cat([sound, who, fed_back], -1))
        return self.head(torch.cat([self.dropout(states), fed_back], -1))


def mixture(raw: Tensor, mixtures: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The parts of `raw` (..., M · 28).

    Returns
    -------
    log weight (..., M), mean (..., M, 6), log scale (..., M, 6), lower (..., M, 15) strict triangle of the unit
    triangular matrix U with  U (x − mean) = scale · ε
    """
    parts = raw.unflatten(-1, (mixtures, 1 + 2 * AXES + _OFF_DIAGONAL))
    weight, mean, scale, lower = parts.split([1, AXES, AXES, _OFF_DIAGONAL], -1)
    bounded = SCALE_MIDDLE + SCALE_HALF * torch.tanh((scale - SCALE_MIDDLE) / SCALE_HALF)
    return functional.log_softmax(weight[..., 0], -1), mean, bounded, 2 * torch.tanh(lower / 2)


def unit_lower(lower: Tensor) -> Tensor:
    """(..., 6, 6) unit lower triangular matrix with the strict triangle `lower` (..., 15)."""
    rows, columns = torch.tril_indices(AXES, AXES, -1)
    result = torch.eye(AXES, dtype=lower.dtype).expand(*lower.shape[:-1], AXES, AXES).clone()
    result[..., rows, columns] = lower
    return result


def negative_log_likelihood(raw: Tensor, target: Tensor, mixtures: int) -> Tensor:
    """(...) nats per step of `target` (..., 6) under the mixtures `raw` (..., M · 28); constants left out."""
    weight, mean, scale, lower = mixture(raw, mixtures)
    error = target[..., None, :] - mean
    white = (unit_lower(lower) @ error[..., None])[..., 0] * torch.exp(-scale)
    return -torch.logsumexp(weight - scale.sum(-1) - 0.5 * white.pow(2).sum(-1), -1)


def build(config: PoseConfig) -> PoseNetwork:
    """A network with fresh weights (seed torch before); raises `ArtefactError` for an impossible configuration."""
    sizes = (config.stride, config.audio, config.channels, config.hidden, config.mixtures)
    if min(sizes) < 1 or config.audio != prosody.SIZE:
        raise ArtefactError(f"A pose network of sizes {sizes} with {config.audio} prosody features can't be built; "
                            f"every size must be positive, and there are {prosody.SIZE} features.")
    return PoseNetwork(config)
