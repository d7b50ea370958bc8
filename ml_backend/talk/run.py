"""`parley talk` from its first check to its last file."""

from __future__ import annotations

import json
import platform
import resource
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ml_backend import __version__
from ml_backend.artefacts import plates as plates_file
from ml_backend.artefacts.performance import Performance
from ml_backend.audio.load import Speech, load_speech
from ml_backend.blender import find_blender
from ml_backend.config import FPS, motion_weights
from ml_backend.data.frames import frame_path, read_png
from ml_backend.data.video import probe
from ml_backend.film.layers import face_layer
from ml_backend.take import Take, file_hash
from ml_backend.talk import film, picture, preview, refining
from ml_backend.talk.behind import make_plates, whole_plates
from ml_backend.talk.builtin import builtin_character, given_character
from ml_backend.talk.donor import check_donor
from ml_backend.talk.extras import Parts, write_extras
from ml_backend.talk.options import TalkOptions, check
from ml_backend.talk.photo import photo_film
from ml_backend.talk.recalling import Film
from ml_backend.talk.session import Session
from ml_backend.talk.speaking import choose_plates, perform, personal_weights
from ml_backend.talk.summary import summary
from ml_backend.talk.survey import Hidden, survey
from ml_backend.talk.target import load_target
from ml_backend.terminal import Terminal

LONG_SPEECH = 300.0
"""Seconds of speech from which the user is told what it will take."""

SECONDS_PER_FRAME = 1.3
"""Rendering and compositing one frame on two cores without a GPU, measured on the machine of the README."""


def talk(options: TalkOptions, terminal: Terminal) -> dict:
    """Make the film (and scene); returns the report that is also written as ``report.json``.

    Raises
    ------
    ParleyError
        With one sentence for the user; what is done so far stays in the take folder.
    """
    start = time.monotonic()
    options = preview.without_the_rest(options)
    check(options)
    blender = find_blender(options.blender)
    speech = load_speech(options.speech)
    if options.target is not None:
        probe(options.target)  # refused before a take folder is made
    if options.pose_from is not None:
        check_donor(options.pose_from)
    _warn_of_length(speech, terminal)
    take = Take.open(options.take_folder)
    session: Session | None = None
    try:
        for product in options.products:
            take.guard(product, overwrite=options.overwrite)
        session = Session.start(options, terminal, take, blender)
        performance = _clip_film(session, speech) if options.target else _builtin_film(session, speech)
        report = _report(session, speech, performance, time.monotonic() - start)
        if options.preview is not None:
            for product in options.products:
                take.record(product)
    finally:
        if session is not None:
            session.close()
            session.take.close()
        take.close()
    if options.preview is not None:
        terminal.say(f"Preview: {options.preview}, first seconds: {options.strip}. Without --preview the film is made.")
        return report
    for line in summary(report, options, picture_size(options.out)):
        terminal.say(line)
    return report


def picture_size(film_file: Path) -> tuple[int, int]:
    """Width and height of a film, pixels."""
    info = probe(film_file)
    return info.width, info.height


def _warn_of_length(speech: Speech, terminal: Terminal) -> None:
    if speech.seconds > LONG_SPEECH:
        hours = speech.seconds * FPS * SECONDS_PER_FRAME / 3600
        terminal.warn(
            f"The speech lasts {speech.seconds / 60:.0f} min: about {speech.seconds * FPS:.0f} frames and "
            f"{hours:.1f} h on two cores without a GPU; Ctrl-C stops, the same command resumes."
        )


def _builtin_film(session: Session, speech: Speech) -> Performance:
    take, options = session.take, session.options
    settings: dict = {"model": session.model_key(), "size": options.size}
    if options.character is not None:
        settings["given"] = file_hash(options.character)

    def build(progress):
        path = take.path("character.npz")
        if options.character is None:
            builtin_character(session.model, options.size, path)
        else:
            given_character(session.model, options.character, path)

    session.stage("character", "Building the character", settings, ["character.npz"], build)
    performance = perform(session, speech, motion_weights(options.weights), None)
    film.make_scene(session, None)
    performance = preview.enter(session, performance)
    take = session.take
    rgba = picture.render_portrait(session)
    film.make_film(
        session,
        film.portrait_frames(rgba, take.path(picture.BACKDROP), len(performance)),
        speech,
        {"frames": take.key("frames_rgba"), "speech": file_hash(options.speech)},
        (options.size, options.size),
    )
    behind = read_png(take.path(picture.BACKDROP))[..., :3]
    parts = Parts(lambda index: read_png(frame_path(rgba, index)), lambda index: behind)
    write_extras(session, speech, performance, parts)
    return performance


