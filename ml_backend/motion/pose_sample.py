"""Running the head-pose network by itself: every step draws a movement, moves the head, and hears what it did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ml_backend.audio.features import FPS
from ml_backend.motion.pose_checkpoint import PoseWeights
from ml_backend.motion.pose_data import audio_steps
from ml_backend.motion.pose_manner import Manner
from ml_backend.motion.pose_network import AXES, SCALE_HALF, SCALE_MIDDLE, PoseNetwork

LEAD_SECONDS = 3.0
"""Run before the first frame, so that the take doesn't begin from a standstill at the mean."""
BORDER = 2.5
"""Standard deviations beyond which the head is drawn back; what the network saw rarely it predicts badly."""
FOLLOWING = 2.0
"""How much further than learned the mixtures move from deaf to hearing (guidance without a classifier, Ho & Salimans
2022): noise hides the speech, and on held-out people the heads' liveliness went with the real one better so."""
TRIANGLE = np.tril_indices(AXES, -1)
_BLOCK = 4000
_CONTEXT = 16


def sample_pose(weights: PoseWeights, manner: Manner, frames: int, seed: int, sound: np.ndarray | None = None, *,
                lively: float = 1.0, following: float = FOLLOWING) -> np.ndarray:
    """(T, 6) float64 head motion about zero: the first of `sample_poses`."""
    return sample_poses(weights, manner, frames, seed, sound, lively=lively, following=following)[0]


def sample_poses(weights: PoseWeights, manner: Manner, frames: int, seed: int, sound: np.ndarray | None = None, *,
                 count: int = 1, lively: float = 1.0, following: float = FOLLOWING) -> np.ndarray:
    """(C, T, 6) float64 head motions about zero, in radians and metres, drawn from the network.

    Parameters
    ----------
    weights : the network
    manner : whose motion
    frames : T, at 25 fps
    seed : equal seeds move equally
    sound : (T, 10) prosody, None to move without a reason
    count : C, how many motions; the first ones are the same however many there are, but for rounding
    lively : factor on the random part of every movement; 1 as learned
    following : how much the speech matters; 0 not at all, 1 as learned
    """
    config = weights.network.config
    lead = round(LEAD_SECONDS * FPS / config.stride)
    steps = lead + -(-frames // config.stride) + 1
    heard = audio_steps(sound, steps - lead, config.stride)
    audio = np.concatenate([np.repeat(heard[:1], lead, 0), heard])
    person = manner.compared(weights.general)
    # The hearing and the deaf network walk side by side and see the same head.
    # Without sound every step hears the same; far from the ends, where the convolutions see padding.
    silence = np.zeros((2 * _CONTEXT + 1, audio.shape[1]), np.float32)
    gates, deaf = (_audio_gates(weights.network, heard, person) for heard in (audio, silence))
    arrays = _Arrays.of(weights.network, deaf[_CONTEXT], following)
    with np.errstate(over="ignore"):
        path = _walk(arrays, gates, manner, _generators(seed, count), lively)
    times = np.arange(frames) / config.stride
    return CubicSpline(np.arange(steps - lead), path[:, lead:], axis=1)(times) * manner.std


def _generators(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, 0x4EAD, *[number][:number]]) for number in range(count)]


