"""A Performance on the timeline: one F-curve per expression and per pose channel, each written in one call."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy
import numpy as np

from ..core.performance import Performance, resample
from ..core.timing import FrameClock
from . import compat, space
from .rig import Head

FACE_ACTION, HEAD_ACTION = "Parley Face", "Parley Head"


def write(head: Head, performance: Performance, clock: FrameClock) -> np.ndarray:
    """Key `head` with `performance` at every whole frame of `clock`; returns the frames (N,) int64.

    Expressions that the head has no shape key for are left out. What an earlier call wrote is replaced.
    """
    frames = clock.frames_until(float(performance.times[-1]))
    times = np.clip(clock.seconds(frames.astype(np.float64)), performance.times[0], performance.times[-1])
    write_samples(head, resample(performance, times), frames)
    return frames


def write_samples(head: Head, performance: Performance, frames: np.ndarray) -> None:
    """Key `head` with the samples of `performance` as they are, the i-th at scene frame `frames`[i]."""
    keys = head.keys
    compat.assign_action(keys, FACE_ACTION)
    blocks = keys.key_blocks
    for column, name in enumerate(performance.names):
        if name in blocks:
            path = f'key_blocks["{bpy.utils.escape_identifier(name)}"].value'
            write_curve(keys, path, 0, "Expressions", frames, performance.expression[:, column])
    compat.assign_action(head.empty, HEAD_ACTION)
    euler, location = space.pose_to_channels(performance.pose, head.origin)
    for axis in range(3):
        write_curve(head.empty, "location", axis, "Pose", frames, location[:, axis])
        write_curve(head.empty, "rotation_euler", axis, "Pose", frames, euler[:, axis])


def write_curve(owner: bpy.types.ID, path: str, index: int, group: str, frames: np.ndarray, values: np.ndarray) -> None:
    """One F-curve of `owner` with linear keys at `frames` (N,) of `values` (N,), in bulk."""
    fill_curve(compat.new_fcurve(owner, path, index, group), frames, values)


def fill_curve(curve: bpy.types.FCurve, frames: np.ndarray, values: np.ndarray) -> None:
    """Linear keys at `frames` (N,) of `values` (N,) on an empty `curve`, in bulk."""
    points = curve.keyframe_points
    points.add(len(frames))
    points.foreach_set("co", np.column_stack([frames, values]).astype(np.float32).ravel())
    points.foreach_set("interpolation", np.full(len(frames), _LINEAR, np.int32))
    curve.update()


_LINEAR = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value
