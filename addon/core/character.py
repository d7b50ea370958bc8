"""Character: one person as a rig needs them; the same file that the backend writes."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

import numpy as np

from .errors import ArtefactError
from .face_model import FaceModel
from .npz import load_npz, require

SCHEMA, VERSION = "parley.character", 1


@dataclass(frozen=True)
class Character:
    """V vertices of the face model named `face_model`. Personal statistics that only the backend uses are not read.

    Attributes
    ----------
    face_model : () str, name of the FaceModel
    neutral_shape : (V, 3) float32, metres, model space, at zero expression
    low_albedo : (V, 3) float32 in [0, 1], display-encoded RGB
    detailed_albedo : () str, file name beside this file of the UV texture (PNG, RGB), "" where there is none
    light : (9, 3) float32, spherical-harmonics coefficients per RGB, camera space
    size : (2,) int32, frame width and height, pixels
    focal : () float64, pixels; the principal point is the frame's centre
    crop : (3,) float32, x, y, side of the square face crop, pixels
    pose_mean : (6,) float32, pitch, yaw, roll (rad), x, y, z (m)
    hair : () str, hairstyle of a head that stands in for nobody, "" = none; optional
    living_modes : (M, S, S, 3) uint8, what is added to the UV texture: scale · weight · (value − 128) / 255 each. Where
        M > 0 the texture paints eyes and mouth too, shade included. This and what follows is optional
    living_scale : (M,) float32
    living_names : (P,) str, expressions and "pitch", "yaw", "roll" (radians) that set the modes' weights
    living_gains : (M, P) float32 and living_offset : (M,) float32, weight = offset + gains · values …
    living_limits : (M, 2) float32, … within these
    """

    face_model: np.ndarray
    neutral_shape: np.ndarray
    low_albedo: np.ndarray
    detailed_albedo: np.ndarray
    light: np.ndarray
    size: np.ndarray
    focal: np.ndarray
    crop: np.ndarray
    pose_mean: np.ndarray
    hair: np.ndarray = field(default_factory=lambda: np.array(""))
    living_modes: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))
    living_scale: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    living_names: np.ndarray = field(default_factory=lambda: np.zeros(0, "U1"))
    living_gains: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    living_offset: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    living_limits: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    @property
    def lives(self) -> bool:
        """Whether the texture changes with the expressions."""
        return len(self.living_modes) > 0

    def texture(self, folder: Path | str) -> Path | None:
        """Path of the detailed albedo for a character read from `folder`; None where there is none.

        Raises
        ------
        ArtefactError
            If the character names a texture that is not there.
        """
        name = str(self.detailed_albedo)
        if not name:
            return None
        path = Path(folder) / Path(name).name
        if not path.is_file():
            raise ArtefactError(f"{path} is missing; put the character's texture beside its file.")
        return path


def load(path: Path | str) -> Character:
    """Read and validate; raises `ArtefactError`."""
    needed = tuple(item.name for item in fields(Character) if item.default_factory is MISSING)
    optional = tuple(item.name for item in fields(Character) if item.name not in needed)
    character = Character(**load_npz(path, SCHEMA, VERSION, needed, optional))
    shape = character.neutral_shape.shape
    require(len(shape) == 2 and shape[1] == 3, path, "neutral_shape is not (V, 3)")
    require(character.low_albedo.shape == shape, path, "low_albedo and neutral_shape differ in shape")
    require(character.light.shape == (9, 3), path, "light is not (9, 3)")
    require(character.pose_mean.shape == (6,), path, "pose_mean is not (6,)")
    require(character.crop.shape == (3,), path, "crop is not x, y, side")
    require(bool(np.isfinite(character.neutral_shape).all()), path, "neutral_shape holds values that are no numbers")
    require(float(character.focal) > 0, path, "focal is not positive")
    require(bool((character.size > 0).all()), path, "size is not positive")
    require(character.living_modes.ndim == 4 and character.living_modes.shape[1:2] == character.living_modes.shape[2:3],
            path, "living_modes are no square pictures")
    modes, features = len(character.living_modes), len(character.living_names)
    for name, wanted in (("living_scale", (modes,)), ("living_gains", (modes, features)), ("living_offset", (modes,)),
                         ("living_limits", (modes, 2))):
        require(getattr(character, name).shape == wanted, path, f"{name} doesn't fit living_modes")
    return character


def average(model: FaceModel) -> Character:
    """The mean face of `model` as a character: lit from above, the left and the front, seen by a portrait lens."""
    light = np.zeros((9, 3), np.float32)
    # In the order 1, y, z, x: y points down and z away from the camera, so these come from above, the front, the left.
    light[0], light[1], light[2], light[3] = (0.88, 0.86, 0.84), -0.13, -0.16, -0.08
    return Character(
        face_model=model.name, neutral_shape=model.mean_shape, low_albedo=model.texture_mean.clip(0, 1),
        detailed_albedo=np.array(""), light=light, size=np.array([1024, 1024], np.int32), focal=np.array(2400.0),
        crop=np.array([212, 212, 600], np.float32), pose_mean=np.array([0, 0, 0, 0, 0, 1.0], np.float32),
        hair=np.array("short"))


def match(character: Character, model: FaceModel, path: Path | str = "character") -> None:
    """Raise `ArtefactError` unless `character` was made with `model`."""
    require(len(character.neutral_shape) == len(model.mean_shape), path,
            f"it was made with another face model ({character.face_model}) than {model.name}")
