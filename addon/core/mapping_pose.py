"""The head's motion, and the eyes', as rotations for whatever bone, empty or object of a rig should follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import UserInputError
from .pose import rotation_matrix

AXES: dict[str, tuple[float, float, float]] = {
    "X": (1, 0, 0), "Y": (0, 1, 0), "Z": (0, 0, 1), "-X": (-1, 0, 0), "-Y": (0, -1, 0), "-Z": (0, 0, -1),
}
_TO_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""OpenCV's axes to Blender's, as in `bl.space`: a face looks along −Y, Z is up."""
EYE_YAW, EYE_PITCH = np.radians(32.0), np.radians(25.0)
"""How far an eye turns at an eyeLook weight of 1."""


@dataclass(frozen=True)
class PoseSettings:
    """How the head's motion is taken over.

    Attributes
    ----------
    amount : (3,) factor of pitch, yaw and roll
    limit : (3,) radians; no angle goes further, either way
    shift : factor of the head's own movement in space, metres; 0 = it only turns
    centred : whether the performance's mean pose is the rig's rest pose
    forward, up : axes of `AXES` along which the character looks and stands
    """

    amount: tuple[float, float, float] = (1.0, 1.0, 1.0)
    limit: tuple[float, float, float] = (np.pi, np.pi, np.pi)
    shift: float = 0.0
    centred: bool = True
    forward: str = "-Y"
    up: str = "Z"


def character_axes(forward: str, up: str) -> np.ndarray:
    """(3, 3) rotation that takes Blender's usual character (looks along −Y, Z up) to this one; raises if parallel."""
    front, top = np.array(AXES[forward], float), np.array(AXES[up], float)
    if abs(front @ top) > 0.5:
        raise UserInputError(f"Forward {forward} and up {up} lie on one line; choose two different axes.")
    usual = np.column_stack([np.cross((0, -1, 0), (0, 0, 1)), (0, -1, 0), (0, 0, 1)])
    return np.column_stack([np.cross(front, top), front, top]) @ usual.T


def head_motion(pose: np.ndarray, settings: PoseSettings) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, 3, 3) and shifts (T, 3) in metres, in the character's space, of `pose` (T, 6), rad and m.

    Angles are unwrapped, made relative to their median if `centred`, multiplied by the amounts and limited.
    """
    pose = pose.astype(np.float64)
    angles, place = np.unwrap(pose[:, :3], axis=0), pose[:, 3:] - pose[:, 3:].mean(0)
    if settings.centred:
        angles = angles - np.median(angles, axis=0)
    limit = np.abs(np.array(settings.limit))
    angles = np.clip(angles * np.array(settings.amount), -limit, limit)
    axes = character_axes(settings.forward, settings.up) @ _TO_WORLD
    return axes @ rotation_matrix(angles) @ axes.T, settings.shift * place @ axes.T


def eye_motion(weights: np.ndarray, names: list[str], side: str, settings: PoseSettings,
               amount: float = 1.0) -> np.ndarray:
    """(T, 3, 3) rotations in the character's space of one eye, from its four eyeLook weights.

    `side` is "Left" or "Right", the person's; `weights` (T, C) of the shapes `names` (C), 0 where one is missing.
    """
    look = {way: weights[:, names.index(name)].astype(np.float64) if name in names else np.zeros(len(weights))
            for way in ("In", "Out", "Up", "Down") for name in (f"eyeLook{way}{side}",)}
    # Towards the person's left, and upwards.
    yaw = amount * EYE_YAW * (look["Out"] - look["In"]) * (1 if side == "Left" else -1)
    pitch = amount * EYE_PITCH * (look["Up"] - look["Down"])
    # In camera space a positive pitch looks down and a positive yaw to the person's right.
    axes = character_axes(settings.forward, settings.up) @ _TO_WORLD
    return axes @ rotation_matrix(np.stack([-pitch, -yaw, np.zeros_like(yaw)], 1)) @ axes.T
