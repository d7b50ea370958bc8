"""From the network's output to a mouth: reach, lips that open, meet and rest as people's do, emotion, timing."""

from __future__ import annotations

import numpy as np

from . import filters
from .features import FPS, STEPS
from .lips import reach, silent, widened
from .options import Options
from .statistics import PARTING, PERCENTILES, Statistics, mouth_channels

BEFORE, AFTER, FADE = 4, 4, 3
MATCHING, CONTACT_MM, JAW_SHARE = 0.7, -0.3, 0.5
LEAST_SPOKEN = 2 * FPS
SURE, LATITUDE, BESIDE = 0.45, 0.3, 2
APART, NEAR, HOLD, SIDE = 8, 6, 0.95, 0.35
SPOKEN_SHARE = 0.6
UPPER = ("brow", "cheekSquint", "noseSneer", "eyeSquint", "eyeWide")
OPENING = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel")


def expression(predicted: np.ndarray, gain: np.ndarray, statistics: Statistics, active: np.ndarray, options: Options,
               emotion: dict[str, float]) -> np.ndarray:
    """(T, K), not clamped, before blinks, gaze and contacts.

    Parameters
    ----------
    predicted : (T, K) standardised deviations that the network says
    gain : (K,) how many times further each channel really moves
    active : (T,) bool, where somebody speaks
    emotion : the chosen emotion's weight of each expression at strength 1
    """
    busy = speaking(active)
    result = to_weights(predicted, gain, statistics, options.mouth)
    result = match_lips(result, busy, statistics)
    result = scale_upper_face(result, statistics, options)
    if options.quiet_lips:
        mouth, rest = mouth_channels(statistics.names), silent(statistics)
        result[:, mouth] = rest[mouth] + busy[:, None] * (result[:, mouth] - rest[mouth])
    result = add_emotion(result, statistics.names, busy, emotion, options.emotion_strength)
    if options.smoothing_ms > 0:
        result = filters.gaussian(result, options.smoothing_ms / 1000 * FPS, filters.NEAREST)
    return result


def to_weights(predicted: np.ndarray, gain: np.ndarray, statistics: Statistics, reach: float) -> np.ndarray:
    """(T, K) float32: the mean expression plus the smoothed deviations, whose flattened peaks are paid back."""
    smoothed = filters.convolve(predicted, np.array([1, 4, 1]) / 6)
    spread = np.minimum(predicted.std(0) / np.maximum(smoothed.std(0), 1e-6), 1.25)
    person = np.where(mouth_channels(statistics.names), reach, 1.0)
    return (statistics.mean + smoothed * spread * gain * statistics.std * person).astype(np.float32)


def speaking(active: np.ndarray) -> np.ndarray:
    """(T,) float32 in [0, 1]: 1 where the mouth is busy; lips part before the voice starts and close after it ends."""
    busy = filters.highest(np.pad(active, AFTER).astype(np.float64), BEFORE + AFTER + 1, filters.ZERO)[AFTER:-AFTER]
    kernel = np.hanning(FADE + 2)[1:-1]
    return filters.convolve(busy, kernel / kernel.sum()).astype(np.float32)


def match_lips(weights: np.ndarray, busy: np.ndarray, statistics: Statistics) -> np.ndarray:
    """`weights` (T, K) whose lips open, meet, spread and purse as far and as often as people's do.

    In speech, the width's distribution is moved most of the way to theirs, and the opening's mean and spread; lips that
    would cross only meet.
    """
    spoken = busy > 0.5
    share = np.where(mouth_channels(statistics.names), statistics.std ** 2, 0)
    for measure in (1, 0):
        column = statistics.lip_motion[:, measure]
        seen = weights @ column
        wanted = seen
        if spoken.sum() >= LEAST_SPOKEN:
            source = np.percentile(seen[spoken], PERCENTILES) + np.arange(len(PERCENTILES)) * 1e-6
            target = statistics.lip_range[measure]
            moved = (np.interp(seen, source, target) if measure
                     else target.mean() + (seen - source.mean()) * (target.std() / source.std()))
            wanted = seen + MATCHING * (moved - seen) * busy
        if measure == 0:
            wanted = np.maximum(wanted, CONTACT_MM)
        weights = reach(weights, wanted, column, share, statistics.lip_motion[:, 1 - measure])
    return weights.astype(np.float32)


