"""Validation clips as a refiner meets them: drawn over their own frames, a part to fit to and a part to test on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ml_backend.artefacts import character
from ml_backend.artefacts.character import Character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS
from ml_backend.data.video import extract_frames
from ml_backend.face_model.model import FaceModel
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.prepare.faces import part
from ml_backend.reconstruct.polish import polished_track
from ml_backend.reconstruct.recall_frames import FaceMap, face_map
from ml_backend.reconstruct.texture import CHARACTER_FILE, make_character
from ml_backend.reconstruct.track import track_with_cuts
from ml_backend.reconstruct.unseen import unseen_character
from ml_backend.refine.recalling import Acted
from ml_backend.refine.train import FROM_SCRATCH, tail_length

CLIPS = ("halfbody_20s", "interview_two_faces_17s", "cspan_61s", "st_andrew_clip_2", "news_3")
FIT_SECONDS, FIT_SHARE, LEAST_TEST, TEST_FRAMES = 12.0, 0.6, 40, 100
SCHEMA, VERSION = "parley.benchmark.refiner", 4
LEAST, MOST = 192, 512


@dataclass(frozen=True)
class DrawnClip:
    """How a clip was drawn: by the person's character `own` (T, S, S, 4), and by one that doesn't know the end of what
    is fitted to, `unseen` (fit, S, S, 4); expressions and poses; the character's geometry. The test part also as Yi et
    al. 2020 render, `still` (T - fit, S, S, 4): by a character of one texture, with what landmarks say of the face."""

    own: np.ndarray
    unseen: np.ndarray
    still: np.ndarray
    acted: Acted
    person: Character

    def face(self, model: FaceModel) -> FaceMap:
        """Over the crops."""
        found = face_map(model, self.person, self.own.shape[1])
        assert found is not None
        return found


@dataclass(frozen=True)
class RefinerClip:
    """Composites (T, S, S, 3) and real crops, uint8, landmarks in them (T, 478, 2); the first `fit` are for fitting.

    `masks` (T, S, S) uint8 say how much of the drawn face shows. `drawn`: what it was drawn with, None in tests.
    """

    name: str
    composites: np.ndarray
    real: np.ndarray
    landmarks: np.ndarray
    fit: int
    masks: np.ndarray
    drawn: DrawnClip | None = None

    def split(self, fitting: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Composites, real crops and landmarks of either part."""
        chosen = slice(0, self.fit) if fitting else slice(self.fit, None)
        return self.composites[chosen], self.real[chosen], self.landmarks[chosen]

    def still(self) -> list[np.ndarray]:
        """Composites (S, S, 3) uint8 of the test part as Yi et al. 2020 render; none in tests."""
        drawn = [] if self.drawn is None else self.drawn.still
        first = len(self.real) - len(drawn)
        return [composite(rgba, real) for rgba, real in zip(drawn, self.real[first:], strict=True)]


def load_clip(data: Path, name: str, model: FaceModel, cache: Path, most: int = MOST) -> RefinerClip:
    """The clip ``data/clips/NAME.mp4``, drawn unless the folder `cache` has it."""
    path = cache / f"refiner_{name}_{most}.npz"
    if not path.is_file():
        save_npz(path, SCHEMA, VERSION, _drawn(data / "clips" / f"{name}.mp4", model, cache / f"refiner_{name}", most),
                 compress=False)
    found = load_npz(path, SCHEMA, VERSION)
    # Composed here, as a film is composed today; as in a film, the held-out end of what is fitted to is drawn by a
    # character that doesn't know it.
    rgba, fit = found["own"].copy(), int(found["fit"])
    ends = slice(fit - tail_length(fit, FROM_SCRATCH.tail), fit)
    rgba[ends] = found["unseen"][ends]
    made = [composite(a, b) for a, b in zip(rgba, found["real"], strict=True)]
    size = found["real"].shape[1]
    masks = np.stack([(255 * face_mask(one[..., 3], FEATHER * size)).astype(np.uint8) for one in rgba])
    person = Character(**{field.name: found[f"person_{field.name}"] for field in fields(Character)
                          if f"person_{field.name}" in found})
    acted = Acted(list(map(str, found["names"])), found["expression"], found["pose"])
    drawn = DrawnClip(found["own"], found["unseen"], found["still"], acted, person)
    return RefinerClip(name, np.stack(made), found["real"], found["landmarks"], fit, masks, drawn)


def _drawn(path: Path, model: FaceModel, folder: Path, most: int) -> dict[str, np.ndarray]:
    frames = extract_frames(path, folder / "frames", seconds=FIT_SECONDS + TEST_FRAMES / FPS, fps=FPS)
    track, cuts = track_with_cuts(frames, model, source=str(path))
    whole = round(FIT_SECONDS * FPS)
    fit = whole if len(track) >= whole + LEAST_TEST else round(FIT_SHARE * len(track))
    size = int(min(most, max(LEAST, 64 * round(float(track.crop[2]) / 64))) // 32 * 32)
    made = make_character(part(track, slice(0, fit)), frames[0:fit], model, folder / "still", lives=False)
    still = _draw(FaceDrawing(model, made, folder / "still"), track, range(fit, len(track)), size)
    # As in a film, by a character that knows no frame of the test part.
    track = polished_track(track, frames, model, folder / "draft", cuts, known=fit).track
    make_character(part(track, slice(0, fit)), frames[0:fit], model, folder)
    drawing = FaceDrawing(model, character.load(folder / CHARACTER_FILE), folder)
    others = drawing
    if drawing.character.lives:
        away = np.arange(fit - tail_length(fit, FROM_SCRATCH.tail), fit)
        made = unseen_character(part(track, slice(0, fit)), frames[0:fit], model, folder / "unseen", away)
        others = FaceDrawing(model, made, folder / "unseen")
    own, unseen = (_draw(by, track, range(count), size) for by, count in ((drawing, len(track)), (others, fit)))
    real = [crop_resize(frames[t], track.crop, size) for t in range(len(track))]
    landmarks = (track.landmarks[..., :2] - track.crop[:2]) * (size / float(track.crop[2]))
    shutil.rmtree(folder)
    person = {f"person_{field.name}": getattr(drawing.character, field.name) for field in fields(Character)}
    names = np.array(list(map(str, track.expression_names)))
    return {"own": own, "unseen": unseen, "still": still, "real": np.stack(real),
            "landmarks": landmarks.astype(np.float32), "fit": np.array(fit),
            "expression": track.expression, "pose": track.pose(), "names": names, **person}


def _draw(drawing: FaceDrawing, track: FaceTrack, numbers: Iterable[int], size: int) -> np.ndarray:
    """(N, S, S, 4) uint8 of the frames `numbers` of `track`."""
    return np.stack([drawing.draw(np.clip(track.expression[t], 0, 1), track.pose()[t], size) for t in numbers])
