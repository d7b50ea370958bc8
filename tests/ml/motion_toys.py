"""A tiny face model, tiny statistics, and speech whose loudness is the truth about the mouth: shared by tests."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ml_backend.audio.load import Speech
from ml_backend.face_model.model import FaceModel
from ml_backend.motion import shards
from ml_backend.motion.network import MotionConfig, MotionEnsemble, build
from ml_backend.motion.statistics import Statistics

# One thread: on a busy machine the threads of such small networks wait for each other more than they work.
torch.set_num_threads(1)

NAMES = ["jawOpen", "mouthStretchLeft", "mouthClose", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookOutLeft",
         "eyeLookInLeft"]
TINY = MotionConfig(name="tiny", channels=16, hidden=16, layers=1, dropout=0.0, expressions=len(NAMES))


def tiny(seed: int = 0) -> MotionEnsemble:
    torch.manual_seed(seed)
    return build(TINY)


def statistics() -> Statistics:
    count = len(NAMES)
    spectrum = np.tile(1 / (1 + np.arange(128) / 4), (6, 1)).astype(np.float32)
    return Statistics(NAMES, np.full(count, 0.2, np.float32), np.array([0, 0.1, 0, 0.1, 0.1, 0, 0], np.float32),
                      np.full(count, 0.1, np.float32), np.array([0.03, 0.04, 0.02, 0.003, 0.003, 0.005], np.float32),
                      spectrum, np.eye(6, dtype=np.float32),
                      np.array([[30, 0, -30, 0, 0, 0, 0], [0, 10, 0, 0, 0, 0, 0]], np.float32).T,
                      np.linspace([0, 0], [15, 5], 21, dtype=np.float32).T, 0.3, 0.2)


@lru_cache
def face() -> FaceModel:
    """Four vertices: upper lip, lower lip, corners; the jaw moves the lower lip, stretching a corner."""
    shape = np.array([[0, 0, 0], [0, 0, 0], [-0.025, 0, 0], [0.025, 0, 0]], np.float32)
    basis = np.zeros((len(NAMES), 4, 3), np.float32)
    basis[0, 1, 1], basis[1, 3, 0], basis[2, 1, 1] = 0.03, 0.01, -0.03
    faces, whole = np.array([[0, 1, 2, 3]], np.int32), np.ones((2, 4), np.float32)
    return FaceModel(np.array("toy"), shape, np.zeros((1, 4, 3), np.float32), basis, np.array(NAMES),
                     np.full((4, 3), 0.5, np.float32), np.zeros((1, 4, 3), np.float32), faces,
                     np.zeros((4, 2), np.float32), faces, np.zeros(1, np.int32), np.array(["skin"]),
                     np.array([13, 14, 78, 308], np.int32), np.arange(4, dtype=np.int32), np.array(["face", "lips"]),
                     whole, np.array(["skin"]), np.zeros(4, np.int32),
                     np.array(["head", "jaw", "eye_left", "eye_right"]),
                     np.zeros((4, 3), np.float32))


def babble(seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) samples and (T,) their loudness in [0, 1]: bursts of a buzz at random times, and nothing else to learn."""
    generator = np.random.default_rng(seed)
    frames = round(seconds * 25)
    wander = np.convolve(generator.standard_normal(frames + 20), np.hanning(9), "same")[10:-10]
    level = np.clip(wander * 0.35 + 0.3, 0, 1)
    time = np.arange(frames * 640) / 16000
    envelope = np.interp(time, (np.arange(frames) + 0.7) / 25, level)
    buzz = sum(np.sin(2 * np.pi * 130 * k * time + k * k) / k for k in range(1, 25))
    noise = 0.003 * generator.standard_normal(len(time))
    return (0.15 * envelope ** 2 * buzz + noise).astype(np.float32), level.astype(np.float32)


def shard(seconds: float, seed: int, split: str, speaker: str | None = None) -> shards.Shard:
    samples, level = babble(seconds, seed)
    generator = np.random.default_rng([seed, 1])
    expression = np.zeros((len(level), len(NAMES)), np.float32)
    expression[:, 0], expression[:, 1] = 0.6 * level, 0.5 - 0.4 * level
    expression[:, 3:5] = 0.1
    drift = np.cumsum(generator.standard_normal((len(level), 6)), 0)
    pose = (drift - drift.mean(0)) / (drift.std(0) + 1e-9) * 0.02
    measures = np.stack([expression[:, 0] * 0.03, 0.05 + expression[:, 1] * 0.01], 1)
    return shards.Shard((np.clip(samples, -1, 1) * 32767).astype(np.int16), expression, np.array(NAMES),
                        pose.astype(np.float32), measures.astype(np.float32), np.ones(len(level), np.float32),
                        np.array(speaker or f"voice{seed}"), np.array(split))


def shard_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(4):
        shards.save(shard(6, seed, "train"), folder / f"train{seed}.npz")
    shards.save(shard(8, 9, "validate"), folder / "validate.npz")
    return folder


def speech(samples: np.ndarray) -> Speech:
    return Speech(samples, 16000, len(samples) / 16000)
