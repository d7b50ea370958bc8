"""After the network: contrast, quiet lips in silence, eyes that keep looking at the camera, weights within [0, 1]."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve1d, maximum_filter1d

from ml_backend.audio.features import FPS
from ml_backend.motion.lips import PARTING, reach, widened
from ml_backend.motion.statistics import PERCENTILES, Statistics, mouth_channels
from ml_backend.motion.style import MotionStyle

_LEAD, _TAIL, _FADE = 4, 4, 3
_MATCHING = 0.7
_CONTACT_MM = -0.3
_MIN_SPOKEN = 2 * FPS
_JAW_SHARE = 0.5


def to_weights(deviation: np.ndarray, std: np.ndarray, gain: np.ndarray, style: MotionStyle,
               reach: float = 1.0) -> np.ndarray:
    """(T, K) float32, not clamped: `style.neutral` plus standardised `deviation` (T, K) in the person's units.

    `gain` (K,) undoes the network's timidity, `reach` is the user's factor on the mouth. The smoothing takes the
    frame-to-frame trembling; the little by which it flattens peaks is paid back in the same step.
    """
    mouth = mouth_channels(style.names)
    person = np.where(mouth, style.amplitude * reach, 1.0)
    smoothed = gentle(deviation)
    spread = np.minimum(deviation.std(0) / np.maximum(smoothed.std(0), 1e-6), 1.25)
    return (style.neutral + smoothed * spread * gain * std * person).astype(np.float32)


def gentle(values: np.ndarray) -> np.ndarray:
    """(T, D) smoothed over three frames without delay (weights 1 : 4 : 1)."""
    return convolve1d(values, np.array([1, 4, 1]) / 6, axis=0, mode="nearest")


def speaking(active: np.ndarray) -> np.ndarray:
    """(T,) float32 in [0, 1]: 1 where the mouth is busy, fading to 0 in silence.

    Lips part before the voice starts and close after it ends: the activity is widened by 160 ms either way, then faded.
    """
    wide = np.concatenate([np.zeros(_TAIL, bool), active, np.zeros(_TAIL, bool)]).astype(np.float64)
    # A frame is busy when there is voice up to _TAIL before it or up to _LEAD after it.
    busy = maximum_filter1d(wide, _LEAD + _TAIL + 1, origin=(_TAIL - _LEAD) // 2, mode="constant")[_TAIL:-_TAIL]
    kernel = np.hanning(_FADE + 2)[1:-1]
    return convolve1d(busy, kernel / kernel.sum(), mode="nearest").astype(np.float32)


def match_lips(expression: np.ndarray, busy: np.ndarray, style: MotionStyle, statistics: Statistics) -> np.ndarray:
    """`expression` (T, K) whose lips open, meet, spread and purse as far and as often as the person's do.

    A regression never quite reaches the extremes, and undoing that channel by channel overshoots where channels add up.
    So the distributions of opening and width over the frames where somebody speaks (`busy` (T,) > 0.5) are moved most
    of the way to the person's: the width rank by rank; the opening in mean and spread, whose ranks are too uncertain to
    be bent; lips that would cross only meet.
    """
    spoken, share = busy > 0.5, np.where(mouth_channels(style.names), statistics.std ** 2, 0)
    for measure in (1, 0):
        column = statistics.lip_motion[:, measure]
        seen = expression @ column
        wanted = seen
        if spoken.sum() >= _MIN_SPOKEN:
            source = np.percentile(seen[spoken], PERCENTILES) + np.arange(len(PERCENTILES)) * 1e-6
            wanted = seen + _MATCHING * (_MATCHED[measure](seen, source, style.lip_range[measure]) - seen) * busy
        if measure == 0:
            wanted = np.maximum(wanted, _CONTACT_MM)
        expression = reach(expression, wanted, column, share, statistics.lip_motion[:, 1 - measure])
    return expression.astype(np.float32)


def _stretched(values: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`values` (T,) of the percentiles `source` (21,) with the mean and the spread of `target` (21,)."""
    return target.mean() + (values - source.mean()) * (target.std() / source.std())


_MATCHED = (_stretched, np.interp)


def touch(expression: np.ndarray, drawn: np.ndarray, statistics: Statistics) -> np.ndarray:
    """`expression` (T, K) whose lips are `drawn` (T,) of the way together, 1 = until they touch.

    What parts the lips is taken back, the jaw by half, and `mouthClose` does the rest, so that lips meet over a jaw
    that is still on its way, as they do in fast speech. The mouth stays as wide as it was.
    """
    names, result = statistics.names, np.clip(expression, 0, 1)
    width = result @ statistics.lip_motion[:, 1]
    for index, name in enumerate(names):
        if name in PARTING:
            result[:, index] *= 1 - drawn * (_JAW_SHARE if name == "jawOpen" else 1)
    if "mouthClose" in names and "jawOpen" in names:
        close, jaw = names.index("mouthClose"), result[:, names.index("jawOpen")]
        shut = np.minimum(result[:, close], jaw)
        result[:, close] = shut + drawn * (jaw - shut)
    result = widened(result, width, statistics)
    return np.where(drawn[:, None] > 0, result, expression).astype(np.float32)


def quiet(expression: np.ndarray, active: np.ndarray, style: MotionStyle) -> np.ndarray:
    """`expression` (T, K) with the mouth at rest wherever nobody speaks (`active` (T,) bool)."""
    mouth = mouth_channels(style.names)
    share = speaking(active)[:, None]
    result = expression.copy()
    result[:, mouth] = style.rest[mouth] + share * (expression[:, mouth] - style.rest[mouth])
    return result


def bounded(expression: np.ndarray, names: list[str]) -> np.ndarray:
    """(T, K) float32 in [0, 1]; `mouthClose` no further than the jaw is open, beyond which lips would cross."""
    result = np.clip(expression, 0, 1)
    if "mouthClose" in names and "jawOpen" in names:
        close = names.index("mouthClose")
        result[:, close] = np.minimum(result[:, close], result[:, names.index("jawOpen")])
    return result.astype(np.float32)


def seconds(frames: int) -> np.ndarray:
    """(T,) float64 times of `frames` frames at 25 fps."""
    return np.arange(frames) / FPS
