"""The memory of a clip's frames in a film: what its rendering lacked is remembered, and given to the film's frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.plates import Plates
from ml_backend.artefacts.schema import require
from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, read_png, write_index, write_whole
from ml_backend.parallel import each
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.reconstruct import recall as recall_file
from ml_backend.reconstruct.recall_frames import Drawn, face_map
from ml_backend.reconstruct.texture import CHARACTER_FILE
from ml_backend.refine.preview import draw_preview
from ml_backend.refine.recalling import Acted, give, remember
from ml_backend.talk.picture import crop_size
from ml_backend.talk.session import Session
from ml_backend.talk.survey import Hidden, Survey
from ml_backend.talk.target import Target

FOLDER, FILE = "recall", "recall.npz"
"""Folder in the take, and the memory in it where there is one."""


@dataclass(frozen=True)
class Film:
    """What is drawn in a film: its performance, and the plates whose poses it takes."""

    performance: Performance
    plates: Plates


def remember_clip(session: Session, target: Target, seen: Survey, fit: FrameFolder, place: Callable[[int], Path],
                  ends: np.ndarray, unseen: Path | None) -> dict:
    """Remember what the renderings of the clip's own frames lacked; "used" in what is returned says whether that helps.

    Parameters
    ----------
    fit : the clip's frames as composites; the `ends` are drawn by the character in `unseen`
    place : where each rendering lies
    ends : numbers of the frames that are held out
    unseen : folder of the character made without the ends; None where the character doesn't know its frames
    """
    take, size = session.take, crop_size(session, target)

    def learn(progress):
        folder = take.path(FOLDER)
        folder.mkdir(exist_ok=True)
        face = face_map(session.model, target.character, size)
        if face is None:
            return {"used": False}
        clip = _Clip(session, target, Hidden(seen, target.track.crop, np.arange(len(fit))), fit, place)
        others = None if unseen is None else clip.drawing(unseen)
        mine, last = None if unseen is None else clip.drawing(take.folder), set(ends.tolist())

        def own(index: int) -> Drawn:
            return clip(index, mine if index in last else None)

        def without(index: int) -> Drawn:
            return clip(index, None if index in last else others)

        found = remember(face, clip.acted, own, without, ends, clip.landmarks, progress)
        if found.recall is not None:
            recall_file.save(found.recall, folder / FILE)
        return found.as_dict()

    settings = {"fit": take.key("fit_composites"), "ends": ends.tolist()}
    return {"used": False, **session.stage(FOLDER, "Remembering the clip's frames", settings, [FOLDER], learn)}


class _Clip:
    """The frames of a clip that are learned from, as drawn by one character or another."""

    def __init__(self, session: Session, target: Target, hidden: Hidden, fit: FrameFolder, place: Callable[[int], Path]
                 ) -> None:
        self.session, self.target, self.hidden, self.fit, self.place = session, target, hidden, fit, place
        self.size, track = crop_size(session, target), target.track
        part = slice(0, len(fit))
        self.acted = Acted(list(map(str, track.expression_names)), track.expression[part], track.pose()[part])
        self.landmarks = (track.landmarks[part, :, :2] - track.crop[:2]) * (self.size / float(track.crop[2]))

    def drawing(self, folder: Path) -> FaceDrawing:
        """By the character in `folder`."""
        return FaceDrawing(self.session.model, character_file.load(folder / CHARACTER_FILE), folder)

    def __call__(self, index: int, drawing: FaceDrawing | None) -> Drawn:
        """Frame `index` as it was rendered in Blender, or by `drawing`, which is as good to learn from and faster."""
        real = crop_resize(self.target.frames[index], self.target.track.crop, self.size)
        if drawing is None:
            return Drawn(self.fit[index], real, self._shown(read_png(self.place(index)), index))
        rgba = drawing.draw(np.clip(self.acted.expression[index], 0, 1), self.acted.pose[index], self.size)
        shown = self._shown(rgba, index)
        return Drawn(composite(rgba, real, mask=shown), real, shown)

    def _shown(self, rgba: np.ndarray, index: int) -> np.ndarray:
        """As `_shown`, nothing where no face was found: there the rendering is a guess."""
        return _shown(rgba, self.hidden, index) * np.float32(self.target.track.confidence[index] > 0)


def recollect(session: Session, target: Target, seen: Survey, drawn: FrameFolder, film: Film, name: str, preview: str
              ) -> FrameFolder:
    """The `film`'s frames `drawn` with what the memory says they lack, in the take's folder `name`.

    Also a picture, the take's `preview`, of a few frames before and after.
    """
    take, strength, folder = session.take, session.options.refine_strength, session.take.path(name)
    rgba = take.path("frames_rgba")

    def paint(progress):
        folder.mkdir(exist_ok=True)
        recall = recall_file.load(take.path(FOLDER) / FILE)
        face, acted = face_map(session.model, target.character, crop_size(session, target)), acting(film)
        require(face is not None and face.fits(recall), take.path(FOLDER) / FILE, "it is of another face")
        assert face is not None
        amounts, hidden = recall.amounts(acted.described(recall.names)), Hidden(seen, target.track.crop,
                                                                                film.plates.source)

        def one(index: int) -> None:
            path = frame_path(folder, index)
            if not path.exists():
                shown = _shown(read_png(frame_path(rgba, index)), hidden, index)
                frame = Drawn(drawn[index], drawn[index], strength * shown)
                write_whole(path, encode_png(give(face, recall, amounts[index], frame, acted, index)))

        each(len(drawn), one, progress)
        write_index(folder, complete=True, count=len(drawn), fps=FPS, notes=[])
        draw_preview(drawn, FrameFolder.open(folder), take.path(preview))
        return {"frames": len(drawn)}

    settings = {"composites": take.key("composites"), "recall": take.key(FOLDER), "strength": strength}
    session.stage(name, "Refining", settings, [name, preview], paint)
    return FrameFolder.open(folder)


def acting(film: Film) -> Acted:
    """How the film's frames are drawn."""
    return Acted(list(map(str, film.performance.names)), film.performance.expression, film.plates.pose)


def _shown(rgba: np.ndarray, hidden: Hidden, index: int) -> np.ndarray:
    """(S, S) float32: the rendering's share of each pixel."""
    size = len(rgba)
    mask, away = face_mask(rgba[..., 3], FEATHER * size), hidden(index, size)
    return mask if away is None else mask * (1 - away)
