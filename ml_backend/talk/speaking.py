"""From speech to a performance: personal weights, prediction, plates."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts import plates as plates_file
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.plates import Plates
from ml_backend.audio.load import Speech, load_speech
from ml_backend.audio.phones import LABIALS, labels, phone_index
from ml_backend.audio.transcript import align
from ml_backend.background.match import match, turned
from ml_backend.config import motion_weights, pose_weights
from ml_backend.errors import DependencyError, UserInputError
from ml_backend.motion.head_limits import within
from ml_backend.motion.personalise import personalise
from ml_backend.motion.predict import PredictOptions, cached_weights, predict
from ml_backend.motion.style import MotionStyle, default_style, style_from_track
from ml_backend.take import file_hash
from ml_backend.talk.builtin import portrait_position
from ml_backend.talk.donor import donor_motion
from ml_backend.talk.session import Session
from ml_backend.talk.survey import Survey
from ml_backend.talk.target import Target, Tracked

PERSONALISE_FRAMES = 75
"""Fewer tracked frames than this (3 s) teach nothing that a held-out tail could confirm."""


def personal_weights(session: Session, target: Tracked) -> Path:
    """Weights adapted to the clip's own sound, or the general ones where that is impossible or no better."""
    general = motion_weights(session.options.weights)
    if target.is_photo or not target.info.has_sound or len(target.track) < PERSONALISE_FRAMES:
        return general
    out = session.take.path("motion.safetensors")
    target_path = session.options.target
    assert target_path is not None

    def learn(progress):
        out.unlink(missing_ok=True)  # another clip's weights
        try:
            speech = load_speech(target_path)
        except UserInputError as error:
            session.terminal.warn(f"The clip's sound teaches nothing: {error}")
            return {"kept": False, "reason": str(error)}
        report = personalise(speech, target.track, general, out, seed=session.options.seed, progress=progress)
        return {**asdict(report), "weights": report.weights.name}

    facts = session.stage(
        "personalise",
        "Learning the way of speaking",
        {"track": session.take.key("track"), "weights": file_hash(general), "seed": session.options.seed},
        [],
        learn,
    )
    return out if facts.get("kept") and out.exists() else general


def perform(session: Session, speech: Speech, weights: Path, target: Tracked | None) -> Performance:
    """The performance of the speech, saved in the take."""
    options, take = session.options, session.take
    style = _style(target, session, weights)
    donor = donor_motion(session, speech.seconds)
    labials = known_labials(session, speech)

    def act(progress):
        result = predict(
            speech,
            weights,
            session.model,
            style=style,
            seed=options.seed,
            options=PredictOptions(options.pose, options.controls, options.head, labials, donor),
            progress=progress,
        )
        if target is not None and target.is_photo:
            result = replace(result, pose=within(result.pose, target.track.pose()[0]))
        performance_file.save(result, take.path("performance.npz"))
        return {"frames": len(result), **result.provenance}

    session.stage(
        "motion",
        "Speech to motion",
        {
            "speech": file_hash(options.speech),
            "weights": file_hash(weights),
            "seed": options.seed,
            "pose": options.pose,
            "text": options.text if labials is not None else None,
            "pose_weights": file_hash(pose_weights()),
            "donor": take.key("donor") if donor is not None else None,
            "head": asdict(options.head),
            "controls": asdict(options.controls),
            "track": take.key("track") if target else None,
            "model": session.model_key(),
        },
        ["performance.npz"],
        act,
    )
    return performance_file.load(take.path("performance.npz"))


def known_labials(session: Session, speech: Speech) -> np.ndarray | None:
    """(4T,) float32, 1 where ``options.text`` has p, b or m, None without a text that fits (a note says why)."""
    if session.options.text is None:
        return None
    try:
        segments = align(speech.samples, read_text(session.options.text))
    except (UserInputError, DependencyError) as error:
        session.terminal.warn(f"{error} The lips go by the sound alone.")
        return None
    found = labels(segments, len(speech.samples))
    return np.isin(found, [phone_index(name) for name in LABIALS]).astype(np.float32)


def read_text(text: str) -> str:
    """`text`, or the content of the file that it names; raises `UserInputError` for a file that is no text."""
    if not text.lower().endswith(".txt"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"{text} can't be read as UTF-8 text ({error}).") from error


def _style(target: Tracked | None, session: Session, weights: Path) -> MotionStyle:
    statistics = cached_weights(weights).statistics
    if target is not None:
        return style_from_track(target.track, statistics)
    general = default_style(statistics, seed=session.options.seed)
    mean = np.concatenate([np.zeros(3, np.float32), portrait_position(session.model)])
    return replace(general, pose_track=general.pose_track - general.pose_mean + mean, pose_mean=mean)


def choose_plates(session: Session, performance: Performance, target: Target, seen: Survey) -> Plates:
    """Plates of the clip for the performance's head pose, saved in the take."""
    take = session.take

    def choose(progress):
        names = performance.names
        blink = [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]
        result = match(
            performance.pose,
            target.track.pose(),
            confidence=target.track.confidence,
            cuts=target.cuts,
            source_blink=target.track.expression[:, blink].mean(1),
            wanted_blink=performance.expression[:, blink].mean(1),
            motion=seen.motion,
            avoid=seen.before_face | seen.passing,
        )
        result = turned(result, performance.pose)
        plates_file.save(result, take.path("plates.json"))
        return {"key_frames": len(result.key_frames), "plates_used": len(np.unique(result.source))}

    session.stage(
        "plates",
        "Matching plates",
        {"survey": take.key("survey"), "motion": take.key("motion")},
        ["plates.json"],
        choose,
    )
    plates = plates_file.load(take.path("plates.json"))
    hidden = np.flatnonzero(seen.before_face[plates.source])
    if len(hidden):
        session.terminal.warn(
            f"A hand is before the face in {len(hidden)} frames of the film ({_runs(hidden)}), and the clip's own "
            "picture stays there; a clip without it looks better."
        )
    return plates


def _runs(frames: np.ndarray) -> str:
    """Rising frame numbers as ranges, the first few of them."""
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    words = [str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts]
    return ", ".join(words[:5]) + (" …" if len(words) > 5 else "")
