"""Head motion with a person's own statistics, as long as the speech lasts, without drift and without a visible loop."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ml_backend.audio.features import FPS
from ml_backend.audio.prosody import LOUDNESS
from ml_backend.errors import UserInputError
from ml_backend.motion.head_controls import PoseAmount
from ml_backend.motion.pose_checkpoint import PoseWeights
from ml_backend.motion.pose_manner import in_manner, personal
from ml_backend.motion.pose_match import matched, most_like
from ml_backend.motion.pose_replay import follow, replay, woven
from ml_backend.motion.pose_sample import sample_poses
from ml_backend.motion.style import MotionStyle

PoseSource = Literal["predicted", "clip", "still", "frontal"]
POSE_SOURCES: tuple[str, ...] = get_args(PoseSource)
MOST_TAKES, TAKES_SECONDS = 8, 80
"""So many takes at most, and so many seconds of them, of which the one most like the person is kept: only short takes
miss a person's manner by chance."""
_MIN_TRACK = FPS


def head_pose(style: MotionStyle, frames: int, *, seed: int, weights: PoseWeights | None = None,
              sound: np.ndarray | None = None, source: PoseSource = "predicted", donor: np.ndarray | None = None,
              amount: PoseAmount | None = None) -> np.ndarray:
    """(T, 6) float32 pose of the head: radians and metres in camera space.

    Parameters
    ----------
    style : whose motion
    frames : T, at 25 fps
    seed : equal seeds move equally
    weights : the network that predicts; without one stretches of the person's own motion are woven together
    sound : (T, 10) prosody of the speech; without it the head moves for no reason
    source : "predicted" new motion like the person's, following the speech; "clip" the person's own motion to and
        fro from a random frame; "still" the person's mean pose; "frontal" straight into the camera
    donor : (N, 6) motion of another clip, which then moves this head about this person's mean, whatever the source
    amount : of the motion about the mean, axis by axis

    Raises
    ------
    UserInputError
        For an unknown source.
    """
    if source not in POSE_SOURCES:
        raise UserInputError(f"The head-pose source {source} is unknown; use one of {', '.join(POSE_SOURCES)}.")
    mean = style.pose_mean.astype(np.float64)
    motion = _motion(style, frames, seed, weights, sound, source, donor)
    if source == "frontal" and donor is None:
        mean = mean * np.array([0, 0, 0, 1, 1, 1])
    return (mean + motion * (amount or PoseAmount()).array()).astype(np.float32)


def _motion(style: MotionStyle, frames: int, seed: int, weights: PoseWeights | None, sound: np.ndarray | None,
            source: PoseSource, donor: np.ndarray | None) -> np.ndarray:
    """(T, 6) motion about the person's mean."""
    if donor is not None:
        return follow(donor, frames) - donor.mean(0)
    track = style.pose_track
    if source in ("still", "frontal") or len(track) < 2:
        return np.zeros((frames, 6))
    if source == "clip" or len(track) < _MIN_TRACK:
        return replay(track, frames, np.random.default_rng([seed, 0x4EAD])) - style.pose_mean
    if weights is None:
        loudness = None if sound is None else sound[:, LOUDNESS]
        motion = woven(track - style.pose_mean, frames, loudness, np.random.default_rng([seed, 0x4EAD]))
        return matched(motion, track, personal(track, None, 2))
    if not style.watched:
        # The network's people were filmed talking freely; among those behind the style are some who read out loud.
        manner, track, takes = weights.general, in_manner(track, weights.general, weights.network.config.stride), 1
    else:
        manner = personal(track, weights.general, weights.network.config.stride)
        takes = int(np.clip(TAKES_SECONDS * FPS // max(frames, 1), 1, MOST_TAKES))
    return most_like(sample_poses(weights, manner, frames, seed, sound, count=takes), track, manner)
