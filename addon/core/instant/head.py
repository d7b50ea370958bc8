"""Head motion drawn from the backend's pose network, brought to people's distribution; the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArtefactError
from . import filters, layers
from .features import FPS
from .prosody import SIZE
from .weights import Weights

SCHEMA = "parley.pose"
AXES, PERSON = 6, 16
PARTS = 1 + 2 * AXES + AXES * (AXES - 1) // 2
"""Numbers that make one of the mixture's Gaussians."""
SCALE_MIDDLE, SCALE_HALF = -1.0, 2.5
LEAD_SECONDS, BORDER, FOLLOWING, CONTEXT = 3.0, 2.5, 2.0, 16
LEVELLING_SECONDS = 2.0
LEAST_STD = np.array([0.004, 0.004, 0.003, 0.0005, 0.0005, 0.0008])
SLOW = np.hanning(FPS + 2)[1:-1] / np.hanning(FPS + 2).sum()
"""One second: what remains is posture, what goes is nods and jerks."""
QUANTILES, BLUR = np.linspace(0, 1, 41), 0.5
SPEEDS, PASSES = (0.4, 2.0), 4


@dataclass(frozen=True)
class Manner:
    """How somebody carries the head: spread (6,), movement a step in units of it (6,), correlation (6, 6)."""

    std: np.ndarray
    step: np.ndarray
    correlation: np.ndarray


class PoseNetwork:
    """The network in `weights`; raises `ArtefactError` where they don't fit their own configuration."""

    def __init__(self, weights: Weights) -> None:
        try:
            config, manner = weights.json("config"), weights.json("manner")
            self.stride, channels, self.mixtures = (int(config[name]) for name in ("stride", "channels", "mixtures"))
            size = self.size = int(config["hidden"])
            self.general = Manner(np.array(manner["std"], float).reshape(AXES),
                                  np.array(manner["step"], float).reshape(AXES),
                                  np.array(manner["correlation"], float).reshape(AXES, AXES))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"{weights.path}: its configuration can't be read ({error}); make the weights "
                                "again.") from error
        width = self.stride * SIZE + 1
        self.encoder = [(weights.array(f"encoder.layers.{number}.weight", (channels, into, 7)),
                         weights.array(f"encoder.layers.{number}.bias", (channels,)))
                        for number, into in ((0, width), (3, channels))]
        self.person = (weights.array("person.weight", (PERSON, 2 * AXES)), weights.array("person.bias", (PERSON,)))
        arriving = weights.array("recurrent.weight_ih_l0", (3 * size, channels + PERSON + 2 * AXES))
        self.heard, self.who, self.fed_back = (np.ascontiguousarray(part.T) for part in np.split(
            arriving, [channels, channels + PERSON], axis=1))
        self.arriving_bias = weights.array("recurrent.bias_ih_l0", (3 * size,))
        self.recurrent = np.ascontiguousarray(weights.array("recurrent.weight_hh_l0", (3 * size, size)).T)
        self.bias = weights.array("recurrent.bias_hh_l0", (3 * size,))
        self.head = np.ascontiguousarray(weights.array("head.weight", (self.mixtures * PARTS, size + 2 * AXES)).T)
        self.head_bias = weights.array("head.bias", (self.mixtures * PARTS,))

    def gates(self, audio: np.ndarray, person: np.ndarray) -> np.ndarray:
        """(S, 3 H) what `audio` (S, stride · 10 + 1) and `person` (12,) add to the gates of the recurrent cell."""
        values = audio
        for weight, bias in self.encoder:
            values = layers.gelu(layers.convolution(values, weight, bias, padding=3))
        who = np.tanh(self.person[0] @ person + self.person[1])
        return (values @ self.heard + (who @ self.who + self.arriving_bias)).astype(np.float32)


def predicted(network: PoseNetwork, track: np.ndarray, sound: np.ndarray, seed: int,
              pulse: layers.Pulse = layers.idle) -> np.ndarray:
    """(T, 6) float64 head motion about zero, radians and metres, as people in general move, after `sound` (T, 10).

    `track` (N, 6) is motion that was made up: it says how often the head is where.
    """
    manner = network.general
    track = in_manner(track, manner, network.stride)
    return matched(_sample(network, manner, sound, seed, pulse), track, manner)


