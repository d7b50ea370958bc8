"""What is made of a film beside it: a film of the face crop, sequences for compositors, a cue sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.plates import Plates
from ml_backend.audio.load import Speech
from ml_backend.config import FPS
from ml_backend.data.frames import write_whole
from ml_backend.film.cues import cue_sheet
from ml_backend.film.layers import over
from ml_backend.film.mux import write_film
from ml_backend.film.provenance import comment, provenance
from ml_backend.film.sequence import complete, write_sequences
from ml_backend.take import settings_key
from ml_backend.talk.film import deliver
from ml_backend.talk.session import Session

LAYERS = ("film", "face", "plate")


@dataclass(frozen=True)
class Parts:
    """What the frames of a film consist of; each function takes a frame's index.

    Attributes
    ----------
    face : gives (H, W, 4) uint8, straight alpha, in the film's frame
    plate : gives (H, W, 3) uint8, what is behind the face
    crop : gives (S, S, 3) uint8, the face crop; None where the film itself is one
    """

    face: Callable[[int], np.ndarray]
    plate: Callable[[int], np.ndarray]
    crop: Callable[[int], np.ndarray] | None = None


def write_extras(session: Session, speech: Speech, performance: Performance, parts: Parts,
                 plates: Plates | None = None) -> None:
    """Write what the options ask for; the film is there already. Nothing of a preview."""
    if session.options.preview is not None:
        return
    if session.options.crop is not None and parts.crop is not None:
        _crop_film(session, speech, len(performance), parts.crop)
    if session.options.frames is not None:
        _sequences(session, len(performance), parts)
    if session.options.cue_sheet is not None:
        _cue_sheet(session, performance, plates)


def _crop_film(session: Session, speech: Speech, count: int, crop: Callable[[int], np.ndarray]) -> None:
    take, options = session.take, session.options
    assert options.crop is not None

    def work(progress: Callable[[int, int], None]) -> dict:
        height, width = crop(0).shape[:2]
        facts = provenance(speech=options.speech, target=options.target, seed=options.seed, settings={"crop": True})
        written = write_film((crop(index) for index in range(count)), options.speech, take.path("crop.mp4"), fps=FPS,
                             size=(width, height), seconds=speech.seconds, comment=comment(facts),
                             bt601=session.bt601(), progress=progress)
        return {"frames": written, "size": width}

    session.stage("crop_film", "Writing the film of the crop", {"film": take.key("film")}, ["crop.mp4"], work)
    deliver(session, take.path("crop.mp4"), options.crop)


def _sequences(session: Session, count: int, parts: Parts) -> None:
    take, options = session.take, session.options
    assert options.frames is not None
    folder, form = options.frames, options.frames_format
    layers = {"film": lambda index: over(parts.face(index), parts.plate(index)), "face": parts.face,
              "plate": parts.plate}
    settings = {"film": take.key("film"), "format": form, "place": str(folder.resolve())}
    key = settings_key(settings)

    def work(progress: Callable[[int, int], None]) -> dict:
        write_sequences(folder, layers, count, form=form, key=key, progress=progress)
        return {"frames": count, "layers": list(LAYERS)}

    if not complete(folder, key, count, LAYERS, form):
        take.forget("sequences")
    session.stage("sequences", "Writing the frames", settings, [], work)


def _cue_sheet(session: Session, performance: Performance, plates: Plates | None) -> None:
    take, options = session.take, session.options
    assert options.cue_sheet is not None
    if plates is None:
        text = cue_sheet(performance.pose, FPS)
    else:
        text = cue_sheet(plates.pose, FPS, moments=plates.moments, key_frames=plates.key_frames)
    write_whole(take.path("cue_sheet.csv"), text)
    deliver(session, take.path("cue_sheet.csv"), options.cue_sheet)
