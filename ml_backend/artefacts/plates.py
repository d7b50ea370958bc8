"""Plates: which source frame stands behind which output frame, and the head pose that goes with it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import require
from ml_backend.errors import ArtefactError

SCHEMA, VERSION = "parley.plates", 1


@dataclass(frozen=True)
class Plates:
    """T output frames at 25 fps.

    Attributes
    ----------
    source : (T,) int32, index of the source frame shown behind each output frame
    pose : (T, 6) float32, pose of the head in that plate (pitch, yaw, roll rad; x, y, z m)
    key_frames : (N,) int32, output frames at which plates were matched; the rest is interpolated
    """

    source: np.ndarray
    pose: np.ndarray
    key_frames: np.ndarray


def save(plates: Plates, path: Path) -> None:
    """Write as JSON."""
    text = json.dumps(
        {
            "schema": SCHEMA,
            "version": VERSION,
            "source": plates.source.tolist(),
            "pose": plates.pose.astype(float).round(7).tolist(),
            "key_frames": plates.key_frames.tolist(),
        }
    )
    part = Path(f"{path}.part")
    part.write_text(text)
    os.replace(part, path)


def load(path: Path) -> Plates:
    """Read and validate; raises `ArtefactError`."""
    try:
        data = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} can't be read as plates ({error}); make it again.") from error
    ours = isinstance(data, dict) and data.get("schema") == SCHEMA and data.get("version") == VERSION
    require(ours, path, "it is no plates file of this version")
    try:
        plates = Plates(
            np.array(data["source"], np.int32),
            np.array(data["pose"], np.float32),
            np.array(data["key_frames"], np.int32),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); make it again.") from error
    require(plates.pose.shape == (len(plates.source), 6), path, "pose is not (T, 6)")
    return plates
