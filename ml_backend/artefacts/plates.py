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
    pose : (T, 6) float32, pose of the head as it is shown over that plate (pitch, yaw, roll rad; x, y, z m)
    key_frames : (N,) int32, output frames at which plates were matched; the rest is interpolated
    position : (T,) float32, the moment of the clip shown, in source frames; between two it is interpolated. None where
        it is `source`
    plate_pose : (T, 6) float32, pose of the head in the unchanged plate; None where it is `pose`
    """

    source: np.ndarray
    pose: np.ndarray
    key_frames: np.ndarray
    position: np.ndarray | None = None
    plate_pose: np.ndarray | None = None

    @property
    def moments(self) -> np.ndarray:
        """(T,) float32, `position` wherever it comes from."""
        return self.source.astype(np.float32) if self.position is None else self.position

    @property
    def own_pose(self) -> np.ndarray:
        """(T, 6) float32, `plate_pose` wherever it comes from."""
        return self.pose if self.plate_pose is None else self.plate_pose


def save(plates: Plates, path: Path) -> None:
    """Write as JSON."""
    fields: dict[str, object] = {
        "schema": SCHEMA,
        "version": VERSION,
        "source": plates.source.tolist(),
        "pose": plates.pose.astype(float).round(7).tolist(),
        "key_frames": plates.key_frames.tolist(),
    }
    # Readers of version 1 that know nothing of these go by `source` and `pose` alone.
    if plates.position is not None:
        fields["position"] = plates.position.astype(float).round(4).tolist()
    if plates.plate_pose is not None:
        fields["plate_pose"] = plates.plate_pose.astype(float).round(7).tolist()
    part = Path(f"{path}.part")
    part.write_text(json.dumps(fields))
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
            np.array(data["position"], np.float32) if "position" in data else None,
            np.array(data["plate_pose"], np.float32) if "plate_pose" in data else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); make it again.") from error
    _validate(plates, path)
    return plates


def _validate(plates: Plates, path: Path) -> None:
    frames = len(plates.source)
    require(plates.source.ndim == 1 and bool((plates.source >= 0).all()), path, "source is no list of frame numbers")
    require(plates.pose.shape == (frames, 6), path, "pose is not (T, 6)")
    require(plates.own_pose.shape == (frames, 6), path, "plate_pose is not (T, 6)")
    near = plates.moments.shape == (frames,) and bool((np.abs(plates.moments - plates.source) <= 0.51).all())
    require(near, path, "position is not beside source")
    require(bool(np.isfinite(plates.pose).all() and np.isfinite(plates.own_pose).all()), path, "a pose is no number")
