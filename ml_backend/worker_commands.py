"""What the worker can do: a request's options checked and made the command line's own, the work, a small answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import doctor
from ml_backend.artefacts.performance import Performance
from ml_backend.config import FPS
from ml_backend.errors import UserInputError
from ml_backend.motion.controls import Controls
from ml_backend.motion.head_controls import HeadControls
from ml_backend.motion.head_pose import POSE_SOURCES
from ml_backend.talk.options import TalkOptions
from ml_backend.talk_command import talk_options
from ml_backend.terminal import Terminal

Options = dict[str, Any]
CHOICES = {"pose": POSE_SOURCES, "engine": ("eevee", "workbench")}
QUALITY = "Quality: "
"""How the line of a take's summary begins that says how good it is."""
NOT_BY_NAME = ("head", "controls", "amount")
"""Fields made of other options."""


def animate(options: Options, terminal: Terminal) -> dict[str, Any]:
    """Speech to a performance file; figures of it."""
    from ml_backend.talk.animate import animate as run

    asked = spoken(options, "animate")
    performance = run(asked, terminal)
    return {"out": str(asked.out), "speech": str(asked.speech), **figures(performance)}


def talk(options: Options, terminal: Terminal) -> dict[str, Any]:
    """Speech and a person to a film; where it lies and what it took."""
    from ml_backend.talk.run import talk as run

    asked = spoken(options, "talk")
    report = run(asked, terminal)
    scene = None if asked.scene is None else str(asked.scene)
    return {"out": str(asked.out), "sheet": str(asked.sheet), "scene": scene,
            "take": str(asked.take_folder), "seconds": report["film"]["seconds"], "frames": report["film"]["frames"],
            "spent": report["seconds"]["total"], "refine": report["stages"].get("refiner"),
            "quality": next((line for line in getattr(terminal, "said", ()) if line.startswith(QUALITY)), "")}


def personalise(options: Options, terminal: Terminal) -> dict[str, Any]:
    """A person's weights from a clip."""
    from ml_backend.talk.animate import learn

    asked = spoken(options, "personalise")
    if asked.target is None:
        raise UserInputError("There is no clip to learn from; choose one.")
    learn(asked, terminal)
    return {"out": str(asked.out)}


def track(options: Options, terminal: Terminal) -> dict[str, Any]:
    """A face's track in a clip."""
    from ml_backend import track_command

    known = {field.name: str(field.type) for field in fields(track_command.TrackOptions)}
    values = checked(options, known, "track")
    for name in ("clip", "out"):
        if name not in values:
            raise UserInputError(f"There is no {name} for track; choose one.")
    found = track_command.track(track_command.TrackOptions(**values), terminal)
    return {"out": str(values["out"]), "frames": len(found), "found": float((found.confidence > 0).mean())}


def character(options: Options, terminal: Terminal) -> dict[str, Any]:
    """The person of a clip or photo as a character file, with its texture beside it."""
    from ml_backend.data.video import probe
    from ml_backend.take import Take
    from ml_backend.talk.session import Session
    from ml_backend.talk.target import load_target

    asked = spoken(options, "character")
    if asked.target is None:
        raise UserInputError("There is no clip or photo to rebuild somebody from; choose one.")
    if not asked.target.is_file():
        raise UserInputError(f"The clip or photo {asked.target} is missing; choose another.")
    probe(asked.target)
    take = Take.open(asked.take_folder)
    try:
        found = load_target(Session.start(asked, terminal, take, None))
        return {"out": str(take.path("character.npz")), "frames": len(found.track),
                "found": float((found.track.confidence > 0).mean())}
    finally:
        take.close()


def examine(options: Options, terminal: Terminal) -> dict[str, Any]:
    """What is installed, as lines for a person."""
    checked(options, {}, "doctor")
    with terminal.stage("Looking at what is installed"):
        return {"report": doctor.report()}


COMMANDS: dict[str, Callable[[Options, Terminal], dict[str, Any]]] = {
    "animate": animate, "talk": talk, "track": track, "personalise": personalise,
    "character": character, "doctor": examine}


def spoken(options: Options, command: str) -> TalkOptions:
    """`options` as `TalkOptions`, the same as the command line makes of its words; raises `UserInputError`."""
    known = {field.name: str(field.type) for kind in (TalkOptions, Controls, HeadControls) for field in fields(kind)
             if field.name not in NOT_BY_NAME}
    values = checked(options, {**known, "pose_amount": "str"}, command)
    if "out" not in values:
        raise UserInputError(f"There is no file for the result of {command}; choose one.")
    values.setdefault("target", None)
    refine = values.pop("refine", True)
    return talk_options(argparse.Namespace(command=command, no_refine=not refine, **values))


def checked(options: Options, known: dict[str, str], command: str) -> Options:
    """`options` without those that are None, each of the type `known` says; raises `UserInputError` naming it."""
    values = {}
    for name, value in options.items():
        if name not in known:
            raise UserInputError(f"{command} has no option {name}; the add-on and the backend differ in version.")
        if value is not None:
            values[name] = _typed(name, value, known[name])
    return values


def _typed(name: str, value: Any, kind: str) -> Any:
    """`value` as the field's annotation `kind` wants it."""
    if name in CHOICES:
        fits = value in CHOICES[name]
    elif "bool" in kind:
        fits = isinstance(value, bool)
    elif "float" in kind:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif "int" in kind:
        fits = type(value) is int
    else:
        fits = isinstance(value, str) and bool(value)
    if not fits:
        raise UserInputError(f"{value!r} can't be used as {name}.")
    return Path(str(value)) if "Path" in kind else value


def figures(performance: Performance) -> dict[str, Any]:
    """What a line below the panel's button says about a performance: length, jaw, blinks, head."""
    names, weights = performance.names, performance.expression
    lid = weights[:, names.index("eyeBlinkLeft")] > 0.5
    seconds = len(performance) / FPS
    return {"frames": len(performance), "seconds": round(seconds, 3),
            "jaw_mean": round(float(weights[:, names.index("jawOpen")].mean()), 4),
            "blinks_per_minute": round(float((np.diff(lid.astype(int)) > 0).sum()) * 60 / seconds, 2),
            "head_degrees": round(float(np.degrees(performance.pose[:, :3].std(0)).max()), 2)}
