"""What is typical of people who speak: means and spreads that standardise training targets and stand in for a clip."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml_backend.audio.features import FPS
from ml_backend.audio.voice import voice_activity
from ml_backend.errors import ArtefactError
from ml_backend.motion.shards import Shard

MIN_STD = 0.004
SPECTRUM_BINS = 128
_POSE_BLOCK = 2 * SPECTRUM_BINS
_ARRAYS = ("mean", "rest", "std", "pose_std", "pose_spectrum", "pose_mixing", "lip_motion", "lip_range")
PERCENTILES = np.linspace(0, 100, 21)


@dataclass(frozen=True)
class Statistics:
    """General statistics of speaking people, K expressions.

    Attributes
    ----------
    names : list of K str
    mean : (K,) float32, mean expression over speakers
    rest : (K,) float32, mean expression while the lips are closest together
    std : (K,) float32, typical standard deviation within a clip, never below `MIN_STD`
    pose_std : (6,) float32, radians and metres, typical within a clip
    pose_spectrum : (6, 128) float32, mean amplitude spectrum of 256 pose frames about their mean
    pose_mixing : (6, 6) float32, correlation of the pose's axes
    lip_motion : (K, 2) float32, mm by which each expression at weight 1 parts the inner lips and widens the mouth
    lip_range : (2, 21) float32, mm, 0th to 100th percentile of opening and width (less the neutral one) in speech
    blink_rate, blink_duration : float, per second and seconds
    """

    names: list[str]
    mean: np.ndarray
    rest: np.ndarray
    std: np.ndarray
    pose_std: np.ndarray
    pose_spectrum: np.ndarray
    pose_mixing: np.ndarray
    lip_motion: np.ndarray
    lip_range: np.ndarray
    blink_rate: float
    blink_duration: float

    def to_json(self) -> str:
        """The statistics as JSON text."""
        arrays = {key: np.round(getattr(self, key).astype(float), 6).tolist() for key in _ARRAYS}
        return json.dumps({"names": self.names, "blink_rate": self.blink_rate, "blink_duration": self.blink_duration,
                           **arrays}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Statistics:
        """The statistics in JSON `text`; raises `ArtefactError` if they are none."""
        try:
            values = json.loads(text)
            arrays = {key: np.array(values[key], np.float32) for key in _ARRAYS}
            return Statistics(names=[str(name) for name in values["names"]], blink_rate=float(values["blink_rate"]),
                              blink_duration=float(values["blink_duration"]), **arrays)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArtefactError(f"The motion weights' statistics can't be read ({error}); "
                                "make the weights again.") from error


def mouth_channels(names: list[str]) -> np.ndarray:
    """(K,) bool: jaw, mouth, cheek and tongue shapes; all of them where no name is known."""
    mask = np.array([name.startswith(("jaw", "mouth", "cheek", "tongue")) for name in names])
    return mask if mask.any() else np.ones(len(names), bool)


def clip_mean(expression: np.ndarray) -> np.ndarray:
    """(K,) float32 mean over the frames of `expression` (T, K)."""
    return expression.mean(0).astype(np.float32)


def rest_expression(expression: np.ndarray, names: list[str], opening: np.ndarray | None = None) -> np.ndarray:
    """(K,) float32: mean of the twelfth of the frames of `expression` (T, K) with the lips
    closest together.

    `opening` (T,) says how open they are (NaN sorts last); without it the sum of the jaw and lip-parting weights does.
    """
    if opening is None:
        parting = [name == "jawOpen" or name.startswith(("mouthLowerDown", "mouthUpperUp")) for name in names]
        opening = expression[:, parting].sum(1) if any(parting) else expression.mean(1)
    count = max(len(expression) // 12, 1)
    return expression[np.argsort(np.asarray(opening), kind="stable")[:count]].mean(0).astype(np.float32)


def mouth_amplitude(expression: np.ndarray, statistics: Statistics) -> float:
    """How far this person's mouth moves in `expression` (T, K), 1 = as most people's; within 0.35 and 3."""
    mouth = mouth_channels(statistics.names)
    own = np.sqrt(np.mean(expression[:, mouth].std(0) ** 2))
    return float(np.clip(own / np.sqrt(np.mean(statistics.std[mouth] ** 2)), 0.35, 3))


def gather(shards: list[Shard], lip_motion: np.ndarray) -> Statistics:
    """Statistics over `shards`, every speaker counting the same, whatever the number of clips.

    `lip_motion` (K, 2) is what each expression does to opening and width, mm.
    """
    names = [str(name) for name in shards[0].names]
    speakers: dict[str, list[Shard]] = {}
    for shard in shards:
        speakers.setdefault(str(shard.speaker), []).append(shard)
    groups = [group[:20] for group in speakers.values()]

    def over_speakers(measure: Callable[[Shard], np.ndarray]) -> np.ndarray:
        return np.mean([np.mean([measure(shard) for shard in group], axis=0) for group in groups], axis=0)

    std = np.sqrt(over_speakers(lambda shard: shard.expression.std(0) ** 2))
    poses = [np.sqrt(np.mean([shard.pose.std(0) ** 2 for shard in group], axis=0)) for group in groups]
    blocks = [block for group in groups for shard in group for block in pose_blocks(shard.pose)]
    spectrum, mixing = pose_spectrum(blocks)
    long = [shard for shard in shards if len(shard) > 4 * FPS]
    blinks = np.array([blink_statistics(shard.expression, names) for shard in long] or [(0.3, 0.2)])
    return Statistics(
        names, over_speakers(lambda shard: clip_mean(shard.expression)).astype(np.float32),
        over_speakers(lambda shard: rest_expression(shard.expression, names, shard.measures[:, 0])).astype(np.float32),
        np.maximum(std, MIN_STD).astype(np.float32),
        np.maximum(np.median(poses, axis=0), 1e-4).astype(np.float32), spectrum, mixing,
        lip_motion.astype(np.float32),
        over_speakers(lambda shard: spoken_range(shard, lip_motion)).astype(np.float32),
        float(np.clip(np.mean(blinks[:, 0]), 0.1, 0.6)), float(np.clip(np.median(blinks[:, 1]), 0.12, 0.35)))


def spoken_range(shard: Shard, lip_motion: np.ndarray) -> np.ndarray:
    """(2, 21) percentiles of opening and width, mm, over the frames of `shard` in which somebody speaks."""
    active = voice_activity(shard.samples)[:len(shard)]
    lips = (shard.expression @ lip_motion)[:len(active)]
    return np.percentile(lips[active] if active.sum() >= FPS else lips, PERCENTILES, axis=0).T


def pose_blocks(pose: np.ndarray) -> list[np.ndarray]:
    """Stretches (256, 6) of `pose` (T, 6) about their means; none from a shorter clip."""
    return [pose[start:start + _POSE_BLOCK] - pose[start:start + _POSE_BLOCK].mean(0)
            for start in range(0, len(pose) - _POSE_BLOCK + 1, SPECTRUM_BINS)]


def pose_spectrum(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(6, 128) mean amplitude spectrum and (6, 6) correlation of pose `blocks` (256, 6).

    Without any block: a spectrum falling with frequency, axes independent.
    """
    if not blocks:
        spectrum = np.tile(1 / (1 + np.arange(SPECTRUM_BINS) / 3.0) ** 1.5, (6, 1))
        return spectrum.astype(np.float32), np.eye(6, dtype=np.float32)
    # Normalised block by block, so that one lively speaker doesn't decide the spectrum's form.
    normal = [block / np.maximum(block.std(0), 1e-6) for block in blocks]
    window = np.hanning(_POSE_BLOCK)[:, None]
    power = np.mean([np.abs(np.fft.rfft(block * window, axis=0)[1:]) ** 2 for block in normal], axis=0)
    mixing = np.mean([block.T @ block / len(block) for block in normal], axis=0)
    return np.sqrt(power).T.astype(np.float32), mixing.astype(np.float32)


def blink_statistics(expression: np.ndarray, names: list[str]) -> tuple[float, float]:
    """Blinks per second and their typical duration (s) in `expression` (T, K) at 25 fps.

    A blink is a peak of the mean lid weight that rises clearly over the lids' usual state and is over within 0.6 s.
    """
    lids = [index for index, name in enumerate(names) if name.startswith("eyeBlink")]
    if not lids or len(expression) < FPS:
        return 0.3, 0.2
    closing = expression[:, lids].mean(1)
    usual = float(np.median(closing))
    high = float(np.percentile(closing, 99.5))
    if high - usual < 0.15:
        return 0.0, 0.2
    shut = closing > (usual + high) / 2
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    lengths = edges[1::2] - edges[::2]
    lengths = lengths[lengths <= 0.6 * FPS]
    if not len(lengths):
        return 0.0, 0.2
    # Half-height width to whole duration, as `blink.lid_curve` has them.
    return len(lengths) / (len(expression) / FPS), float(np.median(lengths) * 2.2 / FPS)
