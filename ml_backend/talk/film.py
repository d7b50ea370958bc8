"""The last stages: full frames, film, contact sheet, scene."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.audio.load import Speech
from ml_backend.background.composite import FEATHER, face_mask
from ml_backend.blender import find_scene_blender, run_job
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder, frame_path, read_png
from ml_backend.errors import UserInputError
from ml_backend.film.layers import over
from ml_backend.film.mux import write_film
from ml_backend.film.paste_back import paste_back
from ml_backend.film.provenance import comment, provenance
from ml_backend.film.sheet import write_sheet
from ml_backend.parallel import in_order
from ml_backend.take import file_hash
from ml_backend.talk import preview
from ml_backend.talk.picture import job
from ml_backend.talk.session import Session
from ml_backend.talk.survey import Hidden
from ml_backend.talk.target import Target

FIRST_NEW_FORMAT = 5
"""Blender's major version from which older ones than 4.5 can't read its files."""

REFINED_MARGIN = 0.03
"""How far, in crop sides, refined pixels may reach beyond the rendered face, so that the refiner can mend the seam."""


def full_frames(
    target: Target, plates: Sequence[np.ndarray], rgba: Path, faces: FrameFolder, *, refined: bool,
    hidden: Hidden | None = None
) -> Iterator[np.ndarray]:
    """Yield every output frame (H, W, 3): the face pasted back into the full plate."""

    def one(index: int) -> np.ndarray:
        face = faces[index]
        share = cover(rgba, index, len(face), refined=refined, hidden=hidden)
        return paste_back(plates[index], face, target.track.crop, share)

    yield from in_order(len(plates), one)


def cover(rgba: Path, index: int, size: int, *, refined: bool, hidden: Hidden | None = None) -> np.ndarray:
    """(size, size) float32: how much of picture `index` of the crop is shown over its plate, but what is `hidden`."""
    alpha = read_png(frame_path(rgba, index))[..., 3]
    if refined:
        reach = 2 * max(1, round(REFINED_MARGIN * size)) + 1
        alpha = cv2.dilate(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    mask, away = face_mask(alpha, FEATHER * size), None if hidden is None else hidden(index, size)
    return mask if away is None else mask * (1 - away)


def portrait_frames(rgba: Path, backdrop: Path, count: int) -> Iterator[np.ndarray]:
    """Yield the built-in head's frames (S, S, 3): Blender's images over the picture of their `backdrop`."""
    behind = read_png(backdrop)[..., :3]
    for index in range(count):
        yield over(read_png(frame_path(rgba, index)), behind)


def make_film(
    session: Session, frames: Iterator[np.ndarray], speech: Speech, keys: dict, size: tuple[int, int]
) -> None:
    """Write the film into the take, then put it and its contact sheet where the user wants them; or the preview."""
    take, options = session.take, session.options
    if options.preview is not None:
        preview.write(session, frames, size, len(performance_file.load(take.path("performance.npz"))))
        return

    def work(progress):
        facts = provenance(speech=options.speech, target=options.target, seed=options.seed, settings=keys)
        count = write_film(
            frames,
            options.speech,
            take.path("take.mp4"),
            fps=FPS,
            seconds=speech.seconds,
            size=size,
            bt601=session.bt601(),
            progress=progress,
            comment=comment(facts),
        )
        write_sheet(take.path("take.mp4"), take.path("sheet.png"))
        return {"frames": count, "seconds": count / FPS}

    session.stage("film", "Writing the film", keys, ["take.mp4", "sheet.png"], work)
    deliver(session, take.path("take.mp4"), options.out)
    deliver(session, take.path("sheet.png"), options.sheet)


def deliver(session: Session, made: Path, wanted: Path) -> None:
    """Copy `made` to `wanted`, whole or not at all, and remember it as ours."""
    if wanted.is_file() and file_hash(wanted) == file_hash(made):
        session.take.record(wanted)
        return
    part = wanted.with_name(f".{wanted.name}.part")
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, part)
        os.replace(part, wanted)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserInputError(f"{wanted} can't be written ({error.strerror}); the result lies at {made}.") from error
    session.take.record(wanted)


def make_scene(session: Session, target: Target | None, plates: tuple[Path, str] | None = None) -> None:
    """Save the editable Blender scene that the film was rendered from; `plates` as of `behind.whole_plates`."""
    options, take = session.options, session.take
    wanted = options.scene
    if wanted is None:
        return
    settings: dict = {
        "motion": take.key("motion"),
        "character": take.key("character"),
        "place": str(wanted.resolve()),
        "size": options.size,
        "engine": options.engine,
    }
    extra: dict = {"view": "portrait"}
    if target is not None and target.is_photo:
        settings["photo"] = take.key("photo")
        extra = {"view": "full", "photo": str(take.path("photo.npz").resolve())}
    elif plates is not None:
        settings["plates"] = take.key("whole_plates")
        extra = {"view": "full", "face_only": True, "plates": str(plates[0].resolve()), "plate_pattern": plates[1]}

    def work(progress):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        result = run_job(
            find_scene_blender(session.blender),
            job(session, scene=str(wanted.resolve()), speech=str(options.speech.resolve()), **extra),
            take.path("jobs/scene.json"),
            take.path("logs/scene.log"),
            progress=progress,
            warn=session.terminal.warn,
        )
        take.record(wanted)
        if int(str(result["blender"]).split(".")[0]) >= FIRST_NEW_FORMAT:
            session.terminal.warn(
                f"{wanted} was saved by Blender {result['blender']} and opens in 4.5 or newer; for older ones name a "
                "Blender 4.2 with --blender, or run tests/setup.sh."
            )
        return {key: value for key, value in result.items() if isinstance(value, str | int | float)}

    # The .blend itself is guarded: an edited one is never written over without --overwrite.
    if not wanted.exists():
        take.forget("scene")
    session.stage("scene", "Saving the scene", settings, [], work)
