"""What the user can ask of `parley talk`, checked before any work starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ml_backend import insightface_pack
from ml_backend.config import PERSONAL_SECONDS, motion_weights, sample_speech
from ml_backend.errors import UserInputError
from ml_backend.face_model.store import model_path
from ml_backend.film.sequence import free
from ml_backend.motion.controls import Controls
from ml_backend.motion.head_controls import HeadControls
from ml_backend.motion.head_pose import PoseSource
from ml_backend.reconstruct.providers import check as check_provider
from ml_backend.reconstruct.tracklets import LARGEST, check_face

MAX_SIZE = 4096
MIN_SIZE = 64
FILMS = (".mp4", ".m4v", ".mov")
LONGEST_SHUTTER = 2.0


@dataclass(frozen=True)
class TalkOptions:
    """Options of one run; `None` means the embedded default.

    Attributes
    ----------
    speech : audio or video file with sound
    target : clip or photo of the person; None = the built-in head
    out, scene : the film, and the .blend or None
    engine : "eevee" or "workbench"
    size : pixels, side of the rendered square
    seed : of everything random
    refine : fine-tune and apply the refiner (clips only)
    refine_minutes : time budget of the refiner's fine-tuning; None = by the number of frames
    refine_strength : how much of the refined picture is used, 0 to 1
    identity : encoder of the person's identity: "auto", "arcface" or "embedded"
    target_seconds : how much of the clip is used
    pose : where the head pose comes from, see `ml_backend.motion.head_pose`
    text : what is said, or a text file with it; None = the sound alone tells
    pose_from : another clip whose head motion is played instead, about this person's mean
    head : amounts of head motion, gaze, saccades and brow accents
    face_model : name of the face model: "parley", or one that `parley face add` made
    character : a character's file to play instead of the built-in head's mean face; not together with `target`
    face : which of several faces: "largest", "left", "right" or a number counted from the left, from 1
    landmarks : whose networks measure the target, see `ml_backend.reconstruct.providers`
    keep : the take folder; None = beside the film
    weights : general motion weights: "default", "open" or a file
    controls : amounts, emotion, smoothing and lead of the performance
    overwrite : replace products that this take did not write
    blender : executable, None = the bpy module
    motion_blur : share of a frame's time that the shutter is open; 0 = sharp frames
    processes : how many Blenders render at once; 0 = as many as the machine allows
    crop : a film of the face crop alone, or None (clips only)
    frames : folder for image sequences with alpha, or None
    frames_format : "png" or "exr"
    cue_sheet : CSV of time code, plate and head pose of every frame, or None
    preview : picture of the first, middle and last frame; it is made in place of the film, with a short strip
    """

    speech: Path
    target: Path | None
    out: Path
    scene: Path | None = None
    engine: str = "eevee"
    size: int = 512
    seed: int = 0
    refine: bool = True
    refine_minutes: float = 4.0
    refine_strength: float = 1.0
    identity: str = "auto"
    target_seconds: float = PERSONAL_SECONDS
    pose: PoseSource = "predicted"
    text: str | None = None
    pose_from: Path | None = None
    head: HeadControls = field(default_factory=HeadControls)
    face_model: str = "parley"
    character: Path | None = None
    face: str = LARGEST
    landmarks: str = "mediapipe"
    keep: Path | None = None
    weights: str = "default"
    controls: Controls = field(default_factory=Controls)
    overwrite: bool = False
    blender: str | None = None
    motion_blur: float = 0.0
    processes: int = 0
    crop: Path | None = None
    frames: Path | None = None
    frames_format: str = "png"
    cue_sheet: Path | None = None
    preview: Path | None = None

    @property
    def take_folder(self) -> Path:
        """`keep`, or ``<film>.take`` beside the film."""
        return self.keep if self.keep is not None else self.out.with_suffix(".take")

    @property
    def sheet(self) -> Path:
        """The contact sheet beside the film."""
        return self.out.with_name(f"{self.out.stem}_sheet.png")


    @property
    def products(self) -> list[Path]:
        """Every file that the run writes for the user."""
        if self.preview is not None:
            return [self.preview, self.strip]
        asked = (self.out, self.sheet, self.scene, self.crop, self.cue_sheet)
        return [path for path in asked if path is not None]

    @property
    def strip(self) -> Path:
        """The short film beside the preview's picture."""
        return (self.preview or self.out).with_suffix(".mp4")


