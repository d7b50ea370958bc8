"""From speech to a Performance: network, personal style, blinks, head motion, quiet in silence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ml_backend.artefacts.performance import Performance, validate
from ml_backend.audio.features import CONTEXT_FRAMES, STEPS_PER_FRAME, frame_count, loudness, step_count, voice_activity
from ml_backend.audio.load import Speech
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.motion import postprocess
from ml_backend.motion.blink import blinks
from ml_backend.motion.checkpoint import MotionWeights, load_weights
from ml_backend.motion.dataset import features
from ml_backend.motion.head_pose import PoseSource, head_pose
from ml_backend.motion.measure import lip_operator
from ml_backend.motion.network import POSE_SIZE, MotionEnsemble
from ml_backend.motion.score import run
from ml_backend.motion.style import MotionStyle, default_style
from ml_backend.progress import Progress, silent

_CHUNK, _OVERLAP = 1500, 50


@dataclass(frozen=True)
class PredictOptions:
    """What the user may choose.

    Attributes
    ----------
    pose_source : "predicted", "clip", "still" or "frontal", see `head_pose`
    mouth : factor on the mouth's reach, 1 = as the style
    gaze : whether the eyes stay on the camera while the head turns
    """

    pose_source: PoseSource = "predicted"
    mouth: float = 1.0
    gaze: bool = True


def predict(speech: Speech, weights: MotionWeights | Path, model: FaceModel, *, style: MotionStyle | None = None,
            seed: int = 0, options: PredictOptions | None = None, progress: Progress = silent) -> Performance:
    """Animate a face by speech.

    Parameters
    ----------
    speech : 16 kHz mono
    weights : motion weights, or their file
    model : face model whose expressions are animated; the weights must know them
    style : whose way of moving; by default people's in general
    seed : of blinks and head motion
    options : see `PredictOptions`

    Returns
    -------
    Performance
        T = round(25 · seconds) frames, times k / 25 s, expression (T, K) in [0, 1], pose (T, 6)

    Raises
    ------
    UserInputError
        If the face model's expressions are not those of the weights.
    """
    options = options or PredictOptions()
    weights = weights if isinstance(weights, MotionWeights) else cached_weights(Path(weights))
    if model.names != weights.statistics.names:
        raise UserInputError(f"The motion weights don't know the expressions of the face model {model.name}; "
                             "use the built-in head or weights trained for that model.")
    style = style or default_style(weights.statistics)
    raw = run_in_parts(weights.network, features(weights.network.config, speech.samples), progress)
    frames = frame_count(len(speech.samples))
    active = voice_activity(speech.samples)
    pose = head_pose(style, frames, seed=seed, loudness=loudness(speech.samples), predicted=_pose_part(raw, weights),
                     source=options.pose_source)
    # The lips of the model in hand, which may have been sculpted on since the weights were made.
    statistics = replace(weights.statistics, lip_motion=lip_operator(model)[:, -2:])
    expression = _expression(raw, replace(weights, statistics=statistics), style, active, options.mouth)
    expression = postprocess.set_blinks(expression, blinks(active, style.blink_rate, style.blink_duration, seed), style)
    if options.gaze:
        expression = postprocess.set_gaze(expression, pose[:, :3], style)
    performance = Performance(postprocess.seconds(frames), postprocess.bounded(expression, style.names), style.names,
                              pose, _provenance(speech, weights, seed, options))
    validate(performance)
    return performance


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> MotionWeights:
    return load_weights(path)


def cached_weights(path: Path) -> MotionWeights:
    """The weights at `path`, read once as long as the file stays the same; raises `ArtefactError`."""
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


def run_in_parts(network: MotionEnsemble, steps: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """(T, K + 6) float32 output for feature steps (4T + 24, D); a minute at a time, with 2 s of context to either side.

    The LSTM forgets within that, so that an hour needs no more memory than a minute and can be cancelled; a
    unidirectional network goes through in one pass, as published.
    """
    frames = (len(steps) - step_count(1)) // STEPS_PER_FRAME + 1
    if not network.config.bidirectional or frames <= _CHUNK + 2 * _OVERLAP:
        progress(0, 1)
        result = run(network, steps)
        progress(1, 1)
        return result
    parts = []
    for start in range(0, frames, _CHUNK):
        progress(start, frames)
        first, last = max(start - _OVERLAP, 0), min(start + _CHUNK + _OVERLAP, frames)
        stop = last * STEPS_PER_FRAME + 2 * CONTEXT_FRAMES * STEPS_PER_FRAME
        part = run(network, steps[first * STEPS_PER_FRAME:stop])
        parts.append(part[start - first:min(start + _CHUNK, frames) - first])
    progress(frames, frames)
    return np.concatenate(parts)


def _expression(raw: np.ndarray, weights: MotionWeights, style: MotionStyle, active: np.ndarray,
                mouth: float) -> np.ndarray:
    """(T, K) float32, not clamped, before blinks and gaze."""
    statistics, predicted = weights.statistics, raw[:, :-POSE_SIZE]
    if not weights.network.config.standardised:
        predicted = (predicted - statistics.mean) / statistics.std
    expression = postprocess.to_weights(predicted, statistics.std, weights.gain, style, mouth)
    expression = postprocess.match_lips(expression, postprocess.speaking(active), style, statistics)
    return postprocess.quiet(expression, active, style)


def _pose_part(raw: np.ndarray, weights: MotionWeights) -> np.ndarray | None:
    """The network's share of the head motion in standard deviations; none from the published configuration.

    That one predicts absolute poses of the people it was trained on, which collapse to their mean.
    """
    return raw[:, -POSE_SIZE:] if weights.network.config.standardised else None


def _provenance(speech: Speech, weights: MotionWeights, seed: int, options: PredictOptions) -> dict:
    return {"speech_sha256": hashlib.sha256(np.ascontiguousarray(speech.samples).tobytes()).hexdigest(),
            "weights": weights.identifier, "config": weights.network.config.name, "seed": seed,
            "settings": {"pose_source": options.pose_source, "mouth": options.mouth, "gaze": options.gaze},
            "torch": torch.__version__}
