"""Where the lips are shut for p, b and m: the backend's contact network, dilated convolutions over 10 ms steps."""

from __future__ import annotations

import numpy as np

from . import layers
from .features import FILTERS
from .weights import Weights

SCHEMA = "parley.contact"
WIDTH = 64
LAYERS = ((0, FILTERS, 1), (3, WIDTH, 2), (7, WIDTH, 4))
"""Number of each convolution in the stack of layers, its inputs, its dilation."""


class Listener:
    """The network in `weights`; raises `ArtefactError` where they don't fit it."""

    def __init__(self, weights: Weights) -> None:
        self._layers = []
        for number, into, _ in LAYERS:
            normal = [weights.array(f"layers.{number + 1}.{name}", (WIDTH,))
                      for name in ("weight", "bias", "running_mean", "running_var")]
            self._layers.append(layers.folded(
                weights.array(f"layers.{number}.weight", (WIDTH, into, 5)),
                weights.array(f"layers.{number}.bias", (WIDTH,)), normal[0], normal[1], normal[2], normal[3]))
        self._head = weights.array("layers.11.weight", (1, WIDTH, 1))[0, :, 0]
        self._bias = weights.array("layers.11.bias", (1,))

    def probability(self, steps: np.ndarray) -> np.ndarray:
        """(4T,) float32 of `steps` (4T, 26), see `features.contact_steps`."""
        values = steps
        for (weight, bias), (_, _, dilation) in zip(self._layers, LAYERS, strict=True):
            values = np.maximum(layers.convolution(values, weight, bias, padding=2 * dilation, dilation=dilation), 0)
        return layers.sigmoid(values @ self._head + self._bias)
