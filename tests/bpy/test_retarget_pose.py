"""The head's motion on a bone, an empty, an object; eyes on bones; every panel drawn in every state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from mathutils import Vector  # noqa: E402

import addon  # noqa: E402
from addon.bl import scene  # noqa: E402
from addon.core import performance  # noqa: E402
from addon.core.channels import ARKIT  # noqa: E402
from tests.bpy import rigs  # noqa: E402


@pytest.fixture
def chosen(tmp_path: Path) -> Iterator[Any]:
    """Mapped and ready: a face, a performance that looks to its left at frame 11."""
    scene.empty_file()
    addon.register()
    bpy.context.scene.render.fps, bpy.context.scene.frame_start = 25, 1
    made = rigs.talk(21)
    pose = np.zeros((21, 6), np.float32)
    pose[10] = (0.2, -0.4, 0.0, 0.05, -0.02, 0.0)
    looks = np.zeros((21, 52), np.float32)
    looks[10, ARKIT.index("eyeLookOutLeft")] = looks[10, ARKIT.index("eyeLookInRight")] = 1.0
    performance.save(performance.Performance(made.times, looks, list(ARKIT), pose, {}), tmp_path / "turn.npz")
    rigs.mesh("Face", list(ARKIT))
    bpy.ops.parley.retarget_auto_map()
    settings = bpy.context.scene.parley_retarget
    settings.filepath = str(tmp_path / "turn.npz")
    settings.head_limit = (3.0, 3.0, 3.0)
    yield settings
    addon.unregister()
    scene.empty_file()


def gaze(item: Any, bone: str = "") -> np.ndarray:
    """(3,) where something that looked along −Y at rest looks at the current frame, in the world."""
    item = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    turned = item.matrix_world.to_3x3()
    if bone:
        pose = item.pose.bones[bone]
        turned = turned @ pose.matrix.to_3x3() @ pose.bone.matrix_local.to_3x3().inverted()
    return np.array(turned @ Vector((0, -1, 0)))


# Pitch 0.2 looks down, yaw −0.4 to the person's left, which is +x.
LOOK = np.array([np.sin(0.4) * np.cos(0.2), -np.cos(0.4) * np.cos(0.2), -np.sin(0.2)])


@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "ZYX"])
def test_a_bone_of_any_roll_turns_the_head(chosen: Any, mode: str) -> None:
    face = bpy.context.object
    rig = rigs.armature({"head": ((0, 0, 1.5), (0.05, 0.1, 1.7))})
    rig.pose.bones["head"].rotation_mode = mode
    chosen.head, chosen.head_bone = rig, "head"
    bpy.context.view_layer.objects.active = face
    bpy.ops.parley.retarget_apply()
    bpy.context.scene.frame_set(1)
    assert np.allclose(gaze(rig, "head"), (0, -1, 0), atol=1e-5)
    bpy.context.scene.frame_set(11)
    assert np.allclose(gaze(rig, "head"), LOOK, atol=1e-4)


def test_an_empty_keeps_its_place_and_amounts_and_limits_hold(chosen: Any) -> None:
    empty = bpy.data.objects.new("Control", None)
    bpy.context.scene.collection.objects.link(empty)
    empty.location, empty.rotation_euler = (1, 2, 3), (0, 0, np.pi / 2)
    chosen.head, chosen.head_shift = empty, 2.0
    chosen.head_amount, chosen.head_limit = (0.0, 1.0, 1.0), (3.0, 0.25, 3.0)
    bpy.ops.parley.retarget_apply()
    bpy.context.scene.frame_set(11)
    # The artist turned it a quarter to look along +X; the head's own turn comes on top, in the space it stands in.
    assert np.allclose(gaze(empty), (np.cos(0.25), np.sin(0.25), 0), atol=1e-4)
    assert tuple(empty.location) == (1, 2, 3) and np.allclose(empty.delta_location[0], 2 * 0.05 * 20 / 21, atol=1e-3)


def test_eyes_follow_to_the_same_side(chosen: Any) -> None:
    face = bpy.context.object
    rig = rigs.armature({"head": ((0, 0, 1.5), (0, 0, 1.7)), "eye.L": ((0.03, 0, 1.6), (0.03, -0.1, 1.6)),
                         "eye.R": ((-0.03, 0, 1.6), (-0.03, -0.1, 1.6))})
    chosen.head, chosen.head_bone, chosen.eye_left, chosen.eye_right = rig, "head", "eye.L", "eye.R"
    bpy.context.view_layer.objects.active = face
    bpy.ops.parley.retarget_apply()
    bpy.context.scene.frame_set(11)
    for bone in ("eye.L", "eye.R"):
        assert np.allclose(gaze(rig, bone), (np.sin(np.radians(32)), -np.cos(np.radians(32)), 0), atol=1e-4)


def test_a_wrong_bone_is_said_before_anything_is_written(chosen: Any) -> None:
    face = bpy.context.object
    chosen.head, chosen.head_bone = rigs.armature({"head": ((0, 0, 1), (0, 0, 2))}), ""
    bpy.context.view_layer.objects.active = face
    with pytest.raises(RuntimeError, match="choose the bone that carries the head"):
        bpy.ops.parley.retarget_apply()
    chosen.head_bone = "neck"
    with pytest.raises(RuntimeError, match="Rig has no bone neck"):
        bpy.ops.parley.retarget_apply()
    chosen.head_bone, chosen.up = "head", "Y"
    with pytest.raises(RuntimeError, match="lie on one line"):
        bpy.ops.parley.retarget_apply()
    assert not bpy.data.actions


def test_the_panel_is_drawn_mapped_solved_and_with_a_rig(chosen: Any) -> None:
    from addon.features.retarget import panels
    from tests.bpy.test_panels import Spy, drawn

    chosen.residuals = "tongueOut: 100%\njawOpen: 3%"
    words = drawn(panels.PARLEY_PT_retarget)
    assert "PARLEY_UL_retarget_pairs" in words and "tongueOut: 100%" in words and "parley.retarget_apply" in words
    assert "head_bone" not in drawn(panels.PARLEY_PT_retarget_head)
    chosen.filepath, chosen.head = "/a/b.csv", rigs.armature({"head": ((0, 0, 1), (0, 0, 2))})
    assert "timecode_fps" in drawn(panels.PARLEY_PT_retarget)
    assert "head_bone" in drawn(panels.PARLEY_PT_retarget_head)
    row: Any = Spy()
    draw_item: Any = panels.PARLEY_UL_retarget_pairs.draw_item
    draw_item(None, bpy.context, row, chosen, chosen.pairs[0], 0, chosen, "index")
    assert chosen.pairs[0].target in row.words and "sources" in row.words
    chosen.pairs.clear()
    for item in bpy.context.selected_objects:
        item.select_set(False)
    words = drawn(panels.PARLEY_PT_retarget)
    assert "No mesh is selected" in words and "Nothing is mapped yet" in words


def test_every_operator_and_setting_explains_itself(chosen: Any) -> None:
    for name in ("retarget_auto_map", "retarget_solve", "retarget_apply", "retarget_save_preset",
                 "retarget_load_preset", "import_live_link"):
        assert len(getattr(bpy.ops.parley, name).get_rna_type().description) > 20
    for owner in (chosen, chosen.pairs[0]):
        for key, kind in owner.bl_rna.properties.items():
            assert key in ("rna_type", "name", "pairs") or len(kind.description) > 5, key
