"""Plates: which source frame stands behind which output frame, and the head pose that goes with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import ArtefactError
from .npz import require

SCHEMA, VERSION = "parley.plates", 1


@dataclass(frozen=True)
class Plates:
    """T output frames.

    Attributes
    ----------
    source : (T,) int32, index of the source frame shown behind each output frame
    pose : (T, 6) float32, pose of the head in that plate (pitch, yaw, roll rad; x, y, z m)
    key_frames : (N,) int32, output frames at which plates were matched
    """

    source: np.ndarray
    pose: np.ndarray
    key_frames: np.ndarray

    def __len__(self) -> int:
        return len(self.source)


def load(path: Path | str) -> Plates:
    """Read and validate; raises `ArtefactError`."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        require(isinstance(data, dict) and data.get("schema") == SCHEMA and data.get("version") == VERSION, path,
                "it is no plates file of this version")
        plates = Plates(np.array(data["source"], np.int32), np.array(data["pose"], np.float32),
                        np.array(data["key_frames"], np.int32))
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path} can't be read as plates ({error}); make it again.") from error
    require(plates.source.ndim == 1 and len(plates.source) > 0, path, "source is not (T,)")
    require(plates.pose.shape == (len(plates.source), 6), path, "pose is not (T, 6)")
    require(bool((plates.source >= 0).all()), path, "a source frame has a negative number")
    return plates
