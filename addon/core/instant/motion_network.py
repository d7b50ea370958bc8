"""Speech features → expression: the backend's motion network (strided convolutions, LSTMs, several side by side)."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ArtefactError
from . import layers
from .features import LEAD, PLAIN, RICH, STEPS
from .statistics import Statistics
from .weights import Weights

SCHEMA = "parley.motion"
POSE = 6
CONVOLUTIONS = ((0, 3, 1), (4, 4, 2), (8, 4, 2), (12, 5, 1))
"""Number of each convolution in the stack of layers, its kernel and its stride."""
PART, OVERLAP = 1500, 50
"""Frames that a network which hears both ways takes at a time, and what it hears of its neighbours beside them."""


@dataclass(frozen=True)
class Config:
    """The part of the backend's ``MotionConfig`` that running the network needs."""

    features: int
    channels: int
    hidden: int
    layers: int
    bidirectional: bool
    members: int
    expressions: int
    standardised: bool

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1


class MotionNetwork:
    """The network in `weights` and what belongs to it.

    Attributes
    ----------
    config : sizes
    statistics : of the people it learned from
    gain : (K,) float32, how many times further than it says a channel really moves

    Raises
    ------
    ArtefactError
        If the weights don't fit their own configuration, or only the backend can run them.
    """

    def __init__(self, weights: Weights) -> None:
        self.config = _config(weights)
        self.statistics = Statistics.of(weights)
        config, names = self.config, self.statistics.names
        if len(names) != config.expressions:
            raise ArtefactError(f"{weights.path}: {len(names)} names for {config.expressions} expressions; make the "
                                "weights again.")
        self.gain = np.array(weights.json("gain"), np.float32)
        self._encoders = [_encoder(weights, config, member) for member in range(config.members)]
        self._recurrent = [_recurrent(weights, config, layer) for layer in range(config.layers)]
        out = config.expressions + POSE
        heads = [(weights.array(f"members.{member}.head.weight", (out, config.hidden * config.directions)),
                  weights.array(f"members.{member}.head.bias", (out,))) for member in range(config.members)]
        # The members' outputs are averaged: so are their heads, over states that lie side by side.
        self._head = np.concatenate([weight for weight, _ in heads], 1).T / config.members
        self._biases = np.stack([bias for _, bias in heads])
        self._head_bias = self._biases.mean(0)

    def alone(self, member: int) -> MotionNetwork:
        """The same network with that member only."""
        config, one = self.config, copy(self)
        ways, size = config.directions, config.hidden * config.directions
        own = slice(member * ways, (member + 1) * ways)
        one.config = replace(config, members=1)
        one._encoders = [self._encoders[member]]
        one._recurrent = [(arriving[own], bias[own], recurrent[own]) for arriving, bias, recurrent in self._recurrent]
        one._head = self._head[member * size:(member + 1) * size] * config.members
        one._biases = self._biases[member:member + 1]
        one._head_bias = self._biases[member]
        return one

    def run(self, steps: np.ndarray, progress: layers.Pulse = layers.idle) -> np.ndarray:
        """(T, K + 6) float32 output for feature `steps` (4T + 24, D), a minute at a time.

        With (M, 4T + 24, D), every member hears its own.
        """
        steps = np.broadcast_to(steps, (self.config.members, *steps.shape[-2:]))
        frames = (steps.shape[1] - 2 * LEAD) // STEPS
        if not self.config.bidirectional or frames <= PART + 2 * OVERLAP:
            return self._pass(steps, progress)
        parts = []
        for start in range(0, frames, PART):
            first, last = max(start - OVERLAP, 0), min(start + PART + OVERLAP, frames)
            part = self._pass(steps[:, first * STEPS:last * STEPS + 2 * LEAD], progress)
            parts.append(part[start - first:min(start + PART, frames) - first])
        return np.concatenate(parts)

    def _pass(self, steps: np.ndarray, pulse: layers.Pulse) -> np.ndarray:
        """All of `steps` at once; the recurrences of all members and directions walk side by side."""
        config, encoded = self.config, []
        for encoder, values in zip(self._encoders, steps, strict=True):
            for (weight, bias), (_, _, stride) in zip(encoder, CONVOLUTIONS, strict=True):
                pulse()
                values = layers.gelu(layers.convolution(values, weight, bias, stride=stride))
            encoded.append(values)
        states = np.stack(encoded, 1)
        for arriving, bias, recurrent in self._recurrent:
            gates = np.empty((len(states), len(recurrent), recurrent.shape[1]), np.float32)
            for index in range(len(recurrent)):
                pulse()
                member, direction = divmod(index, config.directions)
                # Contiguous, or NumPy multiplies without its fast routines.
                heard = np.ascontiguousarray(states[::-1, member] if direction else states[:, member])
                gates[:, index] = heard @ arriving[index] + bias[index]
            hidden, _ = layers.lstm(gates, recurrent, pulse)
            if config.bidirectional:
                hidden[:, 1::2] = hidden[::-1, 1::2].copy()
            states = hidden.reshape(len(hidden), config.members, -1)
        return states.reshape(len(states), -1) @ self._head + self._head_bias


def _config(weights: Weights) -> Config:
    held = weights.json("config")
    try:
        config = Config(int(held["features"]), int(held["channels"]), int(held["hidden"]), int(held["layers"]),
                        bool(held["bidirectional"]), int(held["members"]), int(held["expressions"]),
                        bool(held["standardised"]))
        encoder = held["encoder"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{weights.path}: its configuration can't be read ({error}); make the weights "
                            "again.") from error
    if encoder != "temporal" or config.features not in (PLAIN, RICH):
        raise ArtefactError(f"{weights.path} holds a network that only the backend can run; set it up in the "
                            "preferences, or choose other weights.")
    if min(config.channels, config.hidden, config.layers, config.members, config.expressions) < 1:
        raise ArtefactError(f"{weights.path}: a network without size; make the weights again.")
    return config


def _encoder(weights: Weights, config: Config, member: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each convolution, the normalisation after it worked in."""
    result, into, out = [], config.features, config.channels
    for number, kernel, _ in CONVOLUTIONS:
        start = f"members.{member}.encoder.layers."
        normal = [weights.array(f"{start}{number + 1}.{name}", (out,))
                  for name in ("weight", "bias", "running_mean", "running_var")]
        weight = weights.array(f"{start}{number}.weight", (out, into, kernel))
        result.append(layers.folded(weight, None, normal[0], normal[1], normal[2], normal[3]))
        into = out
    return result


def _recurrent(weights: Weights, config: Config, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, I, 4 H) arriving, (N, 4 H) biases, (N, 4 H, H) recurrent; N = members × directions."""
    size = config.hidden
    into = config.channels if layer == 0 else size * config.directions
    arriving, biases, recurrent = [], [], []
    for member in range(config.members):
        for direction in ("", "_reverse")[:config.directions]:
            def array(name: str, shape: tuple[int, ...], end: str = f"_l{layer}{direction}", member: int = member
                      ) -> np.ndarray:
                return weights.array(f"members.{member}.recurrent.{name}{end}", shape)

            arriving.append(np.ascontiguousarray(array("weight_ih", (4 * size, into)).T))
            biases.append(array("bias_ih", (4 * size,)) + array("bias_hh", (4 * size,)))
            recurrent.append(array("weight_hh", (4 * size, size)))
    return np.stack(arriving), np.stack(biases), np.stack(recurrent)
