"""Retarget in Blender: other characters speak, the artist's work stays, whatever is wrong is said in a sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import compat, layers, scene  # noqa: E402
from addon.core import performance  # noqa: E402
from addon.core.channels import ARKIT  # noqa: E402
from addon.core.mapping_visemes import VISEME_SETS  # noqa: E402
from tests.bpy import rigs  # noqa: E402


@pytest.fixture
def act(tmp_path: Path) -> Iterator[Any]:
    """The add-on in an empty scene at 25 fps, and a performance file."""
    scene.empty_file()
    addon.register()
    bpy.context.scene.render.fps, bpy.context.scene.frame_start = 25, 1
    made = rigs.talk()
    performance.save(made, tmp_path / "take.npz")
    bpy.context.scene.parley_retarget.filepath = str(tmp_path / "take.npz")
    yield made
    addon.unregister()
    scene.empty_file()


def curves(item: Any) -> dict[str, np.ndarray]:
    """Key → (N,) keyed weights in the strips that Parley laid."""
    found = {}
    for track in item.data.shape_keys.animation_data.nla_tracks:
        for strip in track.strips:
            for curve in compat.action_curves(strip.action):
                points = np.empty(2 * len(curve.keyframe_points), np.float32)
                curve.keyframe_points.foreach_get("co", points)
                found[curve.data_path.split('"')[1]] = points[1::2]
    return found


@pytest.mark.parametrize("names", [list(ARKIT), rigs.PASCAL, rigs.SNAKE, rigs.DOTTED, rigs.SIDED],
                         ids=["camel", "pascal", "snake", "prefix", "sides"])
def test_arkit_names_in_any_spelling_follow_exactly(act: Any, names: list[str]) -> None:
    item = rigs.mesh("Face", names)
    assert bpy.ops.parley.retarget_auto_map() == {"FINISHED"}
    assert all(row.enabled and row.confidence == 1 for row in bpy.context.scene.parley_retarget.pairs)
    assert bpy.ops.parley.retarget_apply() == {"FINISHED"}
    keyed = curves(item)
    for index, name in enumerate(names):
        assert np.allclose(keyed[name], act.expression[:, index], atol=1e-5)
    seen = rigs.values(item, 11)
    assert seen[names[17]] == pytest.approx(act.expression[10, 17], abs=1e-4)


@pytest.mark.parametrize(("key", "names", "bar"), [
    ("oculus", [f"viseme_{name}" for name in VISEME_SETS["oculus"].poses], 0.02),
    ("vrm", [f"Fcl_MTH_{name}" for name in "AIUEO"], 0.02),
    ("microsoft", [f"viseme_{index:02d}" for index in range(22)], 0.02),
    ("rhubarb", [f"mouth_{name}" for name in "ABCDEFGHX"], 0.02),
])
def test_visemes_come_back_at_their_time(act: Any, tmp_path: Path, key: str, names: list[str], bar: float) -> None:
    item = rigs.mesh("Face", names)
    truth, weights = spoken([dict(pose) for pose in VISEME_SETS[key].poses.values()], 180)
    made = performance.Performance(np.arange(180) / 25, weights, list(ARKIT), np.zeros((180, 6), np.float32), {})
    performance.save(made, tmp_path / "visemes.npz")
    assert bpy.ops.parley.retarget_auto_map() == {"FINISHED"}
    assert bpy.ops.parley.retarget_apply(filepath=str(tmp_path / "visemes.npz")) == {"FINISHED"}
    keyed = curves(item)
    got = np.stack([keyed[name] for name in names], 1)
    assert np.abs(got - truth).mean() <= bar
    assert np.abs(got - truth)[truth > 0.3].mean() <= bar


def spoken(poses: list[dict[str, float]], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, J) viseme weights, one fading into the next, and the (T, 52) that show them."""
    rng = np.random.default_rng(7)
    live = [index for index, pose in enumerate(poses) if pose]
    times = np.cumsum(rng.integers(4, 9, frames // 4))
    truth = np.zeros((frames, len(poses)))
    for before, at, after in zip(times[:-2], times[1:-1], times[2:], strict=True):
        column = rng.choice(live)
        rise = np.interp(np.arange(frames), [before, at, after], [0, rng.uniform(0.5, 1), 0])
        truth[:, column] = np.maximum(truth[:, column], rise)
    for column, pose in enumerate(poses):
        if not pose:
            truth[:, column] = np.clip(1 - truth.sum(1), 0, 1)
    table = np.array([[pose.get(name, 0.0) for name in ARKIT] for pose in poses])
    return truth, np.clip(truth @ table, 0, 1).astype(np.float32)


def test_vrm_blinks_and_looks_follow_both_eyes(act: Any) -> None:
    item = rigs.mesh("Face", ["A", "I", "U", "E", "O", "Blink", "Blink_L", "Blink_R", "LookUp", "Joy"])
    bpy.ops.parley.retarget_auto_map()
    rows = {row.target: row for row in bpy.context.scene.parley_retarget.pairs}
    assert rows["A"].kind == "pose" and not rows["Joy"].enabled and not rows["Blink"].enabled
    bpy.ops.parley.retarget_apply()
    keyed = curves(item)
    assert np.allclose(keyed["Blink_L"], act.expression[:, ARKIT.index("eyeBlinkLeft")], atol=1e-5)
    up = act.expression[:, [ARKIT.index("eyeLookUpLeft"), ARKIT.index("eyeLookUpRight")]].mean(1)
    assert np.allclose(keyed["LookUp"], up, atol=1e-5)


def test_head_teeth_and_lashes_at_once(act: Any) -> None:
    items = [rigs.mesh("Head", list(ARKIT)), rigs.mesh("Teeth", ["jawOpen", "jawLeft", "jawRight"]),
             rigs.mesh("Lashes", ["Eye_Blink_L", "Eye_Blink_R"])]
    for item in items:
        item.select_set(True)
    assert bpy.ops.parley.retarget_auto_map() == {"FINISHED"}
    assert bpy.ops.parley.retarget_apply() == {"FINISHED"}
    assert [len(curves(item)) for item in items] == [52, 3, 2]
    assert np.allclose(curves(items[1])["jawOpen"], curves(items[0])["jawOpen"])


def test_the_artists_action_is_never_written_and_wins(act: Any) -> None:
    item = rigs.mesh("Face", list(ARKIT))
    keys = item.data.shape_keys
    keys.key_blocks["jawOpen"].value = 0.25
    keys.key_blocks["jawOpen"].keyframe_insert("value", frame=1)
    artists = keys.animation_data.action
    before = digest(artists)
    bpy.ops.parley.retarget_auto_map()
    for _ in range(3):
        assert bpy.ops.parley.retarget_apply() == {"FINISHED"}
    assert keys.animation_data.action == artists and digest(artists) == before
    seen = rigs.values(item, 20)
    assert seen["jawOpen"] == pytest.approx(0.25)
    assert seen["mouthPucker"] == pytest.approx(act.expression[19, ARKIT.index("mouthPucker")], abs=1e-4)
    assert sum(layers.PART in action for action in bpy.data.actions) == 1, "a new bake replaces the old one"
    assert all(action.name.startswith("Parley") for action in bpy.data.actions if action != artists)


def digest(action: Any) -> str:
    keys = [(curve.data_path, curve.array_index, [(point.co[0], point.co[1]) for point in curve.keyframe_points])
            for curve in compat.action_curves(action)]
    return hashlib.sha256(json.dumps([action.name, keys]).encode()).hexdigest()


def test_drivers_are_kept_muted_and_locked_keys_named(act: Any, capsys: pytest.CaptureFixture[str]) -> None:
    item = rigs.mesh("Face", list(ARKIT))
    keys = item.data.shape_keys
    driver = keys.key_blocks["jawOpen"].driver_add("value").driver
    driver.type, driver.expression = "SCRIPTED", "0.125"
    keys.key_blocks["mouthLeft"].mute = True
    keys.key_blocks["mouthRight"].lock_shape = True
    bpy.ops.parley.retarget_auto_map()
    bpy.ops.parley.retarget_apply()
    said = capsys.readouterr().out
    assert "jawOpen" not in curves(item) and len(keys.animation_data.drivers) == 1
    assert rigs.values(item, 9)["jawOpen"] == pytest.approx(0.125)
    for part in ("Drivers of Face are kept; not keyed: jawOpen", "Muted keys of Face won't be seen: mouthLeft",
                 "Locked keys of Face are keyed all the same: mouthRight"):
        assert part in said


def test_names_that_say_nothing_are_solved_from_geometry(act: Any, files: Any, tmp_path: Path) -> None:
    from addon.bl import space
    from addon.core import face_model

    model = face_model.load(files.face_model)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    points = 12 * space.to_blender(model.mean_shape).astype(float) @ turn.T + (3, 1, 2)
    moves = 12 * space.to_blender(model.expression_basis).astype(float) @ turn.T
    item = rigs.mesh("Stranger", ["Key 7", "Key 3", "Key 5"], points, moves[[2, 0, 1]])
    assert "FINISHED" in bpy.ops.parley.retarget_solve(face_model=str(files.face_model))
    chosen = bpy.context.scene.parley_retarget
    assert {row.target: row.sources.split("*")[0] for row in chosen.pairs} == {
        "Key 7": "eyeBlinkLeft", "Key 3": "jawOpen", "Key 5": "mouthSmileLeft"}
    assert "jawOpen" in chosen.residuals
    assert bpy.ops.parley.retarget_apply() == {"FINISHED"}
    keyed = curves(item)
    for key, name in (("Key 7", "eyeBlinkLeft"), ("Key 3", "jawOpen"), ("Key 5", "mouthSmileLeft")):
        assert np.abs(keyed[key] - act.expression[:, ARKIT.index(name)]).mean() <= 0.02
    item.scale = (1, 2, 1)
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="scaled unevenly"):
        bpy.ops.parley.retarget_solve(face_model=str(files.face_model))


def test_a_preset_is_saved_shared_and_a_bad_one_refused(act: Any, tmp_path: Path) -> None:
    rigs.mesh("Face", list(ARKIT))
    bpy.ops.parley.retarget_auto_map()
    chosen = bpy.context.scene.parley_retarget
    row = next(row for row in chosen.pairs if row.target == "jawOpen")
    row.sources = "jawOpen*0.5 + mouthFunnel*0.25"
    path = tmp_path / "mine.json"
    assert bpy.ops.parley.retarget_save_preset(filepath=str(path)) == {"FINISHED"}
    other = rigs.mesh("Other", ["jawOpen", "unknown"])
    bpy.data.objects["Face"].select_set(False)
    assert bpy.ops.parley.retarget_load_preset(filepath=str(path)) == {"FINISHED"}
    assert [(pair.mesh, pair.target, pair.sources) for pair in chosen.pairs] == [
        ("Other", "jawOpen", "jawOpen*0.5 + mouthFunnel*0.25")]
    bpy.ops.parley.retarget_apply()
    half = 0.5 * act.expression[:, ARKIT.index("jawOpen")] + 0.25 * act.expression[:, ARKIT.index("mouthFunnel")]
    assert np.allclose(curves(other)["jawOpen"], half, atol=1e-5)
    chosen.pairs[0].sources = "jawOpne"
    with pytest.raises(RuntimeError, match="'jawOpne' for the key jawOpen is no ARKit shape"):
        bpy.ops.parley.retarget_apply()
    for text in ("", "[]", '{"schema": "parley.mapping", "version": 9}',
                 '{"schema": "parley.mapping", "version": 1, "pairs": [{"target": "x", "sources": {"jaw": 1}}]}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RuntimeError, match=r"mine\.json"):
            bpy.ops.parley.retarget_load_preset(filepath=str(path))


def test_a_phones_recording_keys_any_mapped_rig(act: Any, tmp_path: Path) -> None:
    item = rigs.mesh("Face", rigs.PASCAL)
    rigs.livelink_csv(tmp_path / "phone.csv", act)
    bpy.context.scene.parley_retarget.timecode_fps = 25
    assert bpy.ops.parley.import_live_link(filepath=str(tmp_path / "phone.csv")) == {"FINISHED"}
    keyed = curves(item)
    assert np.allclose(keyed["JawOpen"], act.expression[:, ARKIT.index("jawOpen")], atol=1e-5)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RuntimeError, match="no Live Link Face CSV"):
        bpy.ops.parley.import_live_link(filepath=str(tmp_path / "bad.csv"))


def test_what_cannot_work_is_said_in_one_sentence(act: Any) -> None:
    with pytest.raises(RuntimeError, match="No mesh is selected"):
        bpy.ops.parley.retarget_auto_map()
    bare = bpy.data.objects.new("Bare", bpy.data.meshes.new("Bare"))
    bpy.context.scene.collection.objects.link(bare)
    bare.select_set(True)
    bpy.context.view_layer.objects.active = bare
    with pytest.raises(RuntimeError, match="Bare has no shape keys"):
        bpy.ops.parley.retarget_auto_map()
    item = rigs.mesh("Odd", ["Key 1", "Key 2"])
    with pytest.raises(RuntimeError, match="None of the 2 shape keys has a name"):
        bpy.ops.parley.retarget_auto_map()
    with pytest.raises(RuntimeError, match="Nothing is mapped yet"):
        bpy.ops.parley.retarget_apply()
    item.data.shape_keys.use_relative = False
    with pytest.raises(RuntimeError, match="absolute; tick Relative"):
        bpy.ops.parley.retarget_auto_map()


def test_a_linked_mesh_wants_an_override(act: Any, tmp_path: Path) -> None:
    rigs.mesh("Linked", list(ARKIT))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.render.fps = 25
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, here):
        here.objects = ["Linked"]
    item = here.objects[0]
    bpy.context.scene.collection.objects.link(item)
    item.select_set(True)
    with pytest.raises(RuntimeError, match=r"is linked from .*make a library override"):
        bpy.ops.parley.retarget_auto_map()
    bpy.context.scene.collection.objects.unlink(item)
    own = item.override_create(remap_local_usages=True)
    own.data.override_create(remap_local_usages=True)
    bpy.context.scene.collection.objects.link(own)
    own.select_set(True)
    bpy.context.view_layer.objects.active = own
    assert bpy.ops.parley.retarget_auto_map() == {"FINISHED"}
    made = rigs.talk()
    performance.save(made, tmp_path / "take.npz")
    assert bpy.ops.parley.retarget_apply(filepath=str(tmp_path / "take.npz")) == {"FINISHED"}
    assert rigs.values(own, 11)["jawOpen"] == pytest.approx(made.expression[10, 17], abs=1e-4)
