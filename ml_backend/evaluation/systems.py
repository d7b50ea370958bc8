"""What is compared: general and personal weights, ablations, baselines and references, as face motion on one clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.audio.features import FPS, loudness
from ml_backend.audio.load import Speech
from ml_backend.audio.voice import voice_activity
from ml_backend.errors import UserInputError
from ml_backend.evaluation.clips import Bench, Clip, code_key, fitted
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project, rotation_matrix
from ml_backend.metrics.landmarks import CORNER_LEFT, CORNER_RIGHT, EYE_LEFT, EYE_RIGHT, LIPS, LOWER_LIP, UPPER_LIP
from ml_backend.metrics.score import FaceMotion
from ml_backend.metrics.sync import CLOSED
from ml_backend.motion.checkpoint import MotionWeights, load_weights
from ml_backend.motion.personalise import audio_lag, personalise
from ml_backend.motion.postprocess import bounded, gentle
from ml_backend.motion.predict import PredictOptions, predict
from ml_backend.motion.statistics import blink_statistics
from ml_backend.motion.style import MotionStyle, default_style, style_from_track
from ml_backend.progress import Progress
from ml_backend.reconstruct.posed import neutral_shape
from ml_backend.take import file_hash

SYSTEM, ABLATION, BASELINE, REFERENCE = "system", "ablation", "baseline", "reference"
OWN_BEGINNING = "own beginning"
LEAST_TAIL = 4.0
"""Seconds that have to be left after those used for personalising."""


@dataclass(frozen=True)
class Row:
    """One line of the table on one clip: its name, what it is there for, and how the face moves."""

    name: str
    kind: str
    motion: FaceMotion


@dataclass(frozen=True)
class Contender:
    """Motion weights under the name that the table gives them."""

    name: str
    path: Path
    weights: MotionWeights


def load_contenders(given: list[tuple[str, Path]], model: FaceModel) -> list[Contender]:
    """Read the weights; raises `UserInputError` for those of another head and for a name given twice."""
    found: list[Contender] = []
    for name, path in given:
        weights = load_weights(path)
        if weights.statistics.names != model.names:
            raise UserInputError(f"{path} does not know the expressions of the face model {model.name}; give weights "
                                 "trained for it, or name their face model with --face-model.")
        if any(other.name == name for other in found):
            raise UserInputError(f"Two --weights are called {name}; name them apart: --weights NAME=PATH.")
        found.append(Contender(name, path, weights))
    return found


@dataclass(frozen=True)
class Learned:
    """What was learned of a person: the track of the clip's beginning, and per contender weights and report."""

    frames: int
    track: FaceTrack
    weights: dict[str, MotionWeights]
    reports: dict[str, dict]


class Person:
    """The clip's person as a puppet: turns a performance into what would be measured on the real face."""

    def __init__(self, clip: Clip, track: FaceTrack, model: FaceModel) -> None:
        self.track, self.size, self.names = clip.track, clip.size, model.names
        shape = neutral_shape(track, model)
        wanted = np.isin(model.landmark_index, (*LIPS, EYE_RIGHT, EYE_LEFT))
        self.index, vertex = np.asarray(model.landmark_index)[wanted], np.asarray(model.landmark_vertex, int)[wanted]
        self.rest = shape[vertex].astype(float)
        self.basis = model.expression_basis[:, vertex].astype(float)
        place = {int(landmark): row for row, landmark in enumerate(self.index)}
        needed = (UPPER_LIP, LOWER_LIP, CORNER_RIGHT, CORNER_LEFT, EYE_RIGHT, EYE_LEFT)
        if any(landmark not in place for landmark in needed):
            raise UserInputError(f"The face model {model.name} lacks vertices for the landmarks of lips and eyes; "
                                 "evaluate with a model that has them.")
        self.upper, self.lower, self.right, self.left, eye_right, eye_left = (place[landmark] for landmark in needed)
        self.interocular = float(np.linalg.norm(self.rest[eye_right] - self.rest[eye_left]))

    def motion(self, expression: np.ndarray, rotation: np.ndarray, start: int) -> FaceMotion:
        """Of `expression` (T, K) and `rotation` (T, 3) radians, the real head's pose from frame `start` under it."""
        points = self.rest + np.tensordot(expression, self.basis, 1)
        rate, duration = blink_statistics(expression, self.names)
        shut = float(self._lips(self.rest[None])[0, 0]) + CLOSED
        return FaceMotion(self._lips(points), self._pixels(points, start), np.degrees(rotation), shut,
                          (60 * rate, duration))

    def _lips(self, points: np.ndarray) -> np.ndarray:
        # Lips that press into each other are shut, not open.
        opening = np.maximum((points[:, self.lower] - points[:, self.upper])[:, 1], 0)
        width = np.linalg.norm(points[:, self.right] - points[:, self.left], axis=1)
        return np.stack([opening, width], 1) / self.interocular

    def _pixels(self, points: np.ndarray, start: int) -> np.ndarray:
        """(T, 478, 2) where `points` (T, L, 3) come to lie under the real pose; NaN past the end of the track."""
        result = np.full((len(points), 478, 2), np.nan, np.float32)
        frames = min(len(points), len(self.track) - start)
        pose = self.track.pose()[start:start + frames]
        camera = np.einsum("tij,tlj->tli", rotation_matrix(pose[:, :3]), points[:frames]) + pose[:, None, 3:]
        result[:frames, self.index] = project(camera, float(self.track.focal), self.size / 2)
        return result


