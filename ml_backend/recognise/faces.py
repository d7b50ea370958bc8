"""Aligned faces of real people: a few of every clip or photo in a folder, with who they are."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.data.video import extract_frames, probe
from ml_backend.errors import ParleyError, UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import mesh
from ml_backend.reconstruct.points import COUNT
from ml_backend.refine.encoder import SIDE, align, five_points, similarity

KEPT = 144
"""Side of the stored faces: a margin of 16 pixels around the encoder's picture, for shifts and turns in training."""
TRAIN, TEST = "train", "test"
PEOPLE = "people.csv"
MEDIA = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".png", ".jpg", ".jpeg", ".webp")
FRAMES = 24
LONGEST = 1280
EVERY = 5
"""Without a table every fifth person is kept for the test."""
_WINDOW = 2.2
"""Side of the picture shown to Face Mesh over the detector's box."""


@dataclass(frozen=True)
class Listed:
    """One line of the table: a file, who is in it (any name), and what it is for."""

    file: Path
    person: str
    split: str


@dataclass(frozen=True)
class Faces:
    """N aligned faces.

    Attributes
    ----------
    pictures : (N, 144, 144, 3) uint8 RGB
    points : (N, 478, 2) float32, MediaPipe's landmarks in them, pixels
    person, file, split : (N,) str
    """

    pictures: np.ndarray
    points: np.ndarray
    person: np.ndarray
    file: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)

    def of(self, split: str) -> Faces:
        """The faces of one split."""
        return self.pick(np.flatnonzero(self.split == split))

    def pick(self, rows: np.ndarray) -> Faces:
        """Some of the faces."""
        return Faces(*(getattr(self, name)[rows] for name in ("pictures", "points", "person", "file", "split")))


def listed(folder: Path, table: Path | None = None) -> list[Listed]:
    """What to learn from and to test on.

    Parameters
    ----------
    folder : clips and photos, searched to the bottom
    table : CSV with the columns file (relative to `folder`), person, split (train or test); by default
        ``people.csv`` in `folder`; where there is none, every file is a person of its own and every fifth is kept for
        the test

    Raises
    ------
    UserInputError
        If the folder is missing or holds nothing, or the table is wrong.
    """
    if not folder.is_dir():
        raise UserInputError(f"{folder} is no folder; give one with clips or photos of people.")
    table = table or (folder / PEOPLE if (folder / PEOPLE).is_file() else None)
    if table is not None:
        return _read_table(folder, table)
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in MEDIA]
    if not files:
        raise UserInputError(f"{folder} holds no clip or photo; give a folder with clips of people.")
    return [Listed(path, str(path.relative_to(folder)), TEST if number % EVERY == EVERY - 1 else TRAIN)
            for number, path in enumerate(files)]


def _read_table(folder: Path, table: Path) -> list[Listed]:
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"{table} can't be read ({error}); give a CSV with file, person, split.") from error
    if not rows or not {"file", "person", "split"} <= set(rows[0]):
        raise UserInputError(f"{table} needs the columns file, person and split; see `parley train identity --help`.")
    found = [Listed(folder / row["file"], row["person"], row["split"]) for row in rows]
    for line in found:
        if not line.file.is_file() or line.split not in (TRAIN, TEST):
            raise UserInputError(f"{table}: {line.file} is missing, or its split is neither {TRAIN} nor {TEST}.")
    both = {line.person for line in found if line.split == TRAIN} & {x.person for x in found if x.split == TEST}
    if both:
        raise UserInputError(f"{table} has {sorted(both)[0]} in both splits; nobody may be learned and tested.")
    return found


def gather(lines: Sequence[Listed], work: Path, *, progress: Progress = silent) -> tuple[Faces, list[str]]:
    """Faces of all files, and a sentence for each file that gave none; what an earlier run found is used again."""
    kept = work / "faces"
    kept.mkdir(parents=True, exist_ok=True)
    parts, notes = [], []
    for number, line in enumerate(lines):
        try:
            pictures, points = _file_faces(line.file, kept)
        except ParleyError as error:
            notes.append(str(error))
            continue
        finally:
            progress(number + 1, len(lines))
        if not len(pictures):
            notes.append(f"{line.file} shows no face; it is left out.")
            continue
        same = [np.full(len(pictures), text) for text in (line.person, line.file.name, line.split)]
        parts.append((pictures, points, *same))
    if not parts:
        raise UserInputError("No file shows a face; give clips or photos of people.")
    return Faces(*(np.concatenate(column) for column in zip(*parts, strict=True))), notes


def _file_faces(path: Path, kept: Path) -> tuple[np.ndarray, np.ndarray]:
    key = hashlib.blake2b(f"{path.absolute()} {path.stat().st_size} {FRAMES} {KEPT}".encode(), digest_size=12)
    cached = kept / f"{key.hexdigest()}.npz"
    if cached.is_file():
        with np.load(cached, allow_pickle=False) as stored:
            return stored["pictures"], stored["points"]
    seconds = max(probe(path).seconds, 0.5)
    scratch = kept / "frames"
    frames = extract_frames(path, scratch, fps=min(FRAMES / seconds, 12.0), most=FRAMES, longest=LONGEST)
    pictures, points = aligned_faces([frames[i] for i in range(len(frames))])
    shutil.rmtree(scratch, ignore_errors=True)
    np.savez(cached, pictures=pictures, points=points)
    return pictures, points


def aligned_faces(frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 144, 144, 3) and points (N, 478, 2) of the largest face of each frame that shows one."""
    pictures, points = [np.zeros((0, KEPT, KEPT, 3), np.uint8)], [np.zeros((0, COUNT, 2), np.float32)]
    for frame, found in zip(frames, _meshes(frames), strict=True):
        if found is None:
            continue
        five = five_points(found)
        matrix = similarity(five, five_points_goal())
        pictures.append(align(frame, five, side=KEPT)[None])
        points.append((found[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)[None])
    return np.concatenate(pictures), np.concatenate(points)


def five_points_goal() -> np.ndarray:
    """(5, 2) where the five points of a stored face lie."""
    from ml_backend.refine.encoder import TEMPLATE

    return TEMPLATE + (KEPT - SIDE) / 2


def _meshes(frames: Sequence[np.ndarray]) -> Iterable[np.ndarray | None]:
    boxes = mesh.find_boxes(frames)
    with mesh.face_mesh(static=True, faces=1) as network:
        for frame, found in zip(frames, boxes, strict=True):
            yield _mesh(network, frame, max(found, key=lambda box: float(box[2]))) if found else None


def _mesh(network: mesh.Network, frame: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    side = _WINDOW * float(box[2])
    image, scale, corner = mesh.view(frame, np.array([box[0] - side / 2, box[1] - side / 2, side]))
    faces = mesh.run(network, image)
    return faces[0][:, :2] * scale + corner if faces else None
