"""Character: one person as a rig needs them: neutral shape, albedo, light, camera and personal statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_fields

SCHEMA, VERSION = "parley.character", 1


@dataclass(frozen=True)
class Character:
    """V vertices of the face model named `face_model`.

    Attributes
    ----------
    face_model : () str, name of the FaceModel
    neutral_shape : (V, 3) float32, metres, model space, at zero expression
    identity : (I,) float32
    low_albedo : (V, 3) float32 in [0, 1], display-encoded RGB, from the texture basis
    detailed_albedo : () str, file name beside this file of the UV texture (PNG, RGB), "" where there is none
    light : (9, 3) float32
    size : (2,) int32, frame width and height, pixels
    focal : () float64, pixels
    crop : (3,) float32, x, y, side, pixels
    pose_mean : (6,) float32 and pose_std : (6,) float32, radians and metres
    blink_rate : () float32, blinks per second
    blink_duration : () float32, seconds
    hair : () str, hairstyle of a head that stands in for nobody, "" = none; files may lack it
    living_modes : (M, S, S, 3) uint8, what is added to the UV texture: scale · weight · (value − 128) / 255 each. Where
        M > 0 the texture paints eyes and mouth too, shade included. Files may lack this and what follows
    living_scale : (M,) float32
    living_names : (P,) str, expressions and "pitch", "yaw", "roll" (radians) that set the modes' weights
    living_gains : (M, P) float32 and living_offset : (M,) float32, weight = offset + gains · values …
    living_limits : (M, 2) float32, … within these
    """

    face_model: np.ndarray
    neutral_shape: np.ndarray
    identity: np.ndarray
    low_albedo: np.ndarray
    detailed_albedo: np.ndarray
    light: np.ndarray
    size: np.ndarray
    focal: np.ndarray
    crop: np.ndarray
    pose_mean: np.ndarray
    pose_std: np.ndarray
    blink_rate: np.ndarray
    blink_duration: np.ndarray
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

    def living_weights(self, names: Sequence[str], expression: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """(M,) weights of the texture's modes.

        Parameters
        ----------
        names : of the expressions
        expression : (K,) their weights
        rotation : (3,) of the head, rad
        """
        known = dict(zip([*names, "pitch", "yaw", "roll"], [*expression.tolist(), *rotation.tolist()], strict=True))
        values = np.array([known.get(str(name), 0.0) for name in self.living_names])
        return np.clip(self.living_gains @ values + self.living_offset, self.living_limits[:, 0],
                       self.living_limits[:, 1])


def save(character: Character, path: Path) -> None:
    """Validate and write."""
    validate(character, path)
    save_fields(character, path, SCHEMA, VERSION)


def load(path: Path) -> Character:
    """Read and validate; raises `ArtefactError`."""
    character = load_fields(Character, path, SCHEMA, VERSION)
    validate(character, path)
    return character


def validate(character: Character, path: Path | str = "character") -> None:
    """Raise `ArtefactError` unless shapes hold."""
    shape = character.neutral_shape.shape
    require(len(shape) == 2 and shape[1] == 3, path, "neutral_shape is not (V, 3)")
    require(character.low_albedo.shape == shape, path, "low_albedo and neutral_shape differ in shape")
    require(character.light.shape == (9, 3), path, "light is not (9, 3)")
    require(bool(np.isfinite(character.neutral_shape).all()), path, "neutral_shape holds values that are no numbers")
    require(float(character.focal) > 0, path, "focal is not positive")
    modes, features = len(character.living_modes), len(character.living_names)
    for name, wanted in (("living_scale", (modes,)), ("living_gains", (modes, features)), ("living_offset", (modes,)),
                         ("living_limits", (modes, 2))):
        require(getattr(character, name).shape == wanted, path, f"{name} doesn't fit living_modes")
