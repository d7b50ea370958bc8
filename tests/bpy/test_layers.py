"""Parley's strips beside the artist's action: never written, never hidden, replaced whole, edits kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import compat, keyframes, layers, rig, scene  # noqa: E402
from addon.core import character  # noqa: E402
from addon.core.errors import UserInputError  # noqa: E402
from addon.core.performance import Performance  # noqa: E402
from addon.core.timing import FrameClock  # noqa: E402
from tests.bpy.conftest import Stage  # noqa: E402

CLOCK = FrameClock(25, 1, 10)


def artist(head: rig.Head) -> tuple[bpy.types.Action, str]:
    """An action of the artist's on the shape keys: a smile held at 0.7."""
    compat.assign_action(head.keys, "Hand")
    keyframes.write_curve(head.keys, 'key_blocks["mouthSmileLeft"].value', 0, "x", np.array([1, 50]),
                          np.array([0.7, 0.7]))
    action = head.keys.animation_data.action
    return action, layers.fingerprint(action)


def at(frame: int, head: rig.Head, name: str) -> float:
    bpy.context.scene.frame_set(frame)
    return head.keys.key_blocks[name].value


def names() -> set[str]:
    return {action.name for action in bpy.data.actions}


def test_three_layers_play_under_the_artists_action(stage: Stage) -> None:
    head, act = stage.head, stage.act
    action, before = artist(head)
    for _ in range(3):
        written = layers.write(head, act, CLOCK, "line 1")
        assert written.frames.tolist() == list(range(10, 16)) and written.notes == []
    assert names() == {"Hand", layers.SPEECH, layers.EYES, layers.HEAD}
    assert head.keys.animation_data.action == action and layers.fingerprint(action) == before
    assert [track.name for track in head.keys.animation_data.nla_tracks] == [layers.SPEECH, layers.EYES]
    for index in (0, 3, 5):
        assert at(10 + index, head, "jawOpen") == pytest.approx(act.expression[index, 0], abs=1e-6)
        assert head.keys.key_blocks["eyeBlinkLeft"].value == pytest.approx(act.expression[index, 2], abs=1e-6)
        assert head.keys.key_blocks["mouthSmileLeft"].value == pytest.approx(0.7)
    assert at(1, head, "jawOpen") == pytest.approx(0, abs=1e-6) and at(40, head, "jawOpen") == pytest.approx(1)
    bpy.context.scene.frame_set(10)
    assert head.empty.rotation_euler[2] == pytest.approx(-act.pose[0, 1], abs=1e-6)


def test_a_bake_that_fails_leaves_all_as_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    layers.write(stage.head, stage.act, CLOCK, "line 1")
    before = {action.name: layers.fingerprint(action) for action in bpy.data.actions}
    with pytest.raises(UserInputError, match="range of frames"):
        layers.write(stage.head, stage.act, CLOCK, "line 1", (500, 600))

    def fail(*words: object) -> None:
        raise MemoryError

    monkeypatch.setattr(layers, "_placed", fail)
    with pytest.raises(MemoryError):
        layers.write(stage.head, replace(stage.act, expression=stage.act.expression * 0), CLOCK, "line 1")
    assert {action.name: layers.fingerprint(action) for action in bpy.data.actions} == before


def test_edited_keys_are_kept(stage: Stage) -> None:
    layers.write(stage.head, stage.act, CLOCK, "line 1")
    curve = compat.action_curves(bpy.data.actions[layers.SPEECH])[0]
    curve.keyframe_points[2].co[1] = 0.123
    written = layers.write(stage.head, stage.act, CLOCK, "line 1")
    assert written.notes == ["Your edits of Parley Speech are kept, muted, in the NLA track Parley Speech (edited)."]
    kept = bpy.data.actions["Parley Speech (edited)"]
    assert compat.action_curves(kept)[0].keyframe_points[2].co[1] == pytest.approx(0.123) and kept.use_fake_user
    assert at(12, stage.head, "jawOpen") == pytest.approx(stage.act.expression[2, 0], abs=1e-6)
    for _ in range(2):
        assert layers.write(stage.head, stage.act, CLOCK, "line 1").notes == []
    assert len(stage.head.keys.animation_data.nla_tracks) == 3 and "Parley Speech (edited)" in names()


