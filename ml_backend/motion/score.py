"""How well predicted lips follow real ones: correlation of inner-lip opening and mouth width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ml_backend.face_model.model import FaceModel
from ml_backend.metrics.landmarks import model_measures, pearson
from ml_backend.motion.dataset import Clip
from ml_backend.motion.network import POSE_SIZE, MotionConfig
from ml_backend.motion.shards import Shard
from ml_backend.motion.statistics import Statistics


@dataclass(frozen=True)
class LipScore:
    """Pearson's r of one clip, at 25 fps."""

    name: str
    opening: float
    width: float


def run(network: torch.nn.Module, steps: np.ndarray) -> np.ndarray:
    """(T, K + 6) float32 raw output of `network` for feature `steps` (4T + 24, D), in one pass."""
    with torch.inference_mode():
        return network(torch.from_numpy(np.ascontiguousarray(steps))[None])[0].numpy()


def to_expression(raw: np.ndarray, statistics: Statistics, config: MotionConfig) -> np.ndarray:
    """(T, K) expression weights, not clamped, of raw network output (T, K + 6) for the general person."""
    expression = raw[:, :-POSE_SIZE]
    return statistics.mean + statistics.std * expression if config.standardised else expression


def score_clip(raw: np.ndarray, shard: Shard, statistics: Statistics, config: MotionConfig, model: FaceModel | None,
               name: str) -> LipScore:
    """Score raw output (T, K + 6) against the landmarks' measures of `shard`.

    Without a face model (training on targets that no model knows) the first two channels stand for the measures.
    """
    expression = np.clip(to_expression(raw, statistics, config), 0, 1)
    measures = expression[:, :2] if model is None else model_measures(model, expression)
    frames = min(len(measures), len(shard.measures))
    real = np.where(shard.confidence[:frames, None] > 0.5, shard.measures[:frames], np.nan)
    return LipScore(name, pearson(measures[:frames, 0], real[:, 0]), pearson(measures[:frames, 1], real[:, 1]))


def score(network: torch.nn.Module, clips: list[Clip], shards: dict[str, Shard], statistics: Statistics,
          config: MotionConfig, model: FaceModel | None) -> list[LipScore]:
    """Scores of the unchanged take of every clip."""
    return [score_clip(run(network, clip.takes[0].steps), shards[clip.name], statistics, config, model, clip.name)
            for clip in clips]


def channel_gain(network: torch.nn.Module, clips: list[Clip]) -> np.ndarray:
    """(K,) float32 in [1, 2]: real spread over predicted spread of each channel on clips the network didn't learn from.

    A network trained on squared errors shrinks what it is unsure of, which mumbles. Channels that it hardly
    predicts (r < 0.25) keep 1: more of them would be noise.
    """
    raw = np.concatenate([run(network, clip.takes[0].steps)[:len(clip.takes[0])] for clip in clips])[:, :-POSE_SIZE]
    real = np.concatenate([clip.takes[0].targets[:len(clip.takes[0])] for clip in clips])[:, :-POSE_SIZE]
    ratio = real.std(0) / np.maximum(raw.std(0), 1e-6)
    known = np.array([pearson(raw[:, k], real[:, k]) > 0.25 for k in range(raw.shape[1])])
    return np.where(known, np.clip(ratio, 1, 2), 1).astype(np.float32)
