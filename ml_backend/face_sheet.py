"""`parley face random` and `parley face sheet`: random people, and contact sheets rendered as films are."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.character import Character
from ml_backend.artefacts.performance import Performance
from ml_backend.blender import Blender, find_blender, run_job
from ml_backend.config import FPS
from ml_backend.data.frames import encode_png, frame_path, read_png, write_whole
from ml_backend.errors import UserInputError
from ml_backend.face_model.look import hairstyles
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.store import model_path
from ml_backend.face_model.synthesis import project, to_camera
from ml_backend.face_random import random_character
from ml_backend.motion.controls import EMOTIONS, Controls, add_emotion
from ml_backend.progress import Progress, silent
from ml_backend.talk.builtin import builtin_character
from ml_backend.terminal import Terminal

PEOPLE = 12
TURN = 0.6
"""Yaw in radians of every person's second picture."""

CELL, LABEL = 256, 22
"""Pixels: side of a picture, height of the line below it."""

NO_HAIR = "none"
SHAPE_COLUMNS, PEOPLE_COLUMNS, EMOTION_COLUMNS = 9, 8, 4
FRAME = 2048
"""Side in pixels of the frame that the close view is cut from."""

BACKDROP = (0.62, 0.64, 0.66)
INK, PAPER = (235, 235, 235), 32
WITH_JAW = "mouthClose"
"""Shuts lips that an open jaw parts: shown alone it would push them through each other."""


def render(
    blender: Blender,
    folder: Path,
    model: Path,
    character: Path,
    act: Performance,
    log: Path,
    progress: Progress = silent,
    **settings,
) -> list[np.ndarray]:
    """(S, S, 3) uint8 pictures of the samples of `act`, rendered by the add-on's child process in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    performance_file.save(act, folder / "performance.npz")
    job = {
        "schema": "parley.job", "version": 1, "fps": FPS, "engine": "eevee", "size": CELL,
        "face_model": str(model.resolve()), "character": str(character.resolve()),
        "performance": str((folder / "performance.npz").resolve()), "output": str((folder / "frames").resolve()),
        "backdrop": list(BACKDROP), "samples": 8, **settings,
    }  # fmt: skip
    run_job(blender, job, folder / "job.json", log, progress=progress)
    rendered = settings.get("frames", range(len(act)))
    return [read_png(frame_path(folder / "frames", index))[..., :3] for index in rendered]


def shape_samples(model: FaceModel, place: np.ndarray) -> tuple[Performance, list[str]]:
    """The neutral face and each expression at weight 1 at `place` (3,) metres, and what each sample is called."""
    names = model.names
    weights = np.concatenate([np.zeros((1, len(names))), np.eye(len(names))]).astype(np.float32)
    labels = ["neutral", *names]
    if WITH_JAW in names and "jawOpen" in names:
        weights[1 + names.index(WITH_JAW), names.index("jawOpen")] = 1
        labels[1 + names.index(WITH_JAW)] += " + jawOpen"
    return _act(weights, names, np.zeros(len(weights)), place), labels


def emotion_samples(model: FaceModel, place: np.ndarray) -> tuple[Performance, list[str]]:
    """Each emotion at strength 1 on a silent face at `place` (3,) metres, and what each sample is called."""
    names, still = model.names, np.zeros((1, len(model.names)), np.float32)
    looks = [add_emotion(still, names, np.zeros(1), Controls(emotion=emotion)) for emotion in EMOTIONS]
    weights = np.clip(np.concatenate(looks), 0, 1)
    return _act(weights, names, np.zeros(len(weights)), place), list(EMOTIONS)


def _act(weights: np.ndarray, names: list[str], yaw: np.ndarray, place: np.ndarray) -> Performance:
    pose = np.zeros((len(weights), 6), np.float32)
    pose[:, 1], pose[:, 3:] = yaw, place
    return Performance(np.arange(len(weights)) / FPS, weights, names, pose, {"made": "contact sheet"})


def close_crop(model: FaceModel, character: Character) -> np.ndarray:
    """(3,) float32 x, y, side of the square around the face region with room for an open jaw, pixels."""
    face = character.neutral_shape[model.region("face") > 0]
    points = project(to_camera(face, character.pose_mean), float(character.focal), character.size / 2)
    low, high = points.min(0), points.max(0)
    side = 1.16 * (high[1] - low[1])
    middle = (low + high) / 2
    return np.array([middle[0] - side / 2, low[1] - 0.02 * side, side], np.float32)


SAMPLES = {"shapes": (shape_samples, SHAPE_COLUMNS), "emotions": (emotion_samples, EMOTION_COLUMNS)}


def face_sheet(
    what: str, model_file: Path, blender: Blender, work: Path, log: Path, progress: Progress = silent
) -> np.ndarray:
    """(H, W, 3) uint8 sheet of the model's face at `model_file`, `what` naming the expressions: a key of `SAMPLES`."""
    samples, columns = SAMPLES[what]
    model = load(model_file)
    person = builtin_character(model, FRAME, work / "character.npz")
    person = replace(person, crop=close_crop(model, person))
    character_file.save(person, work / "character.npz")
    act, labels = samples(model, person.pose_mean[3:])
    pictures = render(blender, work / "shapes", model_file, work / "character.npz", act, log, progress, view="crop")
    return montage(pictures, labels, columns)


