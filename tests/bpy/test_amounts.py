"""Amounts stay adjustable after a bake, by drivers that need no Python; what the artist keyed is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import amounts, compat, keyframes, layers, live, rig, targets  # noqa: E402
from addon.core.amounts import ALL, FACE, factors, factors_of  # noqa: E402
from addon.core.channels import ARKIT  # noqa: E402
from addon.core.timing import FrameClock  # noqa: E402
from tests.bpy import rigs  # noqa: E402
from tests.bpy.conftest import Stage, evaluated  # noqa: E402
from tests.bpy.test_layers import artist, at  # noqa: E402

CLOCK = FrameClock(25, 1, 10)


def turn(item: bpy.types.Object, **values: float) -> None:
    for name, value in values.items():
        item[ALL[name].key] = value
    item.update_tag()
    bpy.context.view_layer.update()


def test_every_shape_has_an_amount() -> None:
    assert {part for name in ARKIT for part in factors(name)} == set(FACE)
    assert factors("browInnerUp") == ("upper_face", "brows") and factors("jawOpen") == ("mouth",)
    assert factors_of({"jawOpen": 0.6, "browInnerUp": 0.1}) == ("mouth",) and factors_of({}) == ("mouth",)


def test_amounts_scale_after_the_bake_and_can_be_keyed(stage: Stage) -> None:
    head, act = stage.head, stage.act
    layers.write(head, act, CLOCK, "line", live=True)
    for index in (0, 3, 5):
        assert at(10 + index, head, "jawOpen") == pytest.approx(act.expression[index, 0], abs=1e-6)
        assert head.empty.rotation_euler[2] == pytest.approx(-act.pose[index, 1], abs=1e-6)
    jaw = at(13, head, "jawOpen")
    blink = head.keys.key_blocks["eyeBlinkLeft"].value
    turn(head.empty, mouth=0.5, blinks=0.0, turn=2.0)
    assert head.keys.key_blocks["jawOpen"].value == pytest.approx(jaw / 2, abs=1e-6)
    assert blink > 0 and head.keys.key_blocks["eyeBlinkLeft"].value == 0
    assert head.empty.rotation_euler[2] == pytest.approx(-2 * act.pose[3, 1], abs=1e-6)
    turn(head.empty, mouth=3.0)
    assert head.keys.key_blocks["jawOpen"].value == pytest.approx(min(3 * jaw, 1), abs=1e-6)
    compat.assign_action(head.empty, "Louder")
    keyframes.write_curve(head.empty, '["parley_mouth"]', 0, "x", np.array([10, 20]), np.array([0.0, 1.0]))
    assert at(10, head, "jawOpen") == 0 and 0 < at(13, head, "jawOpen") < jaw
    drivers = [*head.keys.animation_data.drivers, *head.empty.animation_data.drivers]
    assert all(driver.driver.is_simple_expression and driver.driver.is_valid for driver in drivers)


def test_a_second_bake_keeps_amounts_and_replaces_strips(stage: Stage) -> None:
    head = stage.head
    layers.write(head, stage.act, CLOCK, "line", live=True)
    turn(head.empty, mouth=0.5)
    for _ in range(2):
        assert layers.write(head, stage.act, CLOCK, "line", live=True).notes == []
    assert {action.name for action in bpy.data.actions} == {layers.SPEECH, layers.EYES, layers.HEAD}
    assert all(layers.owned(action) for action in bpy.data.actions)
    assert at(13, head, "jawOpen") == pytest.approx(stage.act.expression[3, 0] / 2, abs=1e-6)
    assert len(head.keys.animation_data.drivers) == sum(name in head.keys.key_blocks for name in stage.act.names)


def test_what_the_artist_keys_or_drives_is_left_alone(stage: Stage) -> None:
    head = stage.head
    action, before = artist(head)
    own = head.keys.key_blocks["eyeBlinkLeft"].driver_add("value").driver
    own.expression = "0.25"
    for _ in range(3):
        layers.write(head, stage.act, CLOCK, "line", live=True)
    assert layers.fingerprint(action) == before and head.keys.animation_data.action == action
    turn(head.empty, mouth=0.0, blinks=0.0)
    assert at(12, head, "jawOpen") == 0 and head.keys.key_blocks["mouthSmileLeft"].value == pytest.approx(0.7)
    assert head.keys.key_blocks["eyeBlinkLeft"].value == pytest.approx(0.25)
    head.empty.keyframe_insert("location", frame=1)
    notes = layers.write(head, stage.act, CLOCK, "line", live=False).notes
    assert not live.is_live(head) and notes == []
    assert any("is moved by you" in note for note in layers.write(head, stage.act, CLOCK, "line", live=True).notes)
    assert not any(map(amounts.is_ours, head.empty.animation_data.drivers))


def test_going_live_and_back_changes_nothing_to_be_seen(stage: Stage) -> None:
    head = stage.head
    head.empty.location, head.empty.rotation_euler = (2, 0, 1.5), (0.1, 0.2, 0.3)
    for line, start in (("line 1", 10), ("line 2", 30)):
        layers.write(head, stage.act, FrameClock(25, 1, start), line)

    def seen() -> list[np.ndarray]:
        found = []
        for frame in (1, 11, 14, 32, 40):
            bpy.context.scene.frame_set(frame)
            found.append(evaluated(head.mesh).copy())
        return found

    before = seen()
    assert layers.switch(head, True) == [] and live.is_live(head)
    assert np.allclose(seen(), before, atol=1e-6)
    assert all(layers.owned(action) for action in bpy.data.actions)
    layers.write(head, stage.act, FrameClock(25, 1, 30), "line 2", live=True)
    assert np.allclose(seen(), before, atol=1e-5)
    turn(head.empty, mouth=0.5, nod=0.25, turn=1.5, tilt=2.0, move=0.5)
    scaled = seen()
    assert not np.allclose(scaled, before, atol=1e-4)
    assert layers.switch(head, False) == [] and not live.is_live(head) and not amounts.has(head.empty)
    assert np.allclose(seen(), scaled, atol=1e-5)
    head.keys.key_blocks["jawOpen"].keyframe_insert("value", frame=1)  # the sliders are free again
    assert all(layers.owned(action) for action in bpy.data.actions if layers.PART in action)


def test_a_still_head_of_no_amount_rests_where_it_was_put(stage: Stage) -> None:
    head = stage.head
    head.empty.location, head.empty.rotation_euler = (2, 0, 1.5), (0, 0, np.pi / 2)
    place = (*head.empty.location, *head.empty.rotation_euler)
    act = replace(stage.act, pose=stage.act.pose + np.float32([0.1, 0.2, 0.1, 0, 0, 0]))
    layers.write(head, act, CLOCK, "line", live=True)
    turn(head.empty, nod=0.0, turn=0.0, tilt=0.0, move=0.0)
    bpy.context.scene.frame_set(13)
    assert (*head.empty.location, *head.empty.rotation_euler) == pytest.approx(place, abs=1e-5)


def test_a_duplicated_head_has_strips_of_its_own(stage: Stage) -> None:
    head = stage.head
    layers.write(head, stage.act, CLOCK, "line")
    for item in bpy.data.objects:
        item.select_set(True)
    bpy.ops.object.duplicate()
    other = rig.find(next(item for item in bpy.context.selected_objects if rig.ORIGIN_KEY in item))
    assert other.empty != head.empty
    layers.switch(other, True)
    turn(other.empty, mouth=0.0)
    assert at(13, other, "jawOpen") == 0
    assert head.keys.key_blocks["jawOpen"].value == pytest.approx(stage.act.expression[3, 0], abs=1e-6)


def test_film_scenes_can_go_live(stage: Stage) -> None:
    keyframes.write(stage.head, stage.act, CLOCK)
    layers.switch(stage.head, True)
    turn(stage.head.empty, mouth=0.5)
    assert at(13, stage.head, "jawOpen") == pytest.approx(stage.act.expression[3, 0] / 2, abs=1e-6)
    assert compat.fcurves(stage.head.keys)


def test_a_mesh_of_the_users_own_has_live_amounts_if_wanted(stage: Stage) -> None:
    face, teeth = rigs.mesh("Face", ["jawOpen", "browInnerUp", "aa"]), rigs.mesh("Teeth", ["jawOpen"])
    frames = np.arange(1, 21)
    wave = np.linspace(0.1, 0.5, 20)
    sources = {("Face", "jawOpen"): {"jawOpen": 1.0}, ("Face", "browInnerUp"): {"browInnerUp": 1.0},
               ("Face", "aa"): {"jawOpen": 0.6, "mouthFunnel": 0.1}, ("Teeth", "jawOpen"): {"jawOpen": 1.0}}
    values = dict.fromkeys(sources, wave)
    own = face.data.shape_keys.key_blocks["aa"].driver_add("value").driver
    own.expression = "0.75"
    for _ in range(2):
        targets.write(targets.of([face, teeth]), values, frames, "take", sources)
    turn(face, mouth=0.5, brows=2.0)
    seen = [rigs.values(face, 20)[name] for name in ("jawOpen", "browInnerUp", "aa")]
    assert seen == pytest.approx([0.25, 1.0, 0.75], abs=1e-5)
    assert rigs.values(teeth, 20)["jawOpen"] == pytest.approx(0.25, abs=1e-5) and not amounts.has(teeth)
    targets.write(targets.of([face, teeth]), values, frames, "take")
    assert not amounts.live(face.data.shape_keys) and rigs.values(face, 20)["jawOpen"] == pytest.approx(0.5, abs=1e-5)
    assert own.expression == "0.75" and len(face.data.shape_keys.animation_data.nla_tracks) == 1
