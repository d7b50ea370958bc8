"""The built-in head as a character: mean face, studio light, portrait camera."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts.character import Character
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import neutral

PORTRAIT_FOCAL = 2.4
"""Focal length in frame sides: an 86 mm lens on a full-frame sensor, the usual portrait lens."""

DISTANCE = 0.95
"""Metres from the camera to the head."""

HAIR = "short"
"""Hairstyle of the built-in head."""

LIGHTS = (
    ((-0.55, -0.55, -0.65), (0.98, 0.97, 0.95), 0.80),
    ((0.80, -0.10, -0.55), (0.80, 0.88, 1.00), 0.30),
    ((0.30, -0.60, 0.75), (1.00, 1.00, 1.00), 0.25),
)
"""Key, fill and rim: direction from the head in camera axes, colour, strength."""

AMBIENT = (0.39, 0.39, 0.39)
"""RGB from all sides."""


def studio_light() -> np.ndarray:
    """(9, 3) float32 spherical-harmonics coefficients of `LIGHTS` and `AMBIENT`; irradiance near 1 on the lit side."""
    light = np.zeros((9, 3))
    for direction, colour, strength in LIGHTS:
        x, y, z = np.array(direction) / np.linalg.norm(direction)
        basis = np.array(
            [
                0.282095,
                0.488603 * y,
                0.488603 * z,
                0.488603 * x,
                1.092548 * x * y,
                1.092548 * y * z,
                0.315392 * (3 * z * z - 1),
                1.092548 * x * z,
                0.546274 * (x * x - y * y),
            ]
        )
        light += strength * basis[:, None] * np.array(colour)
    light[0] += np.array(AMBIENT) / (np.pi * 0.282095)
    return light.astype(np.float32)


def builtin_character(
    model: FaceModel,
    size: int,
    path: Path,
    *,
    identity: np.ndarray | None = None,
    albedo: np.ndarray | None = None,
    hair: str = HAIR,
) -> Character:
    """Make and save the built-in head's character for a square frame of `size` pixels.

    Parameters
    ----------
    identity : (I,) coefficients; None = the mean face
    albedo : (V, 3) in [0, 1]; None = the mean texture
    hair : one of the model's hairstyles; "" = none. Models without hair ignore it
    """
    if identity is None:
        identity = np.zeros(len(model.identity_basis), np.float32)
    colours = model.texture_mean if albedo is None else albedo
    pose = np.zeros(6, np.float32)
    pose[3:] = portrait_position(model)
    result = Character(
        face_model=model.name,
        neutral_shape=neutral(model, identity),
        identity=identity,
        low_albedo=colours.astype(np.float32),
        detailed_albedo=np.array(""),
        light=studio_light(),
        size=np.array([size, size], np.int32),
        focal=np.array(PORTRAIT_FOCAL * size),
        crop=np.array([0, 0, size], np.float32),
        pose_mean=pose,
        pose_std=np.zeros(6, np.float32),
        blink_rate=np.array(0.28, np.float32),
        blink_duration=np.array(0.2, np.float32),
        hair=np.array(hair),
    )
    character_file.save(result, path)
    return result


def given_character(model: FaceModel, given: Path, path: Path) -> Character:
    """Check the character at `given` against `model` and copy it, with its texture, to `path`.

    Raises
    ------
    UserInputError
        If it was made with another face model or its texture is missing.
    """
    result = character_file.load(given)
    if result.neutral_shape.shape != model.mean_shape.shape or str(result.face_model) != str(model.name):
        raise UserInputError(
            f"{given} was made with the face model {result.face_model}, not with {model.name}; "
            "name its model with --face-model."
        )
    if texture := str(result.detailed_albedo):
        source = given.parent / Path(texture).name
        if not source.is_file():
            raise UserInputError(f"{source} is missing; put the character's texture beside its file.")
        shutil.copyfile(source, path.parent / source.name)
    character_file.save(result, path)
    return result


def portrait_position(model: FaceModel) -> np.ndarray:
    """(3,) metres: where the model's origin stands so that the head fills the frame with a little room above."""
    skin = model.mean_shape[model.part("skin")]
    eyes = (model.joint("eye_left") + model.joint("eye_right")) / 2
    top, chin = skin[:, 1].min(), float(np.quantile(skin[model.region("face")[model.part("skin")] > 0.5][:, 1], 0.99))
    centre_y = (top + chin) / 2 + 0.1 * (chin - top)
    return np.array([-eyes[0], -centre_y, DISTANCE], np.float32)
