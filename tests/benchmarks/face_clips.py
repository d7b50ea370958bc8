"""Clips of people whom nothing was learned from: frames and landmarks of the split "validate", kept in a cache."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder
from ml_backend.data.video import extract_frames
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.reconstruct.landmarks import LandmarkTrack, detect

SECONDS = 12.0
LONGEST = 1280
"""How much of each clip is used, and the most pixels along its longer side."""
SPLIT = "validate"
SCHEMA, VERSION = "parley.benchmark_landmarks", 1


@dataclass(frozen=True)
class Clip:
    """A clip of the split: its name, file, and the folder for what is derived from it."""

    name: str
    path: Path
    cache: Path

    def frames(self) -> FrameFolder:
        """Its first `SECONDS` at 25 a second, extracted once."""
        return extract_frames(self.path, self.cache / "frames", seconds=SECONDS, fps=float(FPS), longest=LONGEST)

    def landmarks(self) -> LandmarkTrack:
        """Landmarks of its frames, tracked once."""
        kept = self.cache / "landmarks.npz"
        key = _key(self.path)
        try:
            arrays = load_npz(kept, SCHEMA, VERSION)
            if str(arrays["key"]) == key:
                return LandmarkTrack(arrays["landmarks"], arrays["confidence"], arrays["cuts"])
        except (ArtefactError, KeyError):
            pass  # not tracked yet, or by another version: tracked now
        found = detect(self.frames(), source=str(self.path))
        save_npz(kept, SCHEMA, VERSION, {"landmarks": found.landmarks, "confidence": found.confidence,
                                         "cuts": found.cuts, "key": np.array(key)})
        return found


def validation_clips(data: Path, cache: Path) -> list[Clip]:
    """The clips of the split in `data`/clips/index.csv; raises `UserInputError` if they are not there."""
    index = data / "clips" / "index.csv"
    if not index.is_file():
        raise UserInputError(f"{index} is missing; name the folder with the clips by --data.")
    with open(index, newline="", encoding="utf-8") as stream:
        files = [data / row["file"] for row in csv.DictReader(stream) if row.get("split") == SPLIT]
    for file in files:
        if not file.is_file():
            raise UserInputError(f"{file} is missing, though {index} names it; complete the data folder.")
    if not files:
        raise UserInputError(f"{index} names no clip of the split {SPLIT}; use the whole data folder.")
    return [Clip(file.stem, file, cache / file.stem) for file in files]


def _key(path: Path) -> str:
    facts = path.stat()
    return hashlib.sha256(f"{path.name} {facts.st_size} {facts.st_mtime_ns} {SECONDS} {LONGEST}".encode()).hexdigest()