def delay(clip: Clip, weights: MotionWeights, bench: Bench) -> tuple[float, float]:
    """By how many ms the clip's sound seems to come late, and the correlation of lips and prediction there."""
    def estimate(progress: Progress) -> dict:
        frames, correlation = audio_lag(weights, clip.speech, clip.track)
        return {"late_ms": frames * 1000 / FPS, "r": correlation}

    settings = {"track": bench.take.key(f"track {clip.source.name}"), "weights": weights.identifier,
                "code": code_key("motion", "audio")}
    facts = bench.stage(f"delay {clip.source.name}", f"{clip.source.name}: sound against lips", settings, [], estimate)
    return facts["late_ms"], facts["r"]


def learn(clip: Clip, seconds: float, contenders: list[Contender], bench: Bench, seed: int) -> Learned:
    """Personalise every contender on the clip's first `seconds`, with the file's own sound, as `parley talk` does."""
    name, frames = clip.source.name, round(seconds * FPS)
    track = fitted(name, "head", {"landmarks": clip.landmarks, "cuts": clip.cuts, "size": clip.size}, bench, frames)
    speech = _cut(clip.speech, 0, frames)
    weights, reports = {}, {}
    for item in contenders:
        out = bench.take.path(f"{name}.{_safe(item.name)}.safetensors")

        def adapt(progress: Progress, item: Contender = item, out: Path = out) -> dict:
            out.unlink(missing_ok=True)
            report = asdict(personalise(speech, track, item.path, out, seed=seed, progress=progress))
            return {**report, "weights": Path(report["weights"]).name}

        settings = {"head": bench.take.key(f"head {name}"), "weights": file_hash(item.path), "seed": seed,
                    "code": code_key("motion", "audio")}
        reports[item.name] = bench.stage(f"learn {name} {item.name}", f"{name}: learning the person", settings, [],
                                         adapt)
        kept = reports[item.name]["kept"] and out.exists()
        weights[item.name] = load_weights(out) if kept else item.weights
    return Learned(frames, track, weights, reports)


def general_rows(clip: Clip, other: Speech | None, contenders: list[Contender], model: FaceModel, seed: int
                 ) -> list[Row]:
    """The whole clip by people in general: what each weights make of a voice and a face that they don't know.

    `other` is another clip's speech, for the baseline of shuffled speech; without one the clip's own is turned round.
    """
    person = Person(clip, clip.track, model)
    play = _Play(person, model, clip.synchronous, 0, seed)
    rows = [play.row(item.name, SYSTEM, item.weights, None) for item in contenders]
    first = contenders[0].weights
    rows += baseline_rows(play, first, default_style(first.statistics, seed=seed), other)
    return [*rows, Row("tracked motion", REFERENCE, person.motion(clip.track.expression, clip.track.rotation, 0))]


