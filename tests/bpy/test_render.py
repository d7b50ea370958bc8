"""Pictures: values pass through, the light is the backend's, the child renders, resumes and saves."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import camera, keyframes, materials, render, rig, workbench  # noqa: E402
from addon.bl import plates as backgrounds  # noqa: E402
from addon.core import pose as poses  # noqa: E402
from addon.core import protocol, shading  # noqa: E402
from addon.core.errors import RenderError  # noqa: E402
from tests import fixtures  # noqa: E402
from tests.bpy.conftest import Stage  # noqa: E402

CHILD = Path(__file__).parents[2] / "addon" / "bl" / "child.py"


def quiet(*_: object) -> None:
    """Progress to nobody."""


def look(stage: Stage, folder: Path, engine: str, sample: int, face_only: bool = False) -> np.ndarray:
    """The picture of `sample`, float RGBA, at the frame's own size."""
    view = camera.add("View", float(stage.person.focal), stage.person.size, stage.head.origin)
    scene = bpy.context.scene
    scene.camera = view
    render.configure(scene, engine, (320, 240), 1)
    keyframes.write_samples(stage.head, stage.act, np.arange(len(stage.act)) + 1)
    rig.show_face_only(stage.head, face_only)
    materials.set_feather(stage.head.mesh.data, face_only)
    if engine == "eevee":
        render.frames(scene, [sample], folder, quiet)
    else:
        shader = workbench.Shader(stage.head, stage.model, stage.person, stage.act, False, face_only, None)
        workbench.frames(scene, shader, [sample], folder, quiet)
    return render.read(folder / f"{sample:06d}.png")


