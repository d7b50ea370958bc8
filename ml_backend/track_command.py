"""`parley track`: what Parley measures in a clip, as a file, and as a picture or film to judge it by."""

from __future__ import annotations

import argparse
import io
import math
import os
import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from ml_backend.artefacts import face_track
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.config import FPS
from ml_backend.data.frames import write_whole
from ml_backend.data.video import VideoInfo, extract_frames, probe
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.store import model_path
from ml_backend.film.mux import write_film
from ml_backend.film.sound import Sound
from ml_backend.reconstruct.overlay import Overlay, face_window
from ml_backend.reconstruct.providers import MEDIAPIPE, detector
from ml_backend.reconstruct.track import track_clip
from ml_backend.reconstruct.tracklets import LARGEST, SPEAKING, check_face
from ml_backend.terminal import Terminal, hushed

MARK = "Face track preview made with Parley"
FILMS, SHEETS = (".mp4", ".m4v", ".mov"), (".png",)
TILES, COLUMNS, TILE, GAP, BACK = 12, 4, 400, 4, 24
"""The contact sheet: frames, frames in a row, pixels of each, between them, and the grey there."""


@dataclass(frozen=True)
class TrackOptions:
    """Options of one run.

    Attributes
    ----------
    clip : clip or photo
    out : the FaceTrack, .npz
    preview : .png for a contact sheet, .mp4 for a film with the clip's sound, None for neither
    face : "largest", "speaking", "left", "right" or a number counted from the left
    seconds : how much of the clip from its start; None = all
    face_model : name of the face model
    landmarks : whose networks measure, see `providers`
    overwrite : replace a track or preview that this command made
    """

    clip: Path
    out: Path
    preview: Path | None = None
    face: str = LARGEST
    seconds: float | None = None
    face_model: str = "parley"
    landmarks: str = MEDIAPIPE
    overwrite: bool = False


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Do what the command line says; raises `ParleyError`."""
    track(TrackOptions(options.clip, options.out, options.preview, options.face, options.target_seconds,
                       options.face_model, options.landmarks, options.overwrite), terminal)


def track(options: TrackOptions, terminal: Terminal) -> FaceTrack:
    """Track the clip, save the FaceTrack and, if wanted, the preview.

    Raises
    ------
    UserInputError
        With one sentence: options that can't work, files that must not be replaced, no such face, a full disk.
    """
    check(options)
    info, model = probe(options.clip), load(model_path(options.face_model))
    detect = detector(options.landmarks)
    if check_face(options.face) == SPEAKING:
        from ml_backend.motion.speaker import listening  # here, since it brings torch along: a second or two

        detect = listening(options.clip, detect)
    with tempfile.TemporaryDirectory(prefix="parley_track_") as name:
        folder = Path(name)
        with terminal.stage("Reading the clip") as progress:
            frames = extract_frames(options.clip, folder / "frames", seconds=options.seconds, fps=FPS,
                                    progress=progress)
        for note in frames.notes:
            terminal.warn(note)
        # MediaPipe chatters from threads of its own at any time: kept off the terminal, which has its own stream.
        with hushed(folder / "track.log"), terminal.stage("Tracking the face") as progress:
            found = track_clip(frames, model, fps=float(FPS), face=check_face(options.face), progress=progress,
                               warn=terminal.warn, source=str(options.clip), detect=detect)
        face_track.save(found, options.out)
        if options.preview is not None:
            _preview(options, info, found, frames, model, folder, terminal)
    seen = 100 * float((found.confidence > 0).mean())
    terminal.say(f"Track: {options.out} ({len(found)} frames, the face found in {seen:.0f} %)."
                 + (f" Preview: {options.preview}." if options.preview else ""))
    return found


def check(options: TrackOptions) -> None:
    """Raise `UserInputError` for options that can't work, before anything is made."""
    check_face(options.face)
    if options.seconds is not None and not (math.isfinite(options.seconds) and options.seconds >= 1 / FPS):
        raise UserInputError(f"--target-seconds {options.seconds:g} is too short; give at least {1 / FPS:g} s.")
    if options.out.suffix.lower() != ".npz":
        raise UserInputError(f"--out {options.out} must end in .npz.")
    if options.preview is not None and options.preview.suffix.lower() not in (*FILMS, *SHEETS):
        raise UserInputError(f"--preview {options.preview} must end in .png or .mp4.")
    products = [path for path in (options.out, options.preview) if path is not None]
    for path in products:
        if path.resolve() == options.clip.resolve():
            raise UserInputError(f"{path} is the clip itself; give another name for the result.")
        _check_place(path)
        _guard(path, overwrite=options.overwrite)


