"""Head motion with a person's own statistics, as long as the speech lasts, without drift and without a visible loop."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.ndimage import convolve1d

from ml_backend.audio.features import FPS
from ml_backend.errors import UserInputError
from ml_backend.motion.style import MotionStyle

PoseSource = Literal["predicted", "clip", "still", "frontal"]
POSE_SOURCES: tuple[str, ...] = get_args(PoseSource)
_SEGMENT = 5 * FPS
_CANDIDATES = 12
_MIN_TRACK = FPS
_STD_RANGE = (0.8, 1.25)
_SLOW = np.hanning(FPS + 2)[1:-1] / np.hanning(FPS + 2).sum()


def head_pose(style: MotionStyle, frames: int, *, seed: int, loudness: np.ndarray | None = None,
              predicted: np.ndarray | None = None, source: PoseSource = "predicted") -> np.ndarray:
    """(T, 6) float32 pose of the head: radians and metres in camera space.

    Parameters
    ----------
    style : whose motion
    frames : T, at 25 fps
    seed : equal seeds move equally
    loudness : (T,) in [0, 1]; where given, lively motion goes to where the speech is lively
    predicted : (T, 6) the network's part, in units of the person's standard deviation
    source : "predicted" new motion like the person's, following the speech; "clip" the person's own motion to and
        fro from a random frame; "still" the person's mean pose; "frontal" straight into the camera

    Raises
    ------
    UserInputError
        For an unknown source.
    """
    if source not in POSE_SOURCES:
        raise UserInputError(f"The head-pose source {source} is unknown; use one of {', '.join(POSE_SOURCES)}.")
    if source in ("still", "frontal") or len(style.pose_track) < 2:
        pose = np.repeat(style.pose_mean[None], frames, 0)
        if source == "frontal":
            pose[:, :3] = 0
        return pose.astype(np.float32)
    generator = np.random.default_rng([seed, 0x4EAD])
    if source == "clip" or len(style.pose_track) < _MIN_TRACK:
        return replay(style.pose_track, frames, generator)
    own = woven(style.pose_track - style.pose_mean, frames, loudness, generator)
    if predicted is not None:
        part = predicted - predicted.mean(0)
        # Both parts together keep the variance 1; the network never gets more than seven tenths of it.
        share = np.clip(part.var(0), 1e-9, 0.7)
        own = own * np.sqrt(1 - share) + part * np.sqrt(share / np.maximum(part.var(0), 1e-9)) * style.pose_std
    return (style.pose_mean + matched(own, style, frames)).astype(np.float32)


def replay(track: np.ndarray, frames: int, generator: np.random.Generator) -> np.ndarray:
    """(frames, 6) `track` (N, 6) played from a random frame to its end, back, and so on."""
    last = len(track) - 1
    position = (int(generator.integers(2 * last)) + np.arange(frames)) % (2 * last)
    return track[np.minimum(position, 2 * last - position)].astype(np.float32)


def woven(track: np.ndarray, frames: int, loudness: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """(frames, 6) random stretches of `track` (N, 6, about its mean) faded into each other.

    The fades are sines, whose squares add up to one: the variance and the speed of the motion stay the person's, and
    so do the relations between the axes, since all axes fade alike. Of a dozen stretches the one whose motion goes
    best with the loudness at its place is taken, for heads move with the stress of speech.
    """
    length = max(min(_SEGMENT, len(track) // 2) // 2 * 2, 2)
    half = length // 2
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length)[:, None]
    speed = np.abs(np.gradient(track[:, :3], axis=0)).sum(1)
    total = np.zeros((frames + 2 * length, track.shape[1]))
    for start in range(0, frames + half, half):
        wanted = None if loudness is None else _window_of(loudness, start - half, length)
        chosen = _choose(speed, wanted, length, generator)
        total[start:start + length] += track[chosen:chosen + length] * window
    return total[half:half + frames]


def matched(pose: np.ndarray, style: MotionStyle, frames: int) -> np.ndarray:
    """`pose` (T, 6) centred, its slow part scaled towards the person's spread, its quick part towards their speed.

    Within bounds: a short take may well be calm.
    """
    slow = convolve1d(pose, _SLOW, axis=0, mode="nearest")
    quick = pose - slow
    # In a short take the mean itself may lie off the person's; give back part of it so that takes differ.
    keep = pose.mean(0) * np.exp(-frames / (8 * FPS))
    slow = slow - pose.mean(0)
    wanted = np.abs(np.diff(style.pose_track, axis=0)).mean(0)
    for _ in range(3):
        speed = np.abs(np.diff(slow + quick, axis=0)).mean(0) if frames > 1 else wanted
        quick = quick * np.clip(wanted / np.maximum(speed, 1e-9), 0.5, 1.5)
        spread = np.sqrt((slow + quick).var(0) + keep ** 2)
        slow = slow * np.clip(style.pose_std / np.maximum(spread, 1e-9), *_STD_RANGE)
    return slow + quick + keep


def _window_of(values: np.ndarray, start: int, length: int) -> np.ndarray:
    """`length` entries of `values` (T,) from `start`, which may lie outside; the ends are held."""
    return values[np.clip(np.arange(start, start + length), 0, len(values) - 1)]


def _choose(speed: np.ndarray, wanted: np.ndarray | None, length: int, generator: np.random.Generator) -> int:
    """First frame of a stretch; of a few random ones the best match of `speed` (N,) to `wanted` (length,)."""
    starts = generator.integers(0, len(speed) - length + 1, _CANDIDATES)
    if wanted is None or wanted.std() < 1e-3:
        return int(starts[0])
    shape = (wanted - wanted.mean()) / wanted.std()
    fits = [float(np.dot(shape, (part - part.mean()) / max(float(part.std()), 1e-9)))
            for part in (speed[start:start + length] for start in starts)]
    return int(starts[int(np.argmax(fits))])