def in_manner(track: np.ndarray, manner: Manner, stride: int) -> np.ndarray:
    """`track` (N, 6) about its mean as far as in the `manner`, and no faster: stretched in size and in time."""
    spread = np.maximum(track.std(0).astype(np.float64), LEAST_STD)
    step = np.sqrt(np.mean((track[stride:].astype(np.float64) - track[:-stride]) ** 2, axis=0)) / spread
    mean, frames = track.mean(0), np.arange(len(track))
    rates = np.minimum(manner.step / np.clip(step, 0.01, 1.5), 1.0)
    motion = np.stack([np.interp(frames * rate, frames, column)
                       for column, rate in zip((track - mean).T, rates, strict=True)], 1)
    return mean + (motion - motion.mean(0)) * (manner.std / np.maximum(motion.std(0), 1e-9))


def _sample(network: PoseNetwork, manner: Manner, sound: np.ndarray, seed: int, pulse: layers.Pulse) -> np.ndarray:
    """(T, 6) motion about zero; the hearing and the deaf network walk side by side and see the same head."""
    frames, stride = len(sound), network.stride
    lead = round(LEAD_SECONDS * FPS / stride)
    count = -(-frames // stride) + 1
    audio = np.ones((count, stride * SIZE + 1), np.float32)
    audio[:, :-1] = sound[np.minimum(np.arange(count * stride), frames - 1)].reshape(count, stride * SIZE)
    audio = np.concatenate([np.repeat(audio[:1], lead, 0), audio])
    # How the person differs from people in general: not at all.
    person = np.zeros(2 * AXES, np.float32)
    # Without sound every step hears the same; far from the ends, where the convolutions see padding.
    deaf = network.gates(np.zeros((2 * CONTEXT + 1, audio.shape[1]), np.float32), person)[CONTEXT]
    path = _walk(network, network.gates(audio, person), deaf, manner, seed, pulse)
    return filters.spline(path[lead:], np.arange(frames) / stride) * manner.std


def _walk(network: PoseNetwork, gates: np.ndarray, deaf: np.ndarray, manner: Manner, seed: int, pulse: layers.Pulse
          ) -> np.ndarray:
    """(S, 6) positions in standard deviations, one per row of `gates` (S, 3 H): draw a movement, move, hear of it."""
    generator = np.random.default_rng([seed, 0x4EAD])
    noise = generator.standard_normal((len(gates), AXES)).astype(np.float32)
    choice = generator.random(len(gates))
    start = 0.7 * np.linalg.cholesky(manner.correlation + 0.05 * np.eye(AXES)) @ generator.standard_normal(AXES)
    position, movement = start.astype(np.float32), np.zeros(AXES, np.float32)
    state, step = np.zeros((2, network.size), np.float32), manner.step.astype(np.float32)
    share, path = np.array([FOLLOWING, 1 - FOLLOWING], np.float32), np.empty((len(gates), AXES))
    for number, gate in enumerate(gates):
        if number % layers.PULSE_STEPS == 0:
            pulse()
        path[number] = position
        fed_back = np.concatenate([position, movement])
        state = _turn(network, state, np.stack([gate, deaf]) + fed_back @ network.fed_back)
        raw = np.concatenate([share @ state, fed_back]) @ network.head + network.head_bias
        movement = _draw(raw.reshape(network.mixtures, PARTS), float(choice[number]), noise[number])
        position = position + step * movement
        position = position - 0.15 * (position - np.clip(position, -BORDER, BORDER))
    return path


def _turn(network: PoseNetwork, state: np.ndarray, arriving: np.ndarray) -> np.ndarray:
    """The next `state` (2, H) of the gated recurrent cell."""
    size = network.size
    returning = state @ network.recurrent + network.bias
    opened = layers.sigmoid(arriving[:, :2 * size] + returning[:, :2 * size])
    reset, keep = opened[:, :size], opened[:, size:]
    return (1 - keep) * np.tanh(arriving[:, 2 * size:] + reset * returning[:, 2 * size:]) + keep * state


def _draw(raw: np.ndarray, choice: float, noise: np.ndarray) -> np.ndarray:
    """(6,) float32 movement from the mixture `raw` (M, 28): weight, mean, scale, unit triangle of each part."""
    share = np.exp(raw[:, 0] - raw[:, 0].max())
    part = raw[min(int(np.searchsorted(np.cumsum(share), choice * share.sum())), len(raw) - 1)]
    scale = part[1 + AXES:1 + 2 * AXES]
    scale = np.exp(SCALE_MIDDLE + SCALE_HALF * np.tanh((scale - SCALE_MIDDLE) / SCALE_HALF))
    lower = np.zeros((AXES, AXES), np.float32)
    lower[np.tril_indices(AXES, -1)] = 2 * np.tanh(part[1 + 2 * AXES:] / 2)
    value = scale * noise
    for row in range(1, AXES):
        value[row] -= lower[row, :row] @ value[:row]
    return np.clip(part[1:1 + AXES] + value, -6, 6).astype(np.float32)


def matched(pose: np.ndarray, track: np.ndarray, manner: Manner) -> np.ndarray:
    """`pose` (T, 6) about zero with the joint spread, the quantiles and the speed of `track` (N, 6)."""
    trust = len(pose) / (len(pose) + LEVELLING_SECONDS * FPS)
    keep = (1 - trust) * np.clip(pose.mean(0), -manner.std, manner.std)
    result = _rotated(pose - pose.mean(0), manner, trust)
    wanted = np.abs(np.diff(track, axis=0)).mean(0)
    targets = [target_quantiles(track[:, axis] - track[:, axis].mean(), float(manner.std[axis]))
               for axis in range(AXES)]
    for _ in range(3):
        result = _speed(_quantiles(result, targets, trust), wanted)
    return _calmed(result, track) + keep


def _rotated(pose: np.ndarray, manner: Manner, trust: float) -> np.ndarray:
    """`pose` (T, 6) changed as little as possible so that its covariance becomes the person's."""
    unit = pose / manner.std
    small = 0.02 * np.eye(AXES)
    correlation = manner.correlation + small
    found = trust * (unit.T @ unit / len(unit)) + (1 - trust) * correlation + small
    root = filters.root(found)
    inverse = np.linalg.inv(root)
    return unit @ (inverse @ filters.root(root @ correlation @ root) @ inverse) * manner.std


def target_quantiles(values: np.ndarray, std: float) -> np.ndarray:
    """(41,) quantiles of `values` (N,), blurred, for twelve seconds are a sample and not the person."""
    grid = np.random.default_rng(0).standard_normal(8 * max(len(values), 100))
    drawn = np.resize(values, len(grid)) + BLUR * std * grid
    drawn = (drawn - drawn.mean()) * (std / max(float(drawn.std()), 1e-9))
    return np.quantile(drawn, np.clip(QUANTILES, 0.002, 0.998))


def _quantiles(pose: np.ndarray, targets: list[np.ndarray], strength: float) -> np.ndarray:
    """`pose` (T, 6) whose values come as often as the `targets` say, by a slow change only."""
    result = np.empty_like(pose)
    for axis, target in enumerate(targets):
        source = np.quantile(pose[:, axis], QUANTILES) + np.arange(len(QUANTILES)) * 1e-9
        change = np.interp(pose[:, axis], source, target) - pose[:, axis]
        result[:, axis] = pose[:, axis] + strength * filters.convolve(change, SLOW)
    return result


def _speed(pose: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`pose` (T, 6) whose quick part is scaled towards the mean speed `wanted` (6,)."""
    slow = filters.convolve(pose, SLOW)
    speed = np.abs(np.diff(pose, axis=0)).mean(0)
    return slow + (pose - slow) * np.clip(wanted / np.maximum(speed, 1e-9), *SPEEDS)


def _calmed(pose: np.ndarray, track: np.ndarray) -> np.ndarray:
    """`pose` (T, 6) smoothed, axis by axis, until it trembles no more than `track`; its speed is kept up."""
    if len(pose) < FPS:
        return pose

    def trembling(values: np.ndarray) -> np.ndarray:
        return np.abs(np.diff(values, n=3, axis=0)).mean(0)

    allowed, wanted, result = trembling(track), np.abs(np.diff(pose, axis=0)).mean(0), pose
    for _ in range(PASSES):
        excess = trembling(result) > allowed
        if not excess.any():
            break
        result = np.where(excess, filters.convolve(result, np.array([1, 2, 1]) / 4), result)
        result = np.where(excess, _speed(result, wanted), result)
    return result
