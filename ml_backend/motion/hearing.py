"""From speech to what the network says, through ears that are set to the voice.

A short throat moves all resonances up, a long one down, and with them what tells one vowel from the next. The networks
saw few voices, so each is moved to where they understand it best: of a few warps of the frequency axis the one that
makes the lips liveliest, since a regression hardly moves where it is unsure (vocal tract normalisation: Lee & Rose
1996, with the network's confidence in place of a likelihood). The members listen a little apart from each other, which
makes their mean surer.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from ml_backend.audio.features import CONTEXT_FRAMES, FPS, FRAME, RICH_SIZE, STEPS_PER_FRAME, step_count
from ml_backend.motion.checkpoint import MotionWeights
from ml_backend.motion.dataset import features
from ml_backend.motion.network import POSE_SIZE, MotionEnsemble, MotionNetwork
from ml_backend.motion.score import run
from ml_backend.progress import Progress, silent

WARPS = (1.0, 0.94, 1.06, 0.88, 1.12)
"""Tried in this order; the training heard up to 0.16 to either side."""
APART = 0.09
PULL = 0.05
"""How much livelier the lips have to be for a warp of one: most voices are understood as they are."""
SECONDS = 12
"""How much of the speech, where most is said, the warp is found by."""
LEAST_VOICE = 2 * FPS
_CHUNK, _OVERLAP = 1500, 50


def heard(weights: MotionWeights, samples: np.ndarray, active: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """(T, K + 6) float32: what the network says of speech `samples` (N,); `active` (T,) bool, where somebody speaks.

    The personal filter is not in it. Networks that hear plain features take every voice as it is.
    """
    config, members = weights.network.config, list(weights.network.members)
    warp = voice_warp(weights, samples, active)
    total = np.zeros(1, np.float32)
    for index, (member, place) in enumerate(zip(members, np.linspace(-APART, APART, len(members)), strict=True)):
        own = warp + (float(place) if len(members) > 1 else 0.0)
        steps = features(config, samples, round(own, 4))

        def within(done: int, count: int, index: int = index) -> None:
            progress(index * count + done, len(members) * count)

        total = total + run_in_parts(cast(MotionNetwork, member), steps, within)
    return total / np.float32(len(members))


def voice_warp(weights: MotionWeights, samples: np.ndarray, active: np.ndarray) -> float:
    """Which of `WARPS` this voice, (N,) at 16 kHz, is understood best with; 1 where hardly anybody speaks."""
    config, statistics = weights.network.config, weights.statistics
    if config.features != RICH_SIZE or active.sum() < LEAST_VOICE:
        return 1.0
    part, members = _most_said(samples, active), weights.network.members
    # One member tells as much as all do, and costs a part of it.
    middle = members[len(members) // 2]
    lips = statistics.lip_motion * statistics.std[:, None]
    usual = np.maximum(np.sqrt((lips ** 2).sum(0)), 1e-9)

    def liveliness(warp: float) -> float:
        moved = run(middle, features(config, part, warp))[:, :-POSE_SIZE] @ lips
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


def run_in_parts(network: MotionEnsemble | MotionNetwork, steps: np.ndarray, progress: Progress = silent
                 ) -> np.ndarray:
    """(T, K + 6) float32 output for feature steps (4T + 24, D); a minute at a time, with 2 s of context to either side.

    The LSTM forgets within that, so that an hour needs no more memory than a minute and can be cancelled; a
    unidirectional network goes through in one pass, as published.
    """
    frames = (len(steps) - step_count(1)) // STEPS_PER_FRAME + 1
    if not network.config.bidirectional or frames <= _CHUNK + 2 * _OVERLAP:
        progress(0, 1)
        result = run(network, steps)
        progress(1, 1)
        return result
    parts = []
    for start in range(0, frames, _CHUNK):
        progress(start, frames)
        first, last = max(start - _OVERLAP, 0), min(start + _CHUNK + _OVERLAP, frames)
        stop = last * STEPS_PER_FRAME + 2 * CONTEXT_FRAMES * STEPS_PER_FRAME
        part = run(network, steps[first * STEPS_PER_FRAME:stop])
        parts.append(part[start - first:min(start + _CHUNK, frames) - first])
    progress(frames, frames)
    return np.concatenate(parts)