def test_two_lines_stand_one_after_the_other(stage: Stage) -> None:
    layers.write(stage.head, stage.act, CLOCK, "line 1")
    layers.write(stage.head, stage.act, FrameClock(25, 1, 100), "line 2")
    track = stage.head.keys.animation_data.nla_tracks[0]
    assert [(strip.frame_start, strip.extrapolation) for strip in track.strips] == [(10, "HOLD"), (100, "HOLD_FORWARD")]
    assert at(12, stage.head, "jawOpen") == pytest.approx(0.4) and at(103, stage.head, "jawOpen") == pytest.approx(0.6)
    layers.write(stage.head, stage.act, FrameClock(25, 1, 200), "line 1")  # the sound was moved
    assert sorted(strip.frame_start for strip in track.strips) == [100, 200] and len(names()) == 6
    assert [strip.extrapolation for strip in track.strips] == ["HOLD", "HOLD_FORWARD"]
    assert at(202, stage.head, "jawOpen") == pytest.approx(0.4)


@pytest.mark.parametrize(("fps", "base"), [(24, 1.001), (30, 1.001), (60, 1), (25, 1)])
def test_any_rate_is_keyed_on_whole_frames(stage: Stage, fps: float, base: float) -> None:
    times = np.arange(250) / 25
    wave = (0.5 + 0.5 * np.sin(times))[:, None].astype(np.float32)
    act = Performance(times, wave, ["jawOpen"], np.zeros((250, 6), np.float32), {})
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = int(fps), base
    written = layers.write(stage.head, act, FrameClock(fps, base, 101), "line")
    last = int(written.frames[-1])
    assert last == 101 + int(times[-1] * fps / base + 1e-3)
    for frame in (101, (101 + last) // 2, last):
        seconds = (frame - 101) * base / fps
        assert at(frame, stage.head, "jawOpen") == pytest.approx(0.5 + 0.5 * np.sin(seconds), abs=2e-3)


def test_the_window_cuts_and_nothing_shifts(stage: Stage) -> None:
    assert layers.write(stage.head, stage.act, CLOCK, "line", (12, 13)).frames.tolist() == [12, 13]
    assert at(13, stage.head, "jawOpen") == pytest.approx(0.6)


def test_a_head_stays_where_it_was_put(stage: Stage) -> None:
    still = replace(stage.act, pose=np.tile(stage.act.pose[:1] * 0 + [0, 0.1, 0, 1, 2, 3], (6, 1)).astype(np.float32))
    empty = stage.head.empty
    empty.location, empty.rotation_euler = (2, 0, 1.5), (0, 0, np.pi / 2)
    for _ in range(2):
        layers.write(stage.head, still, CLOCK, "line")
        bpy.context.scene.frame_set(12)
        assert tuple(empty.location) == pytest.approx((2, 0, 1.5), abs=1e-5)
        assert tuple(empty.rotation_euler) == pytest.approx((0, 0, np.pi / 2 - 0.1), abs=1e-5)


def test_a_person_who_leans_is_not_leaned_twice(stage: Stage) -> None:
    rest = np.array([0.1, 0.2, -0.05, 0, 0, 0.8])
    head = rig.build(stage.model, character.average(stage.model), None, rest)
    act = replace(stage.act, pose=np.tile(rest, (6, 1)).astype(np.float32))
    before = tuple(head.empty.rotation_euler)
    layers.write(head, act, CLOCK, "line")
    bpy.context.scene.frame_set(12)
    assert tuple(head.empty.rotation_euler) == pytest.approx(before, abs=1e-5)


def test_what_cannot_be_keyed_is_said(stage: Stage) -> None:
    stage.head.keys.key_blocks["jawOpen"].mute = True
    assert "1 shape keys of Parley Face are muted" in layers.write(stage.head, stage.act, CLOCK, "x").notes[0]
    keyframes.write(stage.head, stage.act, CLOCK)
    notes = layers.write(stage.head, stage.act, CLOCK, "x").notes
    assert sum("earlier keys" in note for note in notes) == 2
    assert stage.head.keys.animation_data.action is None and stage.head.empty.animation_data.action is None
    scene.empty_file()
