"""The head in Blender: geometry, keys, camera; each against the backend's conventions."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from bpy_extras.object_utils import world_to_camera_view  # noqa: E402
from mathutils import Vector  # noqa: E402

from addon.bl import camera, compat, keyframes, rig, space  # noqa: E402
from addon.core import pose as poses  # noqa: E402
from addon.core.errors import ArtefactError, UserInputError  # noqa: E402
from addon.core.performance import Performance  # noqa: E402
from addon.core.timing import FrameClock  # noqa: E402
from tests.bpy.conftest import Stage, evaluated  # noqa: E402


def test_axes_and_pose_go_there_and_back() -> None:
    points = np.random.default_rng(0).normal(size=(9, 3))
    assert np.allclose(space.to_opencv(space.to_blender(points)), points)
    assert np.allclose(space.to_blender(points), points @ space.TO_WORLD.T)
    pose, origin = np.random.default_rng(1).uniform(-1.2, 1.2, (7, 6)), np.array([0.1, -0.2, 0.9])
    assert np.allclose(space.channels_to_pose(*space.pose_to_channels(pose, origin), origin), pose)


def test_the_mesh_holds_the_model(stage: Stage) -> None:
    mesh = stage.head.mesh.data
    assert (len(mesh.vertices), len(mesh.polygons)) == (len(stage.model.mean_shape), len(stage.model.faces))
    assert [key.name for key in stage.head.keys.key_blocks] == ["Basis", *stage.model.names]
    assert all(key.value == 0 for key in stage.head.keys.key_blocks[1:])
    assert {"face", "lips", "neck"} <= {group.name for group in stage.head.mesh.vertex_groups}
    assert [slot.name for slot in mesh.materials] == ["Parley skin", "Parley teeth"]
    corner = mesh.polygons[5].loop_indices[2]
    assert np.allclose(mesh.uv_layers[0].data[corner].uv, stage.model.uv[stage.model.face_uvs[5, 2]], atol=1e-6)
    outward = [polygon.normal.dot(polygon.center) > 0 for polygon in mesh.polygons]
    assert np.mean(outward) > 0.99
    index = int(np.argmax(stage.model.region("lips")))
    group = stage.head.mesh.vertex_groups["lips"]
    assert group.weight(index) == pytest.approx(stage.model.region("lips")[index], abs=1 / 255)


def test_keys_and_pose_put_every_vertex_where_the_backend_does(stage: Stage) -> None:
    keyframes.write_samples(stage.head, stage.act, np.arange(len(stage.act)) + 1)
    rigid = rig.neck_root(stage.model, stage.person.neutral_shape) == 0
    for sample in (0, 3, 5):
        bpy.context.scene.frame_set(sample + 1)
        shape = stage.person.neutral_shape + np.tensordot(stage.act.expression[sample], stage.model.expression_basis, 1)
        wanted = poses.to_camera(shape, stage.act.pose[sample])
        got = space.to_opencv(evaluated(stage.head.mesh)) + stage.head.origin
        assert np.abs(got - wanted)[rigid].max() < 2e-6


def test_the_root_of_the_neck_stays(stage: Stage) -> None:
    root = int(np.argmax(stage.model.mean_shape[:, 1]))
    before = evaluated(stage.head.mesh)[root]
    rig.set_pose(stage.head, np.array([0.2, 0.4, 0.1, 0.05, 0, 0.8]))
    bpy.context.view_layer.update()
    after = evaluated(stage.head.mesh)
    assert np.abs(after[root] - before).max() < 1e-5
    assert np.abs(after[0] - before).max() > 0.01


@pytest.mark.parametrize(("fps", "base", "start"), [(24, 1.0, 1), (30, 1.001, 10), (60, 1.0, 1)])
def test_keys_at_any_rate_follow_the_performance(stage: Stage, fps: int, base: float, start: int) -> None:
    clock = FrameClock(fps, base, start)
    frames = keyframes.write(stage.head, stage.act, clock)
    curve = next(curve for curve in compat.fcurves(stage.head.keys) if "jawOpen" in curve.data_path)
    times = clock.seconds(frames.astype(float))
    wanted = np.interp(times, stage.act.times, stage.act.expression[:, 0])
    assert frames[0] == start and times[-1] <= stage.act.times[-1] + 1e-3 / fps
    assert np.allclose([curve.evaluate(frame) for frame in frames], wanted, atol=1e-5)
    assert {point.interpolation for point in curve.keyframe_points} == {"LINEAR"}


def test_writing_again_replaces_and_names_stay(stage: Stage) -> None:
    for _ in range(2):
        keyframes.write(stage.head, stage.act, FrameClock())
    assert sorted(action.name for action in bpy.data.actions) == ["Parley Face", "Parley Head"]
    assert len(compat.fcurves(stage.head.keys)) == 3 and len(compat.fcurves(stage.head.empty)) == 6


def test_a_full_turn_makes_no_jump(stage: Stage) -> None:
    pose = np.zeros((40, 6), np.float32)
    pose[:, 2] = np.angle(np.exp(1j * np.linspace(2, 5, 40)))
    act = Performance(np.arange(40) / 25, np.zeros((40, 3), np.float32), list(stage.model.names), pose, {})
    keyframes.write(stage.head, act, FrameClock(60))
    curve = [c for c in compat.fcurves(stage.head.empty) if c.data_path == "rotation_euler"][1]
    values = np.array([point.co[1] for point in curve.keyframe_points])
    assert np.abs(np.diff(values)).max() < 0.1


def test_a_minute_of_52_curves_is_written_at_once(stage: Stage) -> None:
    names = [f"shape{i}" for i in range(52)]
    for name in names:
        stage.head.mesh.shape_key_add(name=name, from_mix=False)
    act = Performance(np.arange(1800) / 30, np.random.default_rng(0).random((1800, 52), np.float32), names,
                      np.zeros((1800, 6), np.float32), {})
    began = time.process_time()
    keyframes.write(stage.head, act, FrameClock(30))
    # The goal is 0.2 s; twice that is forgiven to a busy machine.
    assert time.process_time() - began < 0.4


@pytest.mark.parametrize("window", [None, (70.5, 20.0, 190.0, 190.0), (-30.0, 15.25, 400.0, 400.0)])
def test_cameras_project_like_a_pinhole(stage: Stage, window: camera.Window | None) -> None:
    size, focal = stage.person.size, float(stage.person.focal)
    view = camera.add("View", focal, size, stage.head.origin, window)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = (320, 240) if window is None else (256, 256)
    bpy.context.view_layer.update()
    points = poses.to_camera(stage.model.mean_shape, np.array([0.1, 0.3, 0.05, 0.02, -0.01, 0.8]))
    x, y, width, height = window or (0, 0, 320, 240)
    wanted = (poses.project(points, focal, size) - [x, y]) * [scene.render.resolution_x / width,
                                                             scene.render.resolution_y / height]
    world = space.to_blender(points - stage.head.origin)
    got = np.array([world_to_camera_view(scene, view, Vector(point)) for point in world.tolist()])[:, :2]
    got = np.stack([got[:, 0] * scene.render.resolution_x, (1 - got[:, 1]) * scene.render.resolution_y], 1)
    assert np.abs(got - wanted).max() < 0.05


def test_another_models_character_is_refused(stage: Stage) -> None:
    person = replace(stage.person, neutral_shape=stage.person.neutral_shape[:-1])
    with pytest.raises(ArtefactError, match="another face model"):
        rig.build(stage.model, person, None, np.zeros(6))


def test_a_head_is_found_by_its_mesh_or_empty_only(stage: Stage) -> None:
    assert rig.find(stage.head.mesh) == rig.find(stage.head.empty) == stage.head
    with pytest.raises(UserInputError, match="No Parley head"):
        rig.find(bpy.data.objects["Parley Neck"])
