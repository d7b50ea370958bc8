"""From speech to a Performance: network, personal style, blinks, head motion, quiet in silence."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ml_backend.artefacts.performance import Performance, validate
from ml_backend.audio.features import frame_count
from ml_backend.audio.load import Speech
from ml_backend.audio.prosody import prosody
from ml_backend.audio.voice import voice_activity
from ml_backend.config import contact_weights, pose_weights
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.metrics.landmarks import lip_operator
from ml_backend.motion import postprocess
from ml_backend.motion.checkpoint import MotionWeights, load_weights
from ml_backend.motion.contact import contacts, labial_probability
from ml_backend.motion.contact import load as load_contact
from ml_backend.motion.controls import Controls, add_emotion, led, scale_upper_face, smoothed
from ml_backend.motion.dataset import features
from ml_backend.motion.eyes import add_eyes
from ml_backend.motion.head_controls import MOST, HeadControls
from ml_backend.motion.head_pose import PoseSource, head_pose
from ml_backend.motion.hearing import heard
from ml_backend.motion.network import POSE_SIZE
from ml_backend.motion.pose_checkpoint import cached_pose
from ml_backend.motion.style import MotionStyle, default_style
from ml_backend.progress import Progress, silent


@dataclass(frozen=True)
class PredictOptions:
    """What the user may choose.

    Attributes
    ----------
    pose_source : "predicted", "clip", "still" or "frontal", see `head_pose`
    controls : amounts, emotion, smoothing, lead, guarantees
    head : amounts of head motion, gaze and brow accents
    labials : (4T,) in [0, 1] per 10 ms, where p, b and m are known to be (a transcript), or None: they are listened for
    donor : (N, 6) head motion of another clip at 25 fps, which then moves this head, or None
    """

    pose_source: PoseSource = "predicted"
    controls: Controls = field(default_factory=Controls)
    head: HeadControls = field(default_factory=HeadControls)
    labials: np.ndarray | None = None
    donor: np.ndarray | None = None


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
    active = voice_activity(speech.samples)
    raw = heard(weights, speech.samples, active, progress)
    if weights.adapter is not None:
        raw = weights.adapter.apply(raw, features(weights.network.config, speech.samples))
    frames = frame_count(len(speech.samples))
    sound, nods = prosody(speech.samples, active), cached_pose(pose_weights())
    pose = head_pose(style, frames, seed=seed, weights=nods, sound=sound,
                     source=options.pose_source, donor=options.donor, amount=options.head.amount)
    # The lips of the model in hand, which may have been sculpted on since the weights were made.
    statistics = replace(weights.statistics, lip_motion=lip_operator(model)[:, -2:])
    expression = _expression(raw, replace(weights, statistics=statistics), style, active, options.controls)
    if options.controls.contact:
        drawn = _contacts(speech, active, expression @ statistics.lip_motion[:, 0], options.labials)
        expression = postprocess.touch(expression, drawn, statistics)
    expression = led(expression, options.controls)
    blinking = (style.blink_rate * options.controls.blink_rate, style.blink_duration)
    expression = add_eyes(expression, style.names, style.rest, style.eyes, pose[:, :3] - style.pose_mean[:3], sound,
                          blinking, seed, _with_brows(options))
    performance = Performance(postprocess.seconds(frames), postprocess.bounded(expression, style.names), style.names,
                              pose, _provenance(speech, weights, seed, options) | {"pose_weights": nods.identifier})
    validate(performance)
    return performance


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> MotionWeights:
    return load_weights(path)


def cached_weights(path: Path) -> MotionWeights:
    """The weights at `path`, read once as long as the file stays the same; raises `ArtefactError`."""
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


def _expression(raw: np.ndarray, weights: MotionWeights, style: MotionStyle, active: np.ndarray,
                controls: Controls) -> np.ndarray:
    """(T, K) float32, not clamped, before blinks and gaze."""
    statistics, predicted = weights.statistics, raw[:, :-POSE_SIZE]
    if not weights.network.config.standardised:
        predicted = (predicted - statistics.mean) / statistics.std
    busy = postprocess.speaking(active)
    expression = postprocess.to_weights(predicted, statistics.std, weights.gain, style, controls.mouth)
    expression = postprocess.match_lips(expression, busy, style, statistics)
    expression = scale_upper_face(expression, style.names, style.neutral, controls)
    if controls.quiet_lips:
        expression = postprocess.quiet(expression, active, style)
    return smoothed(add_emotion(expression, style.names, busy, controls), controls)


def _contacts(speech: Speech, active: np.ndarray, opening: np.ndarray, labials: np.ndarray | None) -> np.ndarray:
    """(T,) how far lips are drawn together for p, b and m: where a transcript says so, else where they are heard."""
    busy = postprocess.speaking(active)
    if labials is not None:
        return contacts(labials, busy)
    return contacts(labial_probability(speech.samples, load_contact(contact_weights())), busy, opening)


def _with_brows(options: PredictOptions) -> HeadControls:
    """The head's controls, its brow accents scaled by what scales brows in general."""
    factor = options.controls.brows * options.controls.upper_face
    return replace(options.head, accents=min(options.head.accents * factor, MOST))


def _provenance(speech: Speech, weights: MotionWeights, seed: int, options: PredictOptions) -> dict:
    return {"speech_sha256": hashlib.sha256(np.ascontiguousarray(speech.samples).tobytes()).hexdigest(),
            "weights": weights.identifier, "config": weights.network.config.name, "seed": seed,
            "settings": {"pose_source": options.pose_source, "pose_donor": options.donor is not None,
                         **asdict(options.head), **asdict(options.controls)},
            "torch": torch.__version__}
