"""The head's motion, and the eyes', onto a bone, an empty or any object of somebody's own character."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core.errors import UserInputError
from . import compat, keyframes, layers

PART = "Parley Pose"
Motion = tuple[np.ndarray, np.ndarray | None]
"""Rotations (T, 3, 3) and, unless None, shifts (T, 3) in the character's space."""


def check(item: Any, bone: str) -> None:
    """Raise `UserInputError` unless `item`, or its bone called `bone`, can be turned by keys."""
    if item.library is not None and item.override_library is None:
        raise UserInputError(f"{item.name} is linked from {item.library.filepath} and can't be keyed; make a library "
                             "override of it first.")
    if item.type == "ARMATURE" and not bone:
        raise UserInputError(f"{item.name} is an armature; choose the bone that carries the head.")
    if bone and (item.type != "ARMATURE" or bone not in item.pose.bones):
        raise UserInputError(f"{item.name} has no bone {bone}; choose one of its bones.")
    mode = item.pose.bones[bone].rotation_mode if bone else item.rotation_mode
    if mode == "AXIS_ANGLE":
        raise UserInputError(f"{bone or item.name} rotates by axis and angle; set its rotation mode to Quaternion "
                             "or XYZ first.")


def write(item: Any, motions: dict[str, Motion], frames: np.ndarray, take: str) -> layers.Written:
    """Key `item` in an action of Parley's own.

    Parameters
    ----------
    motions : bone → motion; the bone "" is the object itself, which is keyed by its delta transform, so that where
        the artist put it, and how they move it, stays
    frames, take : as for `targets.write`
    """
    for bone in motions:
        check(item, bone)
    written = layers.Written(frames)
    action, bag = compat.new_action(item, PART)
    try:
        for bone, (turns, shifts) in motions.items():
            if bone:
                _bone(item.pose.bones[bone], bag, turns, shifts, frames)
            else:
                _channels(item, bag, "delta_", "", turns, shifts, frames)
    except BaseException:
        bpy.data.actions.remove(action)
        raise
    layers.lay(item, PART, action, take, written)
    data = item.animation_data
    if data.action is not None and compat.fcurves(item):
        written.notes.append(f"The channels that your action {data.action.name} keys stay as you keyed them.")
    if "" in motions and np.ptp(np.abs(np.array(item.scale))) > 1e-3 * np.abs(np.array(item.scale)).max():
        written.notes.append(f"{item.name} is scaled unevenly and may shear as it turns; apply its scale.")
    return written


def _bone(bone: Any, bag: Any, turns: np.ndarray, shifts: np.ndarray | None, frames: np.ndarray) -> None:
    """In the space of the bone at rest, whatever its roll."""
    rest = np.array(bone.bone.matrix_local)[:3, :3]
    local = rest.T @ turns @ rest
    moved = None if shifts is None else shifts @ rest
    prefix = f'pose.bones["{bpy.utils.escape_identifier(bone.name)}"].'
    _channels(bone, bag, "", prefix, local, moved, frames)


def _channels(owner: Any, bag: Any, delta: str, prefix: str, turns: np.ndarray, shifts: np.ndarray | None,
              frames: np.ndarray) -> None:
    """Curves of rotation, in the owner's own mode, and of location."""
    name, values = _rotation(owner.rotation_mode, turns)
    group = getattr(owner, "name", "Pose")
    for index in range(values.shape[1]):
        curve = compat.curve_in(bag, f"{prefix}{delta}{name}", index, group)
        keyframes.fill_curve(curve, frames, values[:, index])
    if shifts is not None:
        for index in range(3):
            curve = compat.curve_in(bag, f"{prefix}{delta}location", index, group)
            keyframes.fill_curve(curve, frames, shifts[:, index])


def _rotation(mode: str, turns: np.ndarray) -> tuple[str, np.ndarray]:
    """The channel's name and its values, without jumps: quaternions of one sign, angles that go on from the last."""
    matrices = [Matrix(turn.tolist()) for turn in turns]
    if mode == "QUATERNION":
        values = np.array([tuple(matrix.to_quaternion()) for matrix in matrices])
        sign = np.cumprod(np.where((values[1:] * values[:-1]).sum(1) < 0, -1, 1)) if len(values) > 1 else np.ones(0)
        values[1:] *= sign[:, None]
        return "rotation_quaternion", values
    angles = [matrices[0].to_euler(mode)]
    for matrix in matrices[1:]:
        angles.append(matrix.to_euler(mode, angles[-1]))
    return "rotation_euler", np.array([tuple(angle) for angle in angles])