def scale_upper_face(weights: np.ndarray, statistics: Statistics, options: Options) -> np.ndarray:
    """`weights` (T, K) whose brows, cheeks, nose and lids go further or less far from the mean."""
    factor = np.array([options.upper_face * (options.brows if name.startswith("brow") else 1.0)
                       if name.startswith(UPPER) else 1.0 for name in statistics.names], np.float32)
    return np.where(factor == 1, weights, statistics.mean + (weights - statistics.mean) * factor).astype(np.float32)


def add_emotion(weights: np.ndarray, names: list[str], busy: np.ndarray, emotion: dict[str, float], strength: float
                ) -> np.ndarray:
    """`weights` (T, K) with the emotion's offset; a speaking mouth takes a part of it, and none that opens the lips."""
    result = weights.copy()
    for name, weight in emotion.items():
        if name in names:
            spoken = 0.0 if name.startswith(OPENING) else SPOKEN_SHARE
            share = 1 - busy * (1 - spoken) if name.startswith(("mouth", "jaw")) else 1.0
            result[:, names.index(name)] += strength * weight * share
    return result


def contacts(probability: np.ndarray, busy: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """(T,) float32 in [0, 1]: how far lips are drawn together for p, b and m; 1 where they have to touch.

    Parameters
    ----------
    probability : (4T,) per 10 ms that the lips are shut for one of them
    busy : (T,) in [0, 1], where somebody speaks
    opening : (T,) of the lips without contact: a peak counts sooner where they are about to close anyway
    """
    held = np.zeros(len(busy), np.float32)
    framed = np.concatenate([[0], probability, [0]])
    found = filters.peaks(framed)
    found = found[framed[found] >= SURE / 2]
    for peak in filters.apart(found, framed[found], APART) - 1:
        if probability[peak] >= _needed(opening, busy, int(peak) // STEPS):
            first = max(peak - NEAR, 0)
            high = np.flatnonzero(probability[first:peak + NEAR + 1] >= probability[peak] * HOLD) + first
            held[high.min() // STEPS:high.max() // STEPS + 1] = 1
    return np.maximum(held, SIDE * filters.highest(held, 3, filters.ZERO)) * (busy > 0)


def _needed(opening: np.ndarray, busy: np.ndarray, frame: int) -> float:
    """Probability from which the peak in `frame` counts."""
    if not (busy > 0.5).any():
        return SURE
    usual = max(float(np.median(opening[busy > 0.5])), 1e-6)
    least = float(opening[max(frame - BESIDE, 0):frame + BESIDE + 1].min())
    return SURE + LATITUDE * float(np.clip(least / usual - 0.5, -0.5, 1))


def touch(weights: np.ndarray, drawn: np.ndarray, statistics: Statistics) -> np.ndarray:
    """`weights` (T, K) whose lips are `drawn` (T,) of the way together; `mouthClose` meets them over a moving jaw.

    The mouth stays as wide as it was.
    """
    names, result = statistics.names, np.clip(weights, 0, 1)
    width = result @ statistics.lip_motion[:, 1]
    for index, name in enumerate(names):
        if name in PARTING:
            result[:, index] *= 1 - drawn * (JAW_SHARE if name == "jawOpen" else 1)
    if "mouthClose" in names and "jawOpen" in names:
        close, jaw = names.index("mouthClose"), result[:, names.index("jawOpen")]
        shut = np.minimum(result[:, close], jaw)
        result[:, close] = shut + drawn * (jaw - shut)
    result = widened(result, width, statistics)
    return np.where(drawn[:, None] > 0, result, weights).astype(np.float32)


def led(weights: np.ndarray, lead_ms: float) -> np.ndarray:
    """`weights` (T, K) moved against the sound by the lead; its ends are held."""
    if not lead_ms:
        return weights
    moved = np.clip(np.arange(len(weights)) + lead_ms / 1000 * FPS, 0, len(weights) - 1)
    first = np.minimum(moved.astype(int), len(weights) - 1)
    after, part = np.minimum(first + 1, len(weights) - 1), (moved - first)[:, None]
    return np.asarray(weights[first] * (1 - part) + weights[after] * part, np.float32)


def bounded(weights: np.ndarray, names: list[str]) -> np.ndarray:
    """(T, K) float32 in [0, 1]; `mouthClose` no further than the jaw is open, beyond which lips would cross."""
    result = np.clip(weights, 0, 1)
    if "mouthClose" in names and "jawOpen" in names:
        close = names.index("mouthClose")
        result[:, close] = np.minimum(result[:, close], result[:, names.index("jawOpen")])
    return result.astype(np.float32)