def expected(stage: Stage, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) and colours (N, 3) of skin vertices that look at the camera."""
    shape = stage.person.neutral_shape + np.tensordot(stage.act.expression[sample], stage.model.expression_basis, 1)
    corners, angles = shading.triangles(stage.model.faces), stage.act.pose[sample, :3]
    colour = shading.irradiance(shape, corners, angles, stage.person.light) * stage.person.low_albedo
    normal = shading.vertex_normals(shape, corners) @ poses.rotation_matrix(angles).T
    clear = (normal[:, 2] < -0.75) & (np.abs(shape[:, 1]) < 0.055)
    points = poses.to_camera(shape[clear], stage.act.pose[sample])
    return poses.project(points, float(stage.person.focal), stage.person.size), colour[clear]


@pytest.mark.parametrize("engine", ["eevee", "workbench"])
def test_the_rendered_light_is_the_formula(stage: Stage, tmp_path: Path, engine: str) -> None:
    picture = look(stage, tmp_path, engine, 4)
    pixels, colours = expected(stage, 4)
    x, y = np.floor(pixels).astype(int).T
    assert len(pixels) > 20 and (picture[y, x, 3] == 1).all()
    error = np.abs(picture[y, x, :3] - np.clip(colours, 0, 1)) * 255
    # Blender weights normals by angle, the formula by area: that shows where a mesh as coarse as this one bends.
    assert np.percentile(error, 90) < 3 and error.max() < 10


@pytest.mark.parametrize("engine", ["eevee", "workbench"])
def test_face_only_fades_with_the_region_and_keeps_its_colour(stage: Stage, tmp_path: Path, engine: str) -> None:
    whole = look(stage, tmp_path / "whole", engine, 2)
    face = look(stage, tmp_path / "face", engine, 2, face_only=True)
    soft = (face[..., 3] > 0.2) & (face[..., 3] < 0.9)
    assert soft.sum() > 50
    inside = face[..., 3] > 0.4
    assert np.abs(face[..., :3] - whole[..., :3])[inside].max() * 255 < 4
    assert (face[..., 3] > 0).sum() < (whole[..., 3] > 0).sum()


def test_values_pass_through_eevee(stage: Stage, tmp_path: Path) -> None:
    stage.head.mesh.hide_render = True
    scene = bpy.context.scene
    scene.camera = camera.add("View", 10.0, np.array([8, 8]), np.zeros(3))
    values = np.array([[0, 1, 17], [64, 100, 128], [200, 254, 255]])
    material, socket = materials.emitter("patch")
    backgrounds.plane("patch", scene.camera, material, (-9, 9), (-9, 9), 1.0)
    render.configure(scene, "eevee", (8, 8), 1)
    for index, value in enumerate(values):
        socket.default_value = (*(value / 255), 1)
        render.frames(scene, [index], tmp_path, quiet)
        seen = render.read(tmp_path / f"{index:06d}.png")[4, 4] * 255
        assert np.abs(seen[:3] - value).max() <= 1 and seen[3] == 255


def test_progress_can_stop_a_run_and_a_second_run_resumes(stage: Stage, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_at_two(done: int, total: int) -> None:
        if done == 2:
            raise Stop

    look(stage, tmp_path, "eevee", 0)
    scene = bpy.context.scene
    with pytest.raises(Stop):
        render.frames(scene, [0, 1, 3, 4], tmp_path, stop_at_two)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png"]
    seen: list[tuple[int, int]] = []
    assert render.frames(scene, [0, 1, 3, 4], tmp_path, lambda done, total: seen.append((done, total))) == 2
    assert seen == [(2, 4), (3, 4), (4, 4)]
    assert len(list(tmp_path.iterdir())) == 4
    first = (tmp_path / "000003.png").read_bytes()
    (tmp_path / "000003.png").unlink()
    render.frames(scene, [0, 1, 3, 4], tmp_path, quiet)
    assert (tmp_path / "000003.png").read_bytes() == first, "equal pictures are equal files"
    assert not [word for word in (b"tEXtDate", b"tEXtRenderTime", b"tEXtFile") if word in first]


def test_an_empty_picture_falls_back_and_then_fails_in_words(stage: Stage) -> None:
    stage.head.mesh.hide_render = True
    scene = bpy.context.scene
    scene.camera = camera.add("View", 500.0, np.array([320, 240]), stage.head.origin)
    render.configure(scene, "eevee", (32, 32), 1)
    warnings: list[str] = []
    with pytest.raises(RenderError, match="empty"):
        render.probe(scene, 1, warnings.append)
    assert "Workbench" in warnings[0]
    stage.head.mesh.hide_render = False
    render.probe(scene, 1, warnings.append)
    assert len(warnings) == 1 and scene.render.resolution_x == 32


def test_stretches_of_frames() -> None:
    assert render.runs([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)] and render.runs([]) == []
    assert render.runs(list(range(23))) == [(0, 9), (10, 19), (20, 22)]


def child(folder: Path, **settings: object) -> tuple[int, list[dict]]:
    """Run the child on a job; its exit code and messages."""
    files = fixtures.write(folder)
    job = {"schema": "parley.job", "version": 1, "face_model": str(files.face_model), "samples": 1, "size": 64,
           "character": str(files.character), "performance": str(files.performance), **settings}
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    done = subprocess.run([sys.executable, str(CHILD), str(path)], capture_output=True, text=True, check=False,
                          cwd=folder)
    messages = [protocol.decode(line) for line in done.stdout.splitlines()]
    assert all(messages), done.stdout
    return done.returncode, [message for message in messages if message]


def test_the_child_renders_and_saves_a_scene_that_opens(tmp_path: Path) -> None:
    folder = tmp_path / "ein Täke"
    folder.mkdir()
    with wave.open(str(folder / "speech.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(b"\0\1" * 4000)
    for index in range(4):
        workbench.write(np.full((24, 32, 4), (index / 4, 0.5, 0.5, 1), np.float32), folder / f"{index:06d}.png")
    code, messages = child(folder, plates=str(folder / "plates.json"), plate_pattern=str(folder / "%06d.png"),
                           speech=str(folder / "speech.wav"), frames=[0, 5], output=str(folder / "out"),
                           scene=str(folder / "scene.blend"), face_only=True, fps=50)
    assert code == 0 and messages[-1]["type"] == "result", messages
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["000000.png", "000005.png"]
    assert not list(folder.glob(".*"))
    (folder / "scene_files").rename(tmp_path / "scene_files")
    (folder / "scene.blend").rename(tmp_path / "scene.blend")
    check_scene(tmp_path / "scene.blend")


def check_scene(path: Path) -> None:
    """Open the file, moved with its folder, and look for everything that an animator expects."""
    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    head = rig.find(bpy.data.objects["Parley Head"])
    assert (scene.frame_start, scene.frame_end, scene.render.fps) == (1, 11, 50)
    assert {item.name for item in scene.objects} == {"Parley Head", "Parley Face", "Parley Neck", "Parley Camera",
                                                     "Parley Plate"}
    assert head.mesh.modifiers.get(rig.MASK_NAME), "over a plate only the face is shown"
    nodes = [node for item in head.mesh.data.materials for node in item.node_tree.nodes]
    assert not [node for node in nodes if node.type == "HOLDOUT"], "a holdout would cut a hole into the plate"
    scene.frame_set(11)
    assert head.keys.key_blocks["jawOpen"].value == pytest.approx(1.0)
    assert head.empty.rotation_euler[2] == pytest.approx(-fixtures.small_plates().pose[5, 1], abs=1e-5)
    plate = bpy.data.materials["Parley Plate"].node_tree.nodes["Image Texture"].image
    assert plate.filepath.startswith("//") and Path(bpy.path.abspath(plate.filepath)).is_file()
    assert len(list((path.parent / "scene_files" / "plates").iterdir())) == 11
    assert bpy.data.sounds[0].packed_file is not None
    strip = next(iter(scene.sequence_editor.strips_all))
    assert strip.frame_final_start == 1


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    code, messages = child(tmp_path, output=str(tmp_path / "out"), frames=[99])
    assert code == 2 and messages[-1]["type"] == "error" and "99" in messages[-1]["text"]
    code, messages = child(tmp_path, output=str(tmp_path / "out"), engine="cycles")
    assert code == 2 and "cycles" in messages[-1]["text"]