def default_speech() -> Path:
    """The bundled speech, raising `UserInputError` where an installation lost it."""
    path = sample_speech()
    if not path.exists():
        raise UserInputError("The bundled speech is missing; give one with --speech.")
    return path


def check(options: TalkOptions) -> None:
    """Raise `UserInputError` for options that can't work, before anything is made."""
    for name, path, endings in (
        ("--out", options.out, FILMS),
        ("--crop", options.crop, FILMS),
        ("--cue-sheet", options.cue_sheet, (".csv",)),
        ("--preview", options.preview, (".png",)),
    ):
        if path is not None and path.suffix.lower() not in endings:
            raise UserInputError(f"{name} {path} must end in {endings[0]}.")
    _check_picture(options)
    if options.scene is not None and options.scene.suffix.lower() != ".blend":
        raise UserInputError(f"--scene {options.scene} must end in .blend.")
    if not MIN_SIZE <= options.size <= MAX_SIZE:
        raise UserInputError(f"--size {options.size} must lie between {MIN_SIZE} and {MAX_SIZE} pixels.")
    if not 0 <= options.refine_strength <= 1:
        raise UserInputError(f"--refine-strength {options.refine_strength:g} must lie between 0 and 1.")
    if options.identity == "arcface":
        # Before minutes of rendering, not after.
        insightface_pack.check("--identity arcface", insightface_pack.RECOGNITION)
    if options.refine_minutes <= 0:
        raise UserInputError("--refine-minutes must be more than 0; use --no-refine to leave the refiner out.")
    check_inputs(options)


def _check_picture(options: TalkOptions) -> None:
    if not 0 <= options.motion_blur <= LONGEST_SHUTTER:
        raise UserInputError(f"--motion-blur {options.motion_blur:g} must lie between 0 and {LONGEST_SHUTTER:g}.")
    if options.processes < 0:
        raise UserInputError(f"--processes {options.processes} must be 0 (as many as fit) or more.")
    if options.crop is not None and options.target is None:
        raise UserInputError("--crop is the face crop of a clip or photo; without --target the film itself is square.")
    if options.frames is not None and not (free(options.frames) or options.overwrite):
        raise UserInputError(f"{options.frames} holds files that are not Parley's; give --frames a new folder.")


def check_inputs(options: TalkOptions) -> None:
    """Raise `UserInputError` unless inputs are there and products can be written, whatever is made of them."""
    if options.target_seconds < 0.04:
        raise UserInputError(f"--target-seconds {options.target_seconds:g} is too short; give at least 0.04 s.")
    if options.target is not None and options.character is not None:
        raise UserInputError("--target and --character both say who speaks; give one of them.")
    if not _exists(motion_weights(options.weights)):
        raise UserInputError(f"There are no motion weights {options.weights}; give default, open or a weights file.")
    check_face(options.face)
    check_provider(options.landmarks)
    model_path(options.face_model)
    _check_files(options)


def _check_files(options: TalkOptions) -> None:
    inputs = (options.speech, options.target, options.character, options.pose_from)
    for path in inputs:
        if path is not None and not _exists(path):
            raise UserInputError(f"{path} does not exist; check the path.")
    products = options.products
    for path in (*products, options.take_folder, *filter(None, [options.frames])):
        _check_folder(path)
    taken = {path.resolve() for path in inputs if path is not None}
    for path in products:
        if path.resolve() in taken:
            raise UserInputError(f"{path} is one of the inputs; give another name for the result.")
        taken.add(path.resolve())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise UserInputError(f"{path} can't be reached ({error.strerror}); choose a place you may read.") from error


def _check_folder(path: Path) -> None:
    folder = path.parent
    while not _exists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise UserInputError(f"{folder} is no folder; {path} can't be written there.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserInputError(f"{folder} can't be written; give --out (and --scene, --keep) in a folder of yours.")
