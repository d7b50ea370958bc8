"""MotionStyle: how one person moves, taken from a track of theirs, or how people move in general."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import convolve1d

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.audio.features import FPS
from ml_backend.errors import UserInputError
from ml_backend.motion.eyes import EyeStyle, eye_style
from ml_backend.motion.lips import silent
from ml_backend.motion.prepare import resample
from ml_backend.motion.statistics import (
    PERCENTILES,
    SPECTRUM_BINS,
    Statistics,
    blink_statistics,
    clip_mean,
    mouth_amplitude,
    rest_expression,
)

DEFAULT_DISTANCE = 0.6
_GENERAL_SECONDS = 60
_MIN_BLINK_SECONDS = 8.0
_CLOSED_MM = 0.6
_JUMP = np.array([0.2, 0.2, 0.2, 0.05, 0.05, 0.08])


@dataclass(frozen=True)
class MotionStyle:
    """One person's way of moving, K expressions, at 25 fps.

    Attributes
    ----------
    names : list of K str
    neutral : (K,) float32, mean expression, about which the mouth moves
    rest : (K,) float32, expression in silence, lips closed
    amplitude : float, reach of the mouth, 1 = as most people's
    pose_track : (N, 6) float32, a stretch of the person's own motion: radians and metres, camera space
    pose_mean, pose_std : (6,) float32 of `pose_track`
    blink_rate : float, blinks per second
    blink_duration : float, seconds
    lip_range : (2, 21) float32, mm, percentiles of opening and width (less the neutral one) while the person speaks
    eyes : gaze, brows, and which lid leads
    watched : whether `pose_track` was seen; False where it is made up, in the manner of people in general
    """

    names: list[str]
    neutral: np.ndarray
    rest: np.ndarray
    amplitude: float
    pose_track: np.ndarray
    pose_mean: np.ndarray
    pose_std: np.ndarray
    blink_rate: float
    blink_duration: float
    lip_range: np.ndarray
    eyes: EyeStyle = field(default_factory=EyeStyle)
    watched: bool = True


def style_from_track(track: FaceTrack, statistics: Statistics) -> MotionStyle:
    """The style of the person in `track`; what a track of a few frames can't tell comes from the general `statistics`.

    Raises
    ------
    UserInputError
        If the track's expressions are not those of the statistics.
    """
    names = [str(name) for name in track.expression_names]
    if names != statistics.names:
        raise UserInputError("The clip was tracked with a face model whose expressions the motion weights don't know; "
                             "track it with the built-in model.")
    positions = np.arange(max(int(len(track) * FPS / float(track.fps)), 1)) / FPS * float(track.fps)
    expression = resample(track.expression, positions)
    general = default_style(statistics)
    whole = smooth(resample(track.pose(), positions))
    pose, rotation = longest_steady(whole), whole[:, :2]
    if len(expression) < 2 * FPS:
        return _styled(general, expression, pose)
    rate, duration = general.blink_rate, general.blink_duration
    if len(expression) >= _MIN_BLINK_SECONDS * FPS:
        seen, lasting = blink_statistics(expression, names)
        # Eight seconds may hold no blink of somebody who blinks: draw towards the usual rate by four seconds' worth.
        seconds = len(expression) / FPS
        rate = float(np.clip((seen * seconds + general.blink_rate * 4) / (seconds + 4), 0.05, 1.0))
        duration = float(np.clip(lasting if seen else general.blink_duration, 0.12, 0.4))
    lip_range = seen_range(expression, statistics)
    rest = silent(rest_expression(expression, names), lip_range, statistics)
    return MotionStyle(names, clip_mean(expression), rest, mouth_amplitude(expression, statistics), pose,
                       pose.mean(0), pose.std(0), rate, duration, lip_range, eye_style(expression, names, rotation))


def _styled(general: MotionStyle, expression: np.ndarray, pose: np.ndarray) -> MotionStyle:
    """Too short for statistics (a photo): general motion about the pose that is there."""
    track = (general.pose_track - general.pose_mean + pose.mean(0)).astype(np.float32)
    neutral, names = general.neutral.copy(), general.names
    upper = np.array([not name.startswith(("jaw", "mouth", "tongue", "eyeBlink")) for name in names])
    neutral[upper] = expression.mean(0)[upper]
    rest = np.where(upper, neutral, general.rest).astype(np.float32)
    return MotionStyle(names, neutral, rest, 1.0, track, track.mean(0), track.std(0), general.blink_rate,
                       general.blink_duration, general.lip_range, eye_style(expression, names, pose[:, :2]),
                       watched=False)


def default_style(statistics: Statistics, *, seed: int = 0, distance: float = DEFAULT_DISTANCE) -> MotionStyle:
    """People in general, facing the camera at `distance` metres; the same for the same seed."""
    rest = silent(statistics.rest, statistics.lip_range, statistics)
    track = general_pose(statistics, _GENERAL_SECONDS * FPS, seed) + np.array([0, 0, 0, 0, 0, distance], np.float32)
    return MotionStyle(statistics.names, statistics.mean, rest, 1.0, track, track.mean(0), track.std(0),
                       statistics.blink_rate, statistics.blink_duration, statistics.lip_range, watched=False)


def seen_range(expression: np.ndarray, statistics: Statistics) -> np.ndarray:
    """(2, 21) float32 percentiles of opening and width, mm, in `expression` (T, K) without its long pauses.

    A pause is taken to be 0.4 s or more of lips as close as they ever are.
    """
    lips = expression @ statistics.lip_motion
    opening = lips[:, 0]
    low = opening < np.percentile(opening, 2) + _CLOSED_MM
    edges = np.flatnonzero(np.diff(np.concatenate([[0], low.astype(int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < 0.4 * FPS:
            low[start:stop] = False
    spoken = lips[~low] if (~low).sum() >= FPS else lips
    return np.percentile(spoken, PERCENTILES, axis=0).T.astype(np.float32)


def general_pose(statistics: Statistics, frames: int, seed: int) -> np.ndarray:
    """(T, 6) float32 pose about zero: noise with the general spectrum, its axes correlated as in people."""
    generator = np.random.default_rng([seed, 0x905E])
    count = max(frames, 2 * SPECTRUM_BINS)
    frequency = np.fft.rfftfreq(count, 1 / FPS)
    known = np.arange(1, SPECTRUM_BINS + 1) * FPS / (2 * SPECTRUM_BINS)
    amplitude = np.stack([np.interp(frequency, known, row) for row in statistics.pose_spectrum])
    # What is slower than the blocks that the spectrum was measured on would be drift.
    amplitude[:, frequency < known[0] / 2] = 0
    shape = np.sqrt(np.mean(amplitude ** 2, axis=0))
    noise = np.fft.irfft(np.fft.rfft(generator.standard_normal((6, count)), axis=1) * shape, count, axis=1)
    noise /= noise.std(1, keepdims=True)
    mixing = np.linalg.cholesky(statistics.pose_mixing.astype(np.float64) + 0.05 * np.eye(6)) @ noise
    mixing *= statistics.pose_std[:, None] / np.maximum(mixing.std(1, keepdims=True), 1e-9)
    return (mixing - mixing.mean(1, keepdims=True)).T[:frames].astype(np.float32)


def smooth(pose: np.ndarray) -> np.ndarray:
    """(T, D) with a short symmetric kernel over time: the tracker's trembling goes, nods stay."""
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return convolve1d(pose, kernel, axis=0, mode="nearest").astype(np.float32)


def steady_parts(pose: np.ndarray) -> list[np.ndarray]:
    """`pose` (T, 6) split at every jump that no head makes in a frame (a cut, a lost face)."""
    jumps = np.flatnonzero((np.abs(np.diff(pose, axis=0)) > _JUMP).any(1)) + 1
    return np.split(pose, jumps)


def longest_steady(pose: np.ndarray) -> np.ndarray:
    """The longest of the `steady_parts` of `pose` (T, 6)."""
    return max(steady_parts(pose), key=len)
