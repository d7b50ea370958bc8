"""How a person carries the head: where, how far, how fast on each axis, and which axes move together."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ml_backend.audio.features import FPS
from ml_backend.errors import ArtefactError
from ml_backend.motion.pose_network import AXES

GENERAL_SECONDS = 2.0
"""A track is believed as if people in general had been watched for so long too."""
_LEAST_STD = np.array([0.004, 0.004, 0.003, 0.0005, 0.0005, 0.0008])
_ARRAYS = ("mean", "std", "step", "correlation")


@dataclass(frozen=True)
class Manner:
    """Statistics of one person's head motion, or of people's.

    Attributes
    ----------
    mean, std : (6,) float64, radians and metres
    step : (6,) float64, root mean square of the movement over one step of the network, in `std`
    correlation : (6, 6) float64, of the axes
    """

    mean: np.ndarray
    std: np.ndarray
    step: np.ndarray
    correlation: np.ndarray

    def to_json(self) -> str:
        """The statistics as JSON text."""
        return json.dumps({key: np.round(getattr(self, key).astype(float), 6).tolist() for key in _ARRAYS},
                          sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Manner:
        """The statistics in JSON `text`; raises `ArtefactError` if they are none."""
        try:
            values = json.loads(text)
            arrays = {key: np.array(values[key], np.float64) for key in _ARRAYS}
        except (ValueError, TypeError, KeyError) as error:
            raise ArtefactError(f"The pose weights' statistics can't be read ({error}); "
                                "make the weights again.") from error
        shapes = {key: (AXES, AXES) if key == "correlation" else (AXES,) for key in _ARRAYS}
        if any(arrays[key].shape != shapes[key] for key in _ARRAYS) or (arrays["std"] <= 0).any():
            raise ArtefactError("The pose weights' statistics are not those of six axes; make the weights again.")
        return Manner(**arrays)

    def compared(self, general: Manner) -> np.ndarray:
        """(12,) float32 in [-2, 2]: log of spread and of speed for that spread, against people in general."""
        spread, speed = np.log(self.std / general.std), np.log(self.step / general.step)
        return np.clip(np.concatenate([spread, 2 * speed]), -2, 2).astype(np.float32)


def observe(pose: np.ndarray, stride: int) -> Manner:
    """The manner seen in `pose` (T, 6), T > `stride`, at 25 fps, nothing assumed."""
    std = np.maximum(pose.std(0).astype(np.float64), _LEAST_STD)
    step = np.sqrt(np.mean((pose[stride:].astype(np.float64) - pose[:-stride]) ** 2, axis=0)) / std
    normal = (pose - pose.mean(0)) / std
    correlation = normal.T @ normal / len(normal)
    np.fill_diagonal(correlation, 1)
    return Manner(pose.mean(0).astype(np.float64), std, np.clip(step, 0.01, 1.5), correlation)


def personal(pose: np.ndarray, general: Manner | None, stride: int) -> Manner:
    """The manner seen in `pose` (T, 6), drawn towards the `general` one, if any, the less there is to see."""
    if general is None:
        return observe(pose, stride)
    if len(pose) <= max(stride, FPS // 2):
        return Manner(pose.mean(0).astype(np.float64), general.std, general.step, general.correlation)
    seen = observe(pose, stride)
    trust = len(pose) / (len(pose) + GENERAL_SECONDS * FPS)
    # Fewer seconds say less about how axes go together than about how far each goes.
    joint = trust ** 3
    return Manner(seen.mean, _between(general.std, seen.std, trust), _between(general.step, seen.step, trust),
                  joint * seen.correlation + (1 - joint) * general.correlation)


def in_manner(pose: np.ndarray, manner: Manner, stride: int) -> np.ndarray:
    """`pose` (T, 6) about its mean as far as in the `manner`, and no faster: stretched in size and in time."""
    seen, mean = observe(pose, stride), pose.mean(0)
    frames = np.arange(len(pose))
    slowed = [np.interp(frames * min(rate, 1.0), frames, column)
              for column, rate in zip((pose - mean).T, manner.step / seen.step, strict=True)]
    motion = np.stack(slowed, 1)
    return mean + (motion - motion.mean(0)) * (manner.std / np.maximum(motion.std(0), 1e-9))


def average(manners: list[Manner], weights: list[float]) -> Manner:
    """The general manner of several people: geometric means of spreads and speeds, mean correlation, mean pose 0."""
    share = np.asarray(weights, float) / np.sum(weights)
    std = np.exp(np.tensordot(share, np.log([manner.std for manner in manners]), 1))
    step = np.exp(np.tensordot(share, np.log([manner.step for manner in manners]), 1))
    return Manner(np.zeros(AXES), std, step, np.tensordot(share, [manner.correlation for manner in manners], 1))


def _between(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Geometric interpolation from `a` (`share` 0) to `b` (1)."""
    return np.exp((1 - share) * np.log(a) + share * np.log(b))
