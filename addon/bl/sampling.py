"""What a character does in the scene, frame by frame, as it is seen: strips, the artist's keys, drivers, amounts."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core.channels import ARKIT
from ..core.errors import UserInputError
from ..core.mapping_names import exact
from ..core.performance import Performance
from . import rig, space, strips

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Samples:
    """N frames of several objects.

    Attributes
    ----------
    frames : (N,) int64 scene frames
    weights : object → (N, K) float32, the values of its shape keys without the basis
    matrices : object → (N, 4, 4) float64, its place in the world
    """

    frames: np.ndarray
    weights: dict[Any, np.ndarray]
    matrices: dict[Any, np.ndarray]


def blocks(item: Any) -> list[Any]:
    """The shape keys of the object `item` without the basis; none where it has none."""
    keys = item.data.shape_keys if item.type == "MESH" else None
    return [block for block in keys.key_blocks if block != keys.reference_key] if keys is not None else []


def span(scene: bpy.types.Scene, items: list[Any]) -> tuple[int, int]:
    """First and last frame of what Parley keyed on `items`, of the scene where that is nothing."""
    owners = [*items, *(item.data.shape_keys for item in items if blocks(item))]
    found = [strip for owner in owners for strip in strips.parleys(owner)]
    if not found:
        return scene.frame_start, scene.frame_end
    return int(min(strip.frame_start for strip in found)), int(max(strip.frame_end for strip in found))


def take(scene: bpy.types.Scene, items: list[Any], first: int, last: int, progress: Progress) -> Samples:
    """Play frames `first` to `last` and note what `items` do; the scene's frame is as before then."""
    frames = np.arange(first, last + 1)
    weights = {item: np.zeros((len(frames), len(blocks(item))), np.float32) for item in items}
    matrices = {item: np.zeros((len(frames), 4, 4)) for item in items}
    before = scene.frame_current_final
    try:
        for row, frame in enumerate(frames.tolist()):
            scene.frame_set(frame)
            depsgraph = bpy.context.evaluated_depsgraph_get()
            for item in items:
                for column, block in enumerate(blocks(item)):
                    weights[item][row, column] = 0.0 if block.mute else block.value
                matrices[item][row] = np.array(item.evaluated_get(depsgraph).matrix_world)
            progress(row + 1, len(frames))
    finally:
        scene.frame_set(int(before), subframe=before - int(before))
    return Samples(frames, weights, matrices)


def performance(samples: Samples, mesh: Any, head: rig.Head | None, rate: float) -> Performance:
    """What `mesh` does, as a performance of the 52 shapes; the pose is that of `head`, none = still.

    Raises
    ------
    UserInputError
        If the mesh has none of ARKit's shapes by name.
    """
    weights = np.zeros((len(samples.frames), len(ARKIT)), np.float32)
    known = False
    for column, block in enumerate(blocks(mesh)):
        for name in exact(block.name):
            weights[:, ARKIT.index(name)] = samples.weights[mesh][:, column]
            known = True
    if not known:
        raise UserInputError(f"{mesh.name} has none of ARKit's 52 shapes by name, so it is no performance; export it "
                             "as glTF, FBX or USD.")
    pose = np.zeros((len(samples.frames), 6), np.float32)
    if head is not None:
        pose = _pose(samples.matrices[head.empty], head.origin).astype(np.float32)
    times = (samples.frames - samples.frames[0]) / rate
    return Performance(times, np.clip(weights, 0, 1), list(ARKIT), pose,
                       {"source": "Blender", "object": mesh.name, "first_frame": int(samples.frames[0])})


def _pose(matrices: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(N, 6) pose in camera space of world `matrices` (N, 4, 4) without their scale."""
    angles, last = [], None
    for matrix in matrices.tolist():
        turn = Matrix(matrix).to_3x3().normalized()
        last = turn.to_euler(space.ROTATION_MODE) if last is None else turn.to_euler(space.ROTATION_MODE, last)
        angles.append((last.x, last.y, last.z))
    return space.channels_to_pose(np.array(angles), matrices[:, :3, 3], origin)
