"""Strangers' characters for the retargeting tests: meshes with keys of any name, armatures, a lively performance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from addon.core.channels import ARKIT
from addon.core.performance import Performance

PASCAL = [name[:1].upper() + name[1:] for name in ARKIT]
SNAKE = ["Head_" + "".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in ARKIT]
DOTTED = [f"blendShape1.{name}" for name in ARKIT]
SIDED = [name.replace("Left", "_L").replace("Right", ".R") for name in ARKIT]


def mesh(name: str, keys: list[str], points: np.ndarray | None = None, moves: np.ndarray | None = None) -> Any:
    """A mesh object in the scene, selected, with a basis and `keys`; of two triangles unless `points` (N, 3)."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]], float) if points is None else points
    data = bpy.data.meshes.new(name)
    data.from_pydata(points.tolist(), [], [(0, 1, 2), (1, 2, 3)])
    item = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(item)
    item.shape_key_add(name="Basis", from_mix=False)
    for index, key in enumerate(keys):
        block = item.shape_key_add(name=key, from_mix=False)
        block.value = 0.0
        move = np.full_like(points, 0.01 * (index + 1)) if moves is None else moves[index]
        block.data.foreach_set("co", (points + move).astype(np.float32).ravel())
    item.select_set(True)
    bpy.context.view_layer.objects.active = item
    return item


def armature(bones: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]) -> Any:
    """An armature object of the bones name → (head, tail), with rolls of their own."""
    data = bpy.data.armatures.new("Rig")
    item = bpy.data.objects.new("Rig", data)
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    for name, (head, tail) in bones.items():
        bone = data.edit_bones.new(name)
        bone.head, bone.tail, bone.roll = head, tail, 0.7
    bpy.ops.object.mode_set(mode="OBJECT")
    return item


def talk(frames: int = 90, seed: int = 4) -> Performance:
    """25 fps; every shape rises and falls; the head turns about a place that is not its rest."""
    times = np.arange(frames) / 25
    phase = np.random.default_rng(seed).uniform(0, 6, len(ARKIT))
    waves = 0.5 + 0.5 * np.sin(times[:, None] * (2 + phase) + phase)
    pose = np.zeros((frames, 6), np.float32)
    pose[:, 0], pose[:, 1], pose[:, 2] = 0.1 + 0.1 * np.sin(times), 0.3 * np.sin(2 * times), 0.05 * np.sin(3 * times)
    pose[:, 3], pose[:, 5] = 0.02 * np.sin(times), 0.8
    return Performance(times, waves.astype(np.float32), list(ARKIT), pose, {})


def values(item: Any, frame: float) -> dict[str, float]:
    """Key → weight as Blender evaluates it at `frame`."""
    bpy.context.scene.frame_set(int(frame), subframe=frame - int(frame))
    seen = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.shape_keys or item.data.shape_keys
    return {block.name: block.value for block in seen.key_blocks}


def livelink_csv(path: Path, act: Performance, fps: int = 25) -> None:
    """`act` as Live Link Face writes it."""
    rows = [",".join(["Timecode", "BlendShapeCount", *PASCAL, "HeadYaw", "HeadPitch", "HeadRoll"])]
    for index, (weights, pose) in enumerate(zip(act.expression, act.pose, strict=True)):
        code = f"00:00:{index // fps:02d}:{index % fps:02d}.000"
        rows.append(",".join([code, "61", *[f"{value:.6f}" for value in weights],
                              *[f"{pose[axis]:.6f}" for axis in (1, 0, 2)]]))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
