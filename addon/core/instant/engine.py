"""Speech samples → Performance with nothing but NumPy: what the backend's ``predict`` does for anybody's face."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import face_model, npz
from ..errors import ArtefactError
from ..performance import Performance, validate
from . import contact, eyes, features, head, hearing, mouth, prosody, statistics, voice, weights
from .lips import silent
from .motion_network import POSE, MotionNetwork
from .motion_network import SCHEMA as MOTION
from .options import WEIGHTS, Options
from .statistics import Statistics

Report = Callable[[str, int, int], None]
"""Called with the stage, what is done and what there is; may raise to stop."""
STAGES = ("Listening", "Speech to motion", "Head and eyes")
UPPER_LIP, LOWER_LIP, CORNER_RIGHT, CORNER_LEFT = 13, 14, 78, 308
PORTRAIT_DISTANCE = 0.95


@dataclass(frozen=True)
class Assets:
    """Where things lie: the folder with the weights, and the built-in head's file."""

    weights: Path
    head: Path

    def motion(self, which: str) -> Path:
        """The motion weights called `which`, or at that path."""
        return self.weights / WEIGHTS[which] if which in WEIGHTS else Path(which)


def perform(samples: np.ndarray, assets: Assets, options: Options, report: Report) -> Performance:
    """Animate the built-in head, or any with its expressions, by speech.

    Parameters
    ----------
    samples : (N,) float32 mono, 16 kHz, in [-1, 1], at least 0.3 s
    assets : files of the extension
    options : what the animator chose
    report : hears of the progress

    Returns
    -------
    Performance
        T = round(25 · seconds) samples at 25 a second

    Raises
    ------
    ArtefactError
        If a file of the extension is missing or damaged, or the weights know other expressions than the head.
    """
    def pulse(stage: int) -> Callable[[], None]:
        return lambda: report(STAGES[stage], stage, len(STAGES))

    pulse(0)()
    network = _network(*_key(assets.motion(options.weights)))
    place, lips = _measures(assets.head, network.statistics.names)
    # The lips of the head in hand, which may have been sculpted on since the weights were made.
    people = replace(network.statistics, lip_motion=lips)
    active = voice.activity(samples, _detector(*_key(assets.weights / "voice.safetensors")), pulse(0))
    mel, energy = features.spectra(features.padded(samples))
    rich = features.rich_steps(mel, energy)
    pulse(1)()
    raw = hearing.heard(network, samples, active, pulse(1))[:, :-POSE]
    if not network.config.standardised:
        raw = (raw - people.mean) / people.std
    emotion = _emotion(assets.weights / "emotions.json", options.emotion)
    expression = mouth.expression(raw, network.gain, people, active, options, emotion)
    if options.contact:
        listener = _listener(*_key(assets.weights / "contact.safetensors"))
        heard = listener.probability(features.contact_steps(mel, energy, len(active)))
        drawn = mouth.contacts(heard, mouth.speaking(active), expression @ people.lip_motion[:, 0])
        expression = mouth.touch(expression, drawn, people)
    expression = mouth.led(expression, options.lead_ms)
    pulse(2)()
    sound = prosody.prosody(samples, rich, active)
    pose, mean = _pose(people, place, sound, options, assets, pulse(2))
    expression = eyes.add_eyes(expression, people.names, silent(people), pose[:, :3] - mean[:3], sound,
                               (people.blink_rate * options.blink_rate, people.blink_duration), options)
    result = Performance(np.arange(len(active)) / features.FPS, mouth.bounded(expression, people.names), people.names,
                         pose, _provenance(samples, options))
    validate(result)
    report(STAGES[2], len(STAGES), len(STAGES))
    return result


def figures(performance: Performance) -> dict[str, float]:
    """What a line below the panel's button says, as the worker's ``figures``: length, jaw, blinks, head."""
    names, values = performance.names, performance.expression
    lid = values[:, names.index("eyeBlinkLeft")] > 0.5
    seconds = len(performance) / features.FPS
    return {"frames": len(performance), "seconds": round(seconds, 3),
            "jaw_mean": round(float(values[:, names.index("jawOpen")].mean()), 4),
            "blinks_per_minute": round(float((np.diff(lid.astype(int)) > 0).sum()) * 60 / seconds, 2),
            "head_degrees": round(float(np.degrees(performance.pose[:, :3].std(0)).max()), 2)}