def _clip_film(session: Session, speech: Speech) -> Performance:
    take = session.take
    target = load_target(session)
    if target.is_photo:
        return photo_film(session, speech, target)
    performance = perform(session, speech, personal_weights(session, target), target)
    seen = survey(session, target)
    plates = choose_plates(session, performance, target, seen)
    only = None if session.options.preview is None else preview.choose(len(performance))
    behind = make_plates(session, performance, target, plates, only=only)
    if session.options.scene is not None:
        film.make_scene(session, target, whole_plates(session, behind, plates))
    performance, plates, behind = preview.enter_clip(session, performance, plates, behind)
    take = session.take
    hidden = Hidden(seen, target.track.crop, plates.source)
    rgba = picture.render_talk(session, target)
    drawn = picture.composites(
        session, "composites", "Composing", rgba, target, behind,
        {"rgba": take.key("frames_rgba"), "plates": take.key("plate_frames"), "survey": take.key("survey")}, hidden,
    )
    faces, refined = refining.refine(session, target, seen, drawn, Film(performance, plates))
    frames = film.full_frames(target, behind, rgba, faces, refined=refined, hidden=hidden)
    film.make_film(
        session,
        frames,
        speech,
        {
            "composites": take.key("composites"),
            "refined": take.key("refined") if refined else None,
            "speech": file_hash(session.options.speech),
        },
        target.frames.size,
    )
    parts = Parts(
        lambda index: face_layer(
            target.frames.size, faces[index], target.track.crop,
            film.cover(rgba, index, len(faces[0]), refined=refined, hidden=hidden),
        ),
        lambda index: behind[index],
        lambda index: faces[index],
    )
    write_extras(session, speech, performance, parts, plates)
    return performance


def _report(session: Session, speech: Speech, performance: Performance, seconds: float) -> dict:
    take, options = session.take, session.options
    # Only of processes that have ended does the system tell how much they took.
    session.close()
    mebibyte = 1024.0
    report = {
        "parley": __version__,
        "python": platform.python_version(),
        "blender": session.blender.name,
        "blender_processes": session.processes(),
        "speech": {
            "file": options.speech.name,
            "seconds": round(speech.seconds, 3),
            "sha256": file_hash(options.speech),
        },
        "target": None
        if options.target is None
        else {"file": options.target.name, "sha256": file_hash(options.target)},
        "character": None if options.character is None else options.character.name,
        "film": {"file": options.out.name, "frames": len(performance), "seconds": len(performance) / FPS, "fps": FPS},
        "settings": {
            "seed": options.seed,
            "engine": options.engine,
            "size": options.size,
            "pose": options.pose,
            "pose_from": None if options.pose_from is None else options.pose_from.name,
            "weights": options.weights,
            **asdict(options.controls),
            **asdict(options.head),
            "refine": options.refine,
            "refine_minutes": options.refine_minutes,
        },
        "seconds": {
            "total": round(seconds, 2),
            "stages": {name: round(entry["seconds"], 2) for name, entry in take.state["stages"].items()},
            "this_run": {name: round(value, 2) for name, value in take.seconds.items()},
        },
        "peak_memory_mib": {
            "backend": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / mebibyte),
            "blender": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / mebibyte),
        },
        "stages": session.facts,
        "warnings": session.terminal.warnings,
        "synthetic": "The film shows synthetic speech animation made with Parley.",
        "mouth_opening_mean": float(np.mean(performance.expression[:, performance.names.index("jawOpen")])),
    }
    if take.path("plates.json").exists() and options.target is not None:
        report["plates_used"] = len(np.unique(plates_file.load(take.path("plates.json")).source))
    path = take.path("report.json")
    part = Path(f"{path}.part")
    part.write_text(json.dumps(report, indent=1, default=str))
    part.replace(path)
    return report