def people_sheet(
    model_file: Path, blender: Blender, work: Path, log: Path, seed: int, progress: Progress = silent
) -> np.ndarray:
    """(H, W, 3) uint8 sheet of `PEOPLE` random persons with seeds from `seed`, each from the front and turned."""
    model = load(model_file)
    still = np.zeros((3, len(model.names)), np.float32)
    pictures, labels = [], []
    styles = hairstyles(model_file)
    for number in range(PEOPLE):
        progress(number, PEOPLE)
        path = work / f"person_{number}.npz"
        person = random_character(model, seed + number, path, styles=styles)
        # The neck's root stays in the mean pose: with both turns in it that is straight ahead.
        act = _act(still, model.names, np.array([0, TURN, -TURN]), person.pose_mean[3:])
        folder = work / f"person_{number}"
        pictures += render(blender, folder, model_file, path, act, log, view="portrait", frames=[0, 1])
        labels += [f"seed {seed + number}", f"seed {seed + number}, turned"]
    progress(PEOPLE, PEOPLE)
    return montage(pictures, labels, PEOPLE_COLUMNS)


def montage(pictures: Sequence[np.ndarray], labels: Sequence[str], columns: int) -> np.ndarray:
    """(H, W, 3) uint8: `pictures` (S, S, 3) in rows of `columns`, each with its label below it."""
    side = len(pictures[0])
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (side + LABEL), columns * side, 3), PAPER, np.uint8)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        top, left = index // columns * (side + LABEL), index % columns * side
        sheet[top : top + side, left : left + side] = picture
        where = (left + 6, top + side + LABEL - 7)
        cv2.putText(sheet, label, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return sheet


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Do ``face random`` or ``face sheet``; raises `ParleyError`."""
    path = model_path(options.face_model)
    if options.action == "random":
        _check_out(options.out, ".npz", overwrite=options.overwrite)
        _check_seed(options.seed)
        styles = hairstyles(path)
        _check_hair(options.hair, styles)
        hair = "" if options.hair == NO_HAIR else options.hair
        random_character(load(path), options.seed, options.out, hair=hair, styles=styles)
        named = "" if options.face_model == "parley" else f" --face-model {options.face_model}"
        terminal.say(f"Person {options.seed}: {options.out}. Use it with: parley talk{named} --character {options.out}")
        return
    _check_out(options.out, ".png", overwrite=options.overwrite)
    _check_seed(options.seed)
    blender = find_blender(options.blender)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    log = options.out.with_suffix(".log")
    with tempfile.TemporaryDirectory() as folder, terminal.stage(f"Rendering the {options.what}") as progress:
        if options.what in SAMPLES:
            sheet = face_sheet(options.what, path, blender, Path(folder), log, progress)
        else:
            sheet = people_sheet(path, blender, Path(folder), log, options.seed, progress)
    write_whole(options.out, encode_png(sheet))
    log.unlink(missing_ok=True)
    terminal.say(f"Contact sheet: {options.out}")


def _check_out(path: Path, suffix: str, *, overwrite: bool) -> None:
    if path.suffix.lower() != suffix:
        raise UserInputError(f"--out {path} must end in {suffix}.")
    if path.exists() and not overwrite:
        raise UserInputError(f"{path} is there already; choose another name or give --overwrite.")


def _check_hair(hair: str | None, styles: Sequence[str]) -> None:
    if hair not in (None, NO_HAIR, *styles):
        known = ", ".join((*styles, NO_HAIR))
        raise UserInputError(f"--hair {hair} is no hairstyle of this face model; choose one of {known}.")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise UserInputError(f"--seed {seed} is negative; give 0 or more.")
