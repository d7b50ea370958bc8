"""From speech to what the network says, through ears that are set to the voice, as the backend's ``motion.hearing``."""

from __future__ import annotations

import numpy as np

from . import features, layers
from .features import FPS, FRAME
from .motion_network import POSE, MotionNetwork

WARPS = (1.0, 0.94, 1.06, 0.88, 1.12)
APART, PULL = 0.09, 0.05
SECONDS = 12
LEAST_VOICE = 2 * FPS


def heard(network: MotionNetwork, samples: np.ndarray, active: np.ndarray, pulse: layers.Pulse = layers.idle
          ) -> np.ndarray:
    """(T, K + 6) float32: what `network` says of speech `samples` (N,); `active` (T,) bool, where somebody speaks."""
    if network.config.features == features.PLAIN:
        return network.run(features.plain_steps(samples), pulse)
    warp, members = voice_warp(network, samples, active, pulse), network.config.members
    apart = np.linspace(-APART, APART, members) if members > 1 else np.zeros(1)
    steps = np.stack([_steps(samples, round(warp + float(place), 4)) for place in apart])
    return network.run(steps, pulse)


def voice_warp(network: MotionNetwork, samples: np.ndarray, active: np.ndarray, pulse: layers.Pulse = layers.idle
               ) -> float:
    """Which of `WARPS` moves the lips most: with it this voice is understood best; 1 where hardly anybody speaks."""
    if active.sum() < LEAST_VOICE:
        return 1.0
    # One member tells as much as all do, and costs a part of it.
    part, middle = _most_said(samples, active), network.alone(network.config.members // 2)
    lips = network.statistics.lip_motion * network.statistics.std[:, None]
    usual = np.maximum(np.sqrt((lips ** 2).sum(0)), 1e-9)

    def liveliness(warp: float) -> float:
        moved = middle.run(_steps(part, warp), pulse)[:, :-POSE] @ lips
        return float((moved.std(0) / usual).mean()) - PULL * abs(warp - 1)

    return max(WARPS, key=liveliness)


def _most_said(samples: np.ndarray, active: np.ndarray) -> np.ndarray:
    """The `SECONDS` of `samples` in which most frames are `active`."""
    length = SECONDS * FPS
    if len(active) <= length:
        return samples
    spoken = np.concatenate([[0], np.cumsum(active)])
    start = int(np.argmax(spoken[length:] - spoken[:-length]))
    return samples[start * FRAME:(start + length) * FRAME]


def _steps(samples: np.ndarray, warp: float) -> np.ndarray:
    return features.rich_steps(*features.spectra(features.padded(samples), warp))