def personal_rows(clip: Clip, learned: Learned, other: Speech | None, contenders: list[Contender], model: FaceModel,
                  seed: int) -> list[Row]:
    """The clip after its beginning, by weights and styles that learned from that.

    The first contender comes with the ablations of Yi et al. 2020, §4.2, and with the baselines.
    """
    frames, track = learned.frames, clip.track
    # Two fits of one face differ a little in where its front is: poses are compared in that of the whole clip.
    shift = (track.rotation[:frames] - learned.track.rotation).mean(0)
    person = Person(clip, learned.track, model)
    play = _Play(person, model, _cut(clip.synchronous, frames, len(clip)), frames, seed, shift)
    still, styles = PredictOptions(pose_source="still"), [style_from_track(learned.track, item.weights.statistics)
                                                          for item in contenders]
    rows = []
    for item, style in zip(contenders, styles, strict=True):
        own, general = learned.weights[item.name], item.weights
        rows.append(play.row(f"{item.name}, personalised", SYSTEM, own, style))
        if item is contenders[0]:
            rows.append(play.row(f"{item.name}, without pose prediction", ABLATION, own, style, options=still))
            rows.append(play.row(f"{item.name}, without adapting", ABLATION, general, style))
        placed = _placed(item, learned, seed)
        rows.append(play.row(f"{item.name}, without personalising", ABLATION, general, placed))
    rows += baseline_rows(play, learned.weights[contenders[0].name], styles[0], other)
    own_motion = person.motion(track.expression, track.rotation, 0)
    beginning = own_motion.part(0, frames)
    unknown = {"lips": np.full_like(beginning.lips, np.nan), "points": np.full_like(beginning.points, np.nan)}
    return [*rows, Row("tracked motion", REFERENCE, own_motion.part(frames, len(clip))),
            Row(OWN_BEGINNING, REFERENCE, replace(beginning, **unknown))]


def baseline_rows(play: _Play, weights: MotionWeights, style: MotionStyle, other: Speech | None) -> list[Row]:
    """What any system must beat: a still face, the mean face, a jaw on the sound's energy, another speech's motion."""
    count = len(loudness(play.speech.samples))
    pose = np.repeat(style.pose_mean[None], count, 0)
    still, mean = (np.repeat(shape[None], count, 0) for shape in (style.rest, style.neutral))
    jaw = energy_jaw(play.speech, style)
    rows = [Row(name, BASELINE, play.motion(expression, pose)) for name, expression in
            (("still face", still), ("mean face", mean), ("log-energy jaw", jaw))]
    wrong = np.roll(play.speech.samples, len(play.speech.samples) // 2) if other is None else other.samples
    speech = replace(play.speech, samples=np.resize(wrong, len(play.speech.samples)))
    return [*rows, play.row("shuffled speech", BASELINE, weights, style, speech=speech)]


def energy_jaw(speech: Speech, style: MotionStyle) -> np.ndarray:
    """(T, K): the resting face whose jaw opens with the log energy of the sound, on average as far as the style's."""
    level, active = gentle(loudness(speech.samples)[:, None])[:, 0], voice_activity(speech.samples)
    expression = np.repeat(style.rest[None], len(level), 0).astype(np.float32)
    if "jawOpen" in style.names:
        jaw = style.names.index("jawOpen")
        reach = max(float(style.neutral[jaw] - style.rest[jaw]), 0.05)
        usual = float(level[active].mean()) if active.any() else 1.0
        expression[:, jaw] = style.rest[jaw] + reach * level / max(usual, 1e-3)
    return bounded(expression, style.names)


@dataclass(frozen=True)
class _Play:
    """A stretch of a clip for the rows to act in: person, speech, its first frame, and what is added to poses."""

    person: Person
    model: FaceModel
    speech: Speech
    start: int
    seed: int
    shift: np.ndarray | float = 0.0

    def motion(self, expression: np.ndarray, pose: np.ndarray) -> FaceMotion:
        return self.person.motion(expression, pose[:, :3] + self.shift, self.start)

    def row(self, name: str, kind: str, weights: MotionWeights, style: MotionStyle | None, *,
            speech: Speech | None = None, options: PredictOptions | None = None) -> Row:
        made = predict(speech or self.speech, weights, self.model, style=style, seed=self.seed, options=options)
        return Row(name, kind, self.motion(made.expression, made.pose))


def _placed(item: Contender, learned: Learned, seed: int) -> MotionStyle:
    """People's manner in general, about the place where this person's head is."""
    general = default_style(item.weights.statistics, seed=seed)
    mean = learned.track.pose().mean(0).astype(np.float32)
    return replace(general, pose_track=general.pose_track - general.pose_mean + mean, pose_mean=mean)


def _cut(speech: Speech, start: int, stop: int) -> Speech:
    frame = speech.sample_rate // FPS
    samples = speech.samples[start * frame:stop * frame]
    return Speech(samples, speech.sample_rate, len(samples) / speech.sample_rate)


def _safe(name: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in name)
