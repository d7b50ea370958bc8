"""Every export, read back: the same shape keys over time, the same head motion; the scene is not changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import amounts, exporters, heads, layers, rig, scene  # noqa: E402
from addon.core import livelink, performance  # noqa: E402
from addon.core.timing import FrameClock  # noqa: E402
from tests import fixtures  # noqa: E402
from tests.bpy import rigs  # noqa: E402

FRAMES = range(5, 17)


@pytest.fixture
def head(files: fixtures.Files) -> Iterator[rig.Head]:
    """The small head, speaking with live amounts, the mouth at half, some sliders keyed by hand."""
    scene.empty_file()
    addon.register()
    for name in ("io_scene_gltf2", "io_scene_fbx"):
        bpy.ops.preferences.addon_enable(module=name)
    bpy.context.scene.render.fps = 25
    bpy.ops.parley.import_head(filepath=str(files.character), face_model_path=str(files.face_model))
    made = heads.current(bpy.context)
    act = performance.resample(performance.load(files.performance), np.linspace(0, 0.2, len(FRAMES)))
    act = performance.Performance(np.arange(len(FRAMES)) / 25, act.expression, act.names, act.pose, {})
    layers.write(made, act, FrameClock(25, 1, FRAMES[0]), "line", live=True)
    made.empty["parley_mouth"] = 0.5
    made.empty.update_tag()
    yield made
    addon.unregister()
    scene.empty_file()


def watched(mesh: Any, first: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, V, 3) world positions of the mesh over the frames from `first`, and (N, K) weights."""
    points, weights = [], []
    for frame in range(first, first + len(FRAMES)):
        bpy.context.scene.frame_set(frame)
        shown = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
        flat = np.empty(3 * len(shown.data.vertices), np.float32)
        shown.data.vertices.foreach_get("co", flat)
        matrix = np.array(shown.matrix_world)
        points.append(flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
        keys = mesh.data.shape_keys
        weights.append([block.value for block in keys.key_blocks if block != keys.reference_key])
    return np.array(points), np.array(weights)


def ready(mesh: Any) -> Any:
    for modifier in list(mesh.modifiers):
        mesh.modifiers.remove(modifier)  # the neck's hook does not travel
    return mesh


IMPORT = {"GLTF": lambda path: bpy.ops.import_scene.gltf(filepath=path),
          "FBX": lambda path: bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0),
          "USD": lambda path: bpy.ops.wm.usd_import(filepath=path)}


@pytest.mark.parametrize(("kind", "first"), [("GLTF", 5), ("FBX", 5), ("USD", 5)])
def test_it_moves_the_same_after_coming_back(head: rig.Head, tmp_path: Path, kind: str, first: int) -> None:
    if exporters.missing(kind):
        pytest.skip(str(exporters.missing(kind)))
    mesh = ready(head.mesh)
    points, weights = watched(mesh, FRAMES[0])
    assert np.ptp(weights[:, 0]) > 0.1 and np.ptp(points[:, :, 0].mean(1)) > 1e-4
    before = {block.name for group in (bpy.data.objects, bpy.data.meshes, bpy.data.actions, bpy.data.materials)
              for block in group}
    path = tmp_path / f"head{exporters.SUFFIXES[kind]}"
    assert bpy.ops.parley.export(filepath=str(path), format=kind) == {"FINISHED"}
    after = {block.name for group in (bpy.data.objects, bpy.data.meshes, bpy.data.actions, bpy.data.materials)
             for block in group}
    assert before == after and bpy.context.scene.frame_start == 1 and head.mesh.select_get()
    there = set(bpy.data.objects)
    for item in there:
        item.hide_viewport = True
    IMPORT[kind](str(path))
    (read,) = [item for item in set(bpy.data.objects) - there if item.type == "MESH" and item.data.shape_keys]
    got, values = watched(read, first)
    keys = read.data.shape_keys
    names = [block.name for block in keys.key_blocks if block != keys.reference_key]
    ours = [block.name for block in mesh.data.shape_keys.key_blocks][1:]
    order = [names.index(name) for name in ours]
    assert np.abs(values[:, order] - weights).max() < 2e-3
    # Vertices may be split or reordered: the box around them tells size, place and motion.
    for pick in (np.min, np.max):
        assert np.abs(pick(got, axis=1) - pick(points, axis=1)).max() < 2e-3


@pytest.mark.parametrize("kind", ["CSV", "NPZ"])
def test_the_performance_comes_back(head: rig.Head, tmp_path: Path, kind: str) -> None:
    _, weights = watched(head.mesh, FRAMES[0])
    path = tmp_path / f"take{exporters.SUFFIXES[kind]}"
    bpy.context.scene.parley_retarget.timecode_fps = 25
    assert bpy.ops.parley.export(filepath=str(tmp_path / "take"), format=kind) == {"FINISHED"}
    act = livelink.load(path, 25) if kind == "CSV" else performance.load(path)
    names = [block.name for block in head.keys.key_blocks][1:]
    assert np.abs(act.expression[:, [act.names.index(name) for name in names]] - weights).max() < 1e-5
    assert np.allclose(act.times, np.arange(len(FRAMES)) / 25, atol=1e-3)
    bpy.ops.object.select_all(action="DESELECT")
    turned = [-head.empty.rotation_euler[2] for frame in FRAMES if bpy.context.scene.frame_set(frame) is None]
    assert np.allclose(act.pose[:, 1], turned, atol=1e-4) and np.ptp(turned) > 0.01


def test_a_mesh_of_the_users_own_is_exported_with_its_keys(head: rig.Head, tmp_path: Path) -> None:
    for item in (head.mesh, head.empty):
        item.select_set(False)
    item = rigs.mesh("Mine", ["JawOpen", "smile"])
    item.data.shape_keys.key_blocks["JawOpen"].value = 0.25
    bpy.context.scene.parley_export.span = "SCENE"
    bpy.context.scene.frame_end = 3
    for kind, ending in (("NPZ", ".npz"), ("GLTF", ".glb")):
        assert bpy.ops.parley.export(filepath=str(tmp_path / f"mine{ending}"), format=kind) == {"FINISHED"}
    act = performance.load(tmp_path / "mine.npz")
    assert len(act) == 3 and np.allclose(act.expression[:, act.names.index("jawOpen")], 0.25)


def test_what_cannot_be_exported_is_said(head: rig.Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exporters._NAMES, "FBX", ("export_scene", "fbx_that_is_off", "FBX"))
    with pytest.raises(RuntimeError, match="FBX exporter is switched off; tick"):
        bpy.ops.parley.export(filepath=str(tmp_path / "a.fbx"), format="FBX")
    item = rigs.mesh("Odd", ["Key 1"])
    head.mesh.select_set(False)
    assert bpy.context.object == item
    with pytest.raises(RuntimeError, match="none of ARKit's 52 shapes by name"):
        bpy.ops.parley.export(filepath=str(tmp_path / "a.csv"), format="CSV")
    assert not list(tmp_path.iterdir()) and amounts.has(head.empty)
