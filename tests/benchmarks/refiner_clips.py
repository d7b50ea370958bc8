"""Validation clips as a refiner meets them: drawn over their own frames, a part to fit to and a part to test on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts import character
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS
from ml_backend.data.video import extract_frames
from ml_backend.face_model.model import FaceModel
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.prepare.faces import part
from ml_backend.reconstruct.texture import CHARACTER_FILE, make_character
from ml_backend.reconstruct.track import track_with_cuts
from ml_backend.reconstruct.unseen import unseen_character
from ml_backend.refine.train import FROM_SCRATCH, tail_length

CLIPS = ("halfbody_20s", "interview_two_faces_17s", "cspan_61s", "st_andrew_clip_2", "news_3")
FIT_SECONDS, FIT_SHARE, LEAST_TEST, TEST_FRAMES = 12.0, 0.6, 40, 100
SCHEMA, VERSION = "parley.benchmark.refiner", 2
LEAST, MOST = 192, 512


@dataclass(frozen=True)
class RefinerClip:
    """Composites (T, S, S, 3) and real crops, uint8, landmarks in them (T, 478, 2); the first `fit` are for fitting.

    `masks` (T, S, S) uint8 say how much of the drawn face shows.
    """

    name: str
    composites: np.ndarray
    real: np.ndarray
    landmarks: np.ndarray
    fit: int
    masks: np.ndarray

    def split(self, fitting: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Composites, real crops and landmarks of either part."""
        chosen = slice(0, self.fit) if fitting else slice(self.fit, None)
        return self.composites[chosen], self.real[chosen], self.landmarks[chosen]


def load_clip(data: Path, name: str, model: FaceModel, cache: Path, most: int = MOST) -> RefinerClip:
    """The clip ``data/clips/NAME.mp4``, drawn unless the folder `cache` has it."""
    path = cache / f"refiner_{name}_{most}.npz"
    if not path.is_file():
        save_npz(path, SCHEMA, VERSION, _drawn(data / "clips" / f"{name}.mp4", model, cache / f"refiner_{name}", most),
                 compress=False)
    found = load_npz(path, SCHEMA, VERSION)
    # Composed here, as a film is composed today.
    made = [composite(a, b) for a, b in zip(found["rgba"], found["real"], strict=True)]
    size = found["real"].shape[1]
    masks = np.stack([(255 * face_mask(rgba[..., 3], FEATHER * size)).astype(np.uint8) for rgba in found["rgba"]])
    return RefinerClip(name, np.stack(made), found["real"], found["landmarks"], int(found["fit"]), masks)


def _drawn(path: Path, model: FaceModel, folder: Path, most: int) -> dict[str, np.ndarray]:
    frames = extract_frames(path, folder / "frames", seconds=FIT_SECONDS + TEST_FRAMES / FPS, fps=FPS)
    track = track_with_cuts(frames, model, source=str(path))[0]
    whole = round(FIT_SECONDS * FPS)
    fit = whole if len(track) >= whole + LEAST_TEST else round(FIT_SHARE * len(track))
    make_character(part(track, slice(0, fit)), frames[0:fit], model, folder)
    drawing = FaceDrawing(model, character.load(folder / CHARACTER_FILE), folder)
    size = int(min(most, max(LEAST, 64 * round(float(track.crop[2]) / 64))) // 32 * 32)
    by = dict.fromkeys(range(len(track)), drawing)
    if drawing.character.lives:
        # As in a film: the held-out end of what is fitted to is drawn by a character that doesn't know it.
        away = np.arange(fit - tail_length(fit, FROM_SCRATCH.tail), fit)
        made = unseen_character(part(track, slice(0, fit)), frames[0:fit], model, folder / "unseen", away)
        by |= dict.fromkeys(away.tolist(), FaceDrawing(model, made, folder / "unseen"))
    rgba = [by[t].draw(np.clip(track.expression[t], 0, 1), track.pose()[t], size) for t in range(len(track))]
    real = [crop_resize(frames[t], track.crop, size) for t in range(len(track))]
    landmarks = (track.landmarks[..., :2] - track.crop[:2]) * (size / float(track.crop[2]))
    shutil.rmtree(folder)
    return {"rgba": np.stack(rgba), "real": np.stack(real), "landmarks": landmarks.astype(np.float32),
            "fit": np.array(fit)}