@dataclass(frozen=True)
class _Arrays:
    """The recurrent part of the network as NumPy: one small step after the other is what torch is slow at.

    `deaf` (3 H,) is what the gates get without sound, `share` (2,) how the hearing and the deaf output are mixed.
    """

    fed_back: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray
    mixtures: int
    deaf: np.ndarray
    share: np.ndarray

    @staticmethod
    def of(network: PoseNetwork, deaf: np.ndarray, following: float) -> _Arrays:
        held = {name: value.numpy() for name, value in network.state_dict().items()}

        def turned(values: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(values.T)

        return _Arrays(turned(held["recurrent.weight_ih_l0"][:, -2 * AXES:]), turned(held["recurrent.weight_hh_l0"]),
                       held["recurrent.bias_hh_l0"], turned(held["head.weight"]), held["head.bias"],
                       network.config.mixtures, deaf, np.array([following, 1 - following], np.float32))


def _audio_gates(network: PoseNetwork, audio: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(S, 3 H) what sound and person add to the gates of the recurrent cell, in blocks that overlap by the context."""
    held, parts = network.state_dict(), []
    weight = held["recurrent.weight_ih_l0"]
    with torch.inference_mode():
        who = torch.tanh(network.person(torch.from_numpy(person)))
        fixed = weight[:, -2 * AXES - len(who):-2 * AXES] @ who + held["recurrent.bias_ih_l0"]
        for start in range(0, len(audio), _BLOCK):
            first = max(start - _CONTEXT, 0)
            block = torch.from_numpy(audio[first:start + _BLOCK + _CONTEXT])[None]
            sound = network.encoder(block)[0, start - first:start - first + _BLOCK]
            parts.append(sound @ weight[:, :sound.shape[1]].T + fixed)
        return torch.cat(parts).numpy()


def _walk(arrays: _Arrays, gates: np.ndarray, manner: Manner, generators: list[np.random.Generator],
          lively: float) -> np.ndarray:
    """(C, S, 6) positions in standard deviations, one per generator and row of `gates` (S, 3 H)."""
    size, count = len(arrays.recurrent), len(generators)
    state = np.zeros((count, 2, size), np.float32)
    step = manner.step.astype(np.float32)
    drawn = [_chances(generator, len(gates), manner, lively) for generator in generators]
    noise, choice, position = (np.stack(part, -2) for part in zip(*drawn, strict=True))
    movement = np.zeros((count, AXES), np.float32)
    path = np.empty((count, len(gates), AXES))
    for number, gate in enumerate(gates):
        path[:, number] = position
        fed_back = np.concatenate([position, movement], 1)
        from_state = (state.reshape(-1, size) @ arrays.recurrent + arrays.bias).reshape(count, 2, -1)
        both = np.stack([gate, arrays.deaf]) + (fed_back @ arrays.fed_back)[:, None]
        openness = 1 / (1 + np.exp(-(both[..., :2 * size] + from_state[..., :2 * size])))
        reset, keep = openness[..., :size], openness[..., size:]
        state = (1 - keep) * np.tanh(both[..., 2 * size:] + reset * from_state[..., 2 * size:]) + keep * state
        raw = np.concatenate([arrays.share @ state, fed_back], 1) @ arrays.head + arrays.head_bias
        movement = _draw(raw.reshape(count, arrays.mixtures, -1), choice[number, :, 0], noise[number])
        position = position + step * movement
        beyond = position - np.clip(position, -BORDER, BORDER)
        position = position - np.float32(0.15) * beyond
    return path


def _chances(generator: np.random.Generator, steps: int, manner: Manner, lively: float
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All that is random in a walk: noise (S, 6), choice (S, 1) among the mixtures, where it starts (6,)."""
    noise = generator.standard_normal((steps, AXES)).astype(np.float32) * lively
    choice = generator.random((steps, 1))
    start = 0.7 * np.linalg.cholesky(manner.correlation + 0.05 * np.eye(AXES)) @ generator.standard_normal(AXES)
    return noise.astype(np.float32), choice, start.astype(np.float32)


def _draw(raw: np.ndarray, choice: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(C, 6) float32 movements from the mixtures `raw` (C, M, 28), as in `pose_network.mixture`."""
    logits = raw[..., 0]
    share = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), 1)
    part = np.minimum((share < choice[:, None] * share[:, -1:]).sum(1), raw.shape[1] - 1)
    part = raw[np.arange(len(raw)), part]
    scale = part[:, 1 + AXES:1 + 2 * AXES]
    scale = np.exp(SCALE_MIDDLE + SCALE_HALF * np.tanh((scale - SCALE_MIDDLE) / SCALE_HALF))
    lower = np.zeros((len(raw), AXES, AXES), np.float32)
    lower[:, *TRIANGLE] = 2 * np.tanh(part[:, 1 + 2 * AXES:] / 2)
    value = scale * noise
    # Forward substitution with the unit triangle.
    for row in range(1, AXES):
        value[:, row] -= (lower[:, row, :row] * value[:, :row]).sum(1)
    return np.clip(part[:, 1:1 + AXES] + value, -6, 6).astype(np.float32)