def _pose(people: Statistics, place: np.ndarray, sound: np.ndarray, options: Options, assets: Assets,
          pulse: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
    """(T, 6) float32 pose and (6,) its mean: people's usual motion about the portrait's place."""
    track = statistics.usual_track(people, options.seed)
    mean = np.concatenate([np.zeros(3, np.float32), place])
    track = track - track.mean(0) + mean
    motion = np.zeros((len(sound), 6))
    if options.pose == "predicted":
        motion = head.predicted(_poser(*_key(assets.weights / "pose.safetensors")), track, sound, options.seed, pulse)
    pose = mean.astype(np.float64) + motion * np.array(options.pose_amount)
    return pose.astype(np.float32), mean


def _emotion(path: Path, name: str) -> dict[str, float]:
    """What the emotion `name` adds to each expression at strength 1."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))["weights"][name]
        return {key: float(value) for key, value in held.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path} says nothing of the emotion {name} ({error}); install Parley again.") from error


def _provenance(samples: np.ndarray, options: Options) -> dict:
    digest = hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()
    return {"speech_sha256": digest, "engine": "instant", "settings": asdict(options)}


def _measures(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(3,) the head's place in a portrait, (K, 2) mm by which each expression opens and widens the mouth."""
    model, marks = _head(*_key(path))
    npz.require(model.names == names, path, "the motion weights don't know its expressions")
    lower, upper, left, right = (1000 * model.expression_basis[:, marks[mark]]
                                 for mark in (LOWER_LIP, UPPER_LIP, CORNER_LEFT, CORNER_RIGHT))
    lips = np.stack([lower[:, 1] - upper[:, 1], left[:, 0] - right[:, 0]], 1).astype(np.float32)
    skin = model.vertex_part == face_model.index_of(model.part_names, "skin")
    joints = {name: model.joints[face_model.index_of(model.joint_names, name)] for name in ("eye_left", "eye_right")}
    sight = (joints["eye_left"] + joints["eye_right"]) / 2
    height = model.mean_shape[skin, 1]
    top, chin = height.min(), float(np.quantile(height[model.region("face")[skin] > 0.5], 0.99))
    centre = (top + chin) / 2 + 0.1 * (chin - top)
    return np.array([-sight[0], -centre, PORTRAIT_DISTANCE], np.float32), lips


def _key(path: Path) -> tuple[Path, int]:
    """A file and when it was changed: what is read from it is kept as long as both stay."""
    return path, path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=2)
def _network(path: Path, changed: int) -> MotionNetwork:
    return MotionNetwork(weights.load(path, MOTION))


@lru_cache(maxsize=1)
def _detector(path: Path, changed: int) -> voice.Detector:
    return voice.Detector(weights.load(path, voice.SCHEMA))


@lru_cache(maxsize=1)
def _listener(path: Path, changed: int) -> contact.Listener:
    return contact.Listener(weights.load(path, contact.SCHEMA))


@lru_cache(maxsize=1)
def _poser(path: Path, changed: int) -> head.PoseNetwork:
    return head.PoseNetwork(weights.load(path, head.SCHEMA))


@lru_cache(maxsize=1)
def _head(path: Path, changed: int) -> tuple[face_model.FaceModel, dict[int, int]]:
    """The head, and the vertex of each of its landmarks."""
    marks = npz.load_npz(path, face_model.SCHEMA, face_model.VERSION, ("landmark_index", "landmark_vertex"))
    known = dict(zip(marks["landmark_index"].tolist(), marks["landmark_vertex"].tolist(), strict=True))
    missing = {UPPER_LIP, LOWER_LIP, CORNER_RIGHT, CORNER_LEFT} - set(known)
    npz.require(not missing, path, f"no vertex is given for the landmarks {sorted(missing)}")
    return face_model.load(path), known
