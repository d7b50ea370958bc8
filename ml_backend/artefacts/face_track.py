"""FaceTrack: what was measured in a clip, frame by frame, at the clip's own times."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_fields

SCHEMA, VERSION = "parley.face_track", 1


@dataclass(frozen=True)
class FaceTrack:
    """T frames at `fps` (25 after loading), pixel units in the upright, full frame. K expressions.

    Attributes
    ----------
    fps : () float64, frames a second
    size : (2,) int32, width and height of the frame, pixels
    focal : () float64, pixels; the principal point is the frame's centre
    landmarks : (T, 478, 3) float32, MediaPipe's points in pixels (z relative, same scale as x); those that were not
        `measured` lie where the fitted face has them
    confidence : (T,) float32 in [0, 1]; 0 = no face found, values there are interpolated
    expression : (T, K) float32 in [0, 1]
    expression_names : (K,) str
    rotation : (T, 3) float32, pitch, yaw, roll, radians, R = Rz(roll) Ry(yaw) Rx(pitch)
    translation : (T, 3) float32, metres in camera space: X_camera = R X_model + t
    identity : (I,) float32, coefficients of the face model's identity basis
    shape_offset : (V, 3) float32, metres, what the identity basis could not express (zeros where none)
    texture : (J,) float32
    light : (9, 3) float32, spherical-harmonics coefficients per RGB, camera space (see face_model.synthesis)
    crop : (3,) float32, x, y, side of the square face crop, pixels, the same for all frames
    measured : (478,) bool, which landmarks were seen; without the irises (468–477) the gaze is unknown and rests
    source : () str, the networks that measured the landmarks
    """

    fps: np.ndarray
    size: np.ndarray
    focal: np.ndarray
    landmarks: np.ndarray
    confidence: np.ndarray
    expression: np.ndarray
    expression_names: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    identity: np.ndarray
    shape_offset: np.ndarray
    texture: np.ndarray
    light: np.ndarray
    crop: np.ndarray
    measured: np.ndarray = field(default_factory=lambda: np.ones(478, bool))
    source: np.ndarray = field(default_factory=lambda: np.array("mediapipe"))

    def pose(self) -> np.ndarray:
        """(T, 6) rotation then translation."""
        return np.concatenate([self.rotation, self.translation], 1)

    def __len__(self) -> int:
        return len(self.expression)


def save(track: FaceTrack, path: Path) -> None:
    """Validate and write."""
    validate(track, path)
    save_fields(track, path, SCHEMA, VERSION)


def load(path: Path) -> FaceTrack:
    """Read and validate; raises `ArtefactError`."""
    track = load_fields(FaceTrack, path, SCHEMA, VERSION)
    validate(track, path)
    return track


def validate(track: FaceTrack, path: Path | str = "track") -> None:
    """Raise `ArtefactError` unless lengths agree and every value is a number."""
    frames = len(track.expression)
    require(frames > 0, path, "the track has no frame")
    require(track.expression.shape == (frames, len(track.expression_names)), path, "expression is not (T, K)")
    for name in ("rotation", "translation"):
        require(getattr(track, name).shape == (frames, 3), path, f"{name} is not (T, 3)")
        require(bool(np.isfinite(getattr(track, name)).all()), path, f"{name} holds values that are no numbers")
    require(track.landmarks.shape == (frames, 478, 3), path, "landmarks is not (T, 478, 3)")
    require(track.confidence.shape == (frames,), path, "confidence is not (T,)")
    require(track.measured.shape == (478,) and track.measured.dtype == bool, path, "measured is not (478,) bool")
    require(track.light.shape == (9, 3), path, "light is not (9, 3)")
    require(track.crop.shape == (3,) and float(track.crop[2]) > 0, path, "crop is not x, y, side")