def _check_place(path: Path) -> None:
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserInputError(f"{path} can't be written in {folder}; choose a folder of yours.")


def _guard(path: Path, *, overwrite: bool) -> None:
    """Replace nothing but what this command made, and that only when told to."""
    if not path.exists():
        return
    if path.is_dir():
        raise UserInputError(f"{path} is a folder; give a file name.")
    if not made_here(path):
        raise UserInputError(f"{path} exists and was not made by parley track; choose another name.")
    if not overwrite:
        raise UserInputError(f"{path} exists; choose another name or add --overwrite.")


def made_here(path: Path) -> bool:
    """Whether the file says of itself that `parley track` made it: a track, or a preview with our mark."""
    kind = path.suffix.lower()
    try:
        if kind == ".npz":
            face_track.load(path)
            return True
        if kind in SHEETS:
            with Image.open(path) as picture:
                return MARK in str(picture.info.get("Description", ""))
        with av.open(str(path)) as film:
            return MARK in film.metadata.get("comment", "")
    except (ArtefactError, OSError, ValueError, av.error.FFmpegError):
        return False


def _preview(options: TrackOptions, info: VideoInfo, found: FaceTrack, frames: Sequence[np.ndarray], model: FaceModel,
             folder: Path, terminal: Terminal) -> None:
    path = options.preview
    if path is None:
        return
    overlay = Overlay.of(found, model)
    with terminal.stage("Drawing the preview") as progress:
        if path.suffix.lower() in SHEETS:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _marked_png(contact_sheet(overlay, frames)))
            return
        seconds = len(found) / FPS
        sound = _sound(options.clip, seconds, folder) if info.has_sound else None
        drawn: Iterator[np.ndarray] = (overlay.draw(number, frame) for number, frame in enumerate(frames))
        write_film(drawn, sound, path, fps=FPS, size=(int(found.size[0]), int(found.size[1])), seconds=seconds,
                   comment=MARK, bt601=info.bt601, progress=progress)


def contact_sheet(overlay: Overlay, frames: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W, 3) uint8: the face with its mesh in evenly spaced frames, each with its time."""
    count = len(overlay.track)
    picks = np.unique(np.linspace(0, count - 1, min(TILES, count)).round().astype(int))
    across, rows = min(COLUMNS, len(picks)), math.ceil(len(picks) / COLUMNS)
    sheet = np.full((rows * (TILE + GAP) + GAP, across * (TILE + GAP) + GAP, 3), BACK, np.uint8)
    for place, pick in enumerate(picks):
        number = int(pick)
        tile = overlay.draw(number, frames[number], window=face_window(overlay.track, number), side=TILE)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, f"{number / float(overlay.track.fps):.2f} s", (8, TILE - 10), cv2.FONT_HERSHEY_SIMPLEX,
                        0.55, colour, thickness, cv2.LINE_AA)
        top, left = (GAP + cell * (TILE + GAP) for cell in divmod(place, COLUMNS))
        sheet[top:top + TILE, left:left + TILE] = tile
    return sheet


def _marked_png(picture: np.ndarray) -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Description", MARK)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", pnginfo=notes, compress_level=4)
    return stream.getvalue()


def _sound(clip: Path, seconds: float, folder: Path) -> Path:
    """The clip's sound up to `seconds`, as a WAV in `folder`: a film takes the whole of the file it is given."""
    sound, path = Sound(clip), folder / "sound.wav"
    left = round(seconds * sound.rate)
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1 if sound.layout == "mono" else 2)
        stream.setsampwidth(2)
        stream.setframerate(sound.rate)
        for block in sound:
            samples = block.to_ndarray()[:, :left]
            left -= samples.shape[1]
            stream.writeframes((np.clip(samples.T, -1, 1) * 32767).round().astype("<i2").tobytes())
            if left <= 0:
                break
    return path
