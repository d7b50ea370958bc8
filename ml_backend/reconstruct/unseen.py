"""A character that has not seen the end of its clip: what a refiner is judged by must look as films do.

A texture made of a clip's frames, a living one above all, drawn over these very frames is nearly the frames themselves
(measured: 2.5 to 5.6 dB nearer than over frames that follow). A held-out end drawn with it tells nothing of a film, in
which the face does what it did in no frame. So the end is drawn with a character made of the frames before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.artefacts.character import Character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.texture import make_character

PER_FRAME = ("landmarks", "confidence", "expression", "rotation", "translation")


class Chosen(Sequence[np.ndarray]):
    """The frames `rows` of `frames`, read when asked for."""

    def __init__(self, frames: Sequence[np.ndarray], rows: np.ndarray) -> None:
        self.frames, self.rows = frames, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        return self.frames[int(self.rows[number])]


def chosen_track(track: FaceTrack, rows: np.ndarray) -> FaceTrack:
    """The frames `rows` of `track`, with the whole clip's face, light and crop."""
    return replace(track, **{name: getattr(track, name)[rows] for name in PER_FRAME})


def unseen_character(track: FaceTrack, frames: Sequence[np.ndarray], model: FaceModel, folder: Path, away: np.ndarray
                     ) -> Character:
    """The character made of all frames but the numbers `away`; written into `folder`.

    Raises
    ------
    UserInputError
        If the folder can't be written.
    """
    rows = np.setdiff1d(np.arange(len(track)), away)
    return make_character(chosen_track(track, rows), Chosen(frames, rows), model, folder)
