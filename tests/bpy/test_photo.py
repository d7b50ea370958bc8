"""A photo's mesh in Blender: rigid with the head, still at the shoulders, pulled by the face, drawn as the photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import camera, photo, render, rig, scene, space  # noqa: E402
from addon.core import job as jobs  # noqa: E402
from addon.core import photo as photos  # noqa: E402
from addon.core import pose as poses  # noqa: E402
from addon.core.errors import ArtefactError, UserInputError  # noqa: E402
from ml_backend.artefacts import photo_mesh  # noqa: E402
from tests import fixtures  # noqa: E402
from tests.bpy.conftest import Stage, evaluated  # noqa: E402

SIZE, FOCAL = (320, 240), 500.0
REST = np.array([0.1, -0.15, 0.05, 0.01, 0.0, 0.8], np.float32)
WINDOW = (100, 60, 120, 100)


def write(folder: Path) -> Path:
    """A sheet over `WINDOW`, 0.9 m away, whose upper half moves: colours by place, the left quarter clear."""
    columns, rows = 13, 11
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    pixel = np.stack([WINDOW[0] + u * WINDOW[2], WINDOW[1] + v * WINDOW[3]], -1).reshape(-1, 2)
    camera_points = np.concatenate([(pixel - np.array(SIZE) / 2) / FOCAL * 0.9, np.full((len(pixel), 1), 0.9)], 1)
    index = np.arange(columns * rows).reshape(rows, columns)
    faces = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    model_points = (camera_points - REST[3:]) @ poses.rotation_matrix(REST[:3])
    texture = np.zeros((WINDOW[3], WINDOW[2], 4), np.uint8)
    texture[..., 0], texture[..., 1] = np.arange(WINDOW[2]) * 2, (np.arange(WINDOW[3]) * 2)[:, None]
    texture[:, WINDOW[2] // 4:, 3] = 255
    cv2.imwrite(str(folder / "head.png"), cv2.cvtColor(texture, cv2.COLOR_RGBA2BGRA))
    cv2.imwrite(str(folder / "plate.png"), np.full((SIZE[1], SIZE[0], 3), 50, np.uint8))
    offsets = np.zeros((1, len(pixel), 3), np.float32)
    offsets[..., 1] = 0.01
    face = fixtures.small_model().region("face")
    drawn, shade = np.where(face > 0.5, 1, 0).astype(np.float32), np.full(len(face), 0.5, np.float32)
    mesh = photo_mesh.PhotoMesh(
        model_points.astype(np.float32), np.stack([u.ravel(), 1 - v.ravel()], 1).astype(np.float32),
        faces.astype(np.int32), np.clip(2 * v.ravel() - 0.5, 0, 1).astype(np.float32), drawn, shade,
        np.array(["jawOpen"]), offsets,
        REST, np.array(WINDOW, np.int32), np.array("head.png"), np.array("plate.png"))
    photo_mesh.save(mesh, folder / "photo.npz")
    return folder / "photo.npz"


@pytest.fixture
def sheet(tmp_path: Path) -> photos.PhotoMesh:
    return photos.load(write(tmp_path))


def camera_points(item: bpy.types.Object, head: rig.Head) -> np.ndarray:
    """(N, 3) camera-space positions of the object's vertices, everything applied."""
    bpy.context.view_layer.update()
    return space.to_opencv(evaluated(item)) + head.origin


def test_at_rest_it_lies_where_the_photo_has_it_and_turned_the_shoulders_stay(stage: Stage, sheet) -> None:
    item = photo.add(stage.head, sheet, stage.person.light)
    rig.set_pose(stage.head, REST.astype(float))
    rest = poses.to_camera(sheet.vertices.astype(float), REST)
    assert np.abs(camera_points(item, stage.head) - rest).max() < 1e-5
    pose = REST + np.array([0.2, 0.3, -0.1, 0.02, 0, 0.01], np.float32)
    rig.set_pose(stage.head, pose.astype(float))
    turned = poses.to_camera(sheet.vertices.astype(float), pose)
    still = np.round(sheet.still, 3)[:, None]
    wanted = still * rest + (1 - still) * turned
    assert np.abs(camera_points(item, stage.head) - wanted).max() < 1e-4
    assert (sheet.still == 1).any()
    assert (sheet.still == 0).any()


def test_the_faces_expressions_pull_it_along(stage: Stage, sheet) -> None:
    item = photo.add(stage.head, sheet, stage.person.light)
    rig.set_pose(stage.head, REST.astype(float))
    before = camera_points(item, stage.head)
    stage.head.keys.key_blocks["jawOpen"].value = 0.5
    moved = camera_points(item, stage.head) - before
    assert np.allclose(moved, 0.005 * poses.rotation_matrix(REST[:3])[:, 1], atol=1e-5)


def test_the_photo_says_how_much_of_the_face_is_drawn_and_how_bright(stage: Stage, sheet) -> None:
    mesh = stage.head.mesh.data
    before = np.array([value.value for value in mesh.attributes["parley_shade"].data])
    photo.add(stage.head, sheet, stage.person.light)
    assert np.array([value.value for value in mesh.attributes["parley_face"].data]) == pytest.approx(sheet.drawn)
    assert np.array([value.value for value in mesh.attributes["parley_shade"].data]) == pytest.approx(before / 2)
    rig.show_face_only(stage.head, True)
    bpy.context.view_layer.update()
    assert len(evaluated(stage.head.mesh)) == int((sheet.drawn > 0).sum())
    with pytest.raises(ArtefactError, match="run the same command again"):
        rig.draw_face(stage.head, sheet.drawn[:-1], sheet.shade)


def test_light_in_the_heads_own_axes_is_the_same_light() -> None:
    rng = np.random.default_rng(3)
    light, pose = rng.normal(size=(9, 3)), np.array([0.3, -0.5, 0.2, 0, 0, 1])
    normals = rng.normal(size=(40, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    seen = poses.spherical_harmonics(normals @ poses.rotation_matrix(pose[:3]).T) @ light
    assert np.abs(poses.spherical_harmonics(normals) @ photos.turned_light(light, pose) - seen).max() < 1e-9


def test_the_window_at_rest_is_the_texture(stage: Stage, sheet, tmp_path: Path) -> None:
    photo.add(stage.head, sheet, stage.person.light)
    rig.set_pose(stage.head, REST.astype(float))
    stage.head.mesh.hide_render = True
    view = bpy.context.scene
    view.camera = camera.add("View", FOCAL, np.array(SIZE), stage.head.origin, tuple(map(float, WINDOW)))
    render.configure(view, "eevee", WINDOW[2:], 4)
    view.render.filepath = str(tmp_path / "seen.png")
    bpy.ops.render.render(write_still=True)
    seen = cv2.cvtColor(cv2.imread(str(tmp_path / "seen.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA).astype(int)
    texture = cv2.cvtColor(cv2.imread(str(sheet.texture), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA).astype(int)
    inside = (slice(2, -2), slice(WINDOW[2] // 4 + 2, -2))
    assert np.abs(seen[inside] - texture[inside]).max() <= 3
    assert seen[:, :WINDOW[2] // 4 - 2, 3].max() == 0


def job(files: fixtures.Files, path: Path, **settings) -> jobs.RenderJob:
    words = {"face_model": str(files.face_model), "character": str(files.character), "view": "photo",
             "performance": str(files.performance), "photo": str(path), "size": 60, "frames": [0, 5], **settings}
    return jobs.parse(words)


def test_a_job_renders_the_window_and_saves_a_scene_that_turns(tmp_files: fixtures.Files, tmp_path: Path) -> None:
    path = write(tmp_path)
    warned: list[str] = []
    done = scene.perform(job(tmp_files, path, output=str(tmp_path / "out")), lambda *_: None, warned.append)
    assert not warned
    assert done["rendered"] == 2
    first, last = (cv2.imread(str(tmp_path / f"out/00000{index}.png"), cv2.IMREAD_UNCHANGED) for index in (0, 5))
    assert first.shape == (50, 60, 4)
    assert np.abs(first.astype(int) - last).max() > 30
    blend = tmp_path / "scene.blend"
    scene.perform(job(tmp_files, path, scene=str(blend), view="full"), lambda *_: None, warned.append)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    item, plate = bpy.data.objects[photo.MESH_NAME], bpy.data.objects[photo.PLATE_NAME]
    assert len(item.data.vertices) == 143
    assert plate.parent.type == "CAMERA"
    head = rig.find(bpy.data.objects[rig.MESH_NAME])
    before = camera_points(item, head)
    bpy.context.scene.frame_set(6)
    assert np.abs(camera_points(item, head) - before)[photos.load(path).still == 0].max() > 0.005


def test_workbench_draws_the_face_alone_in_the_photos_pose(tmp_files: fixtures.Files, tmp_path: Path) -> None:
    path = write(tmp_path)
    settings = {"output": str(tmp_path / "out"), "engine": "workbench", "frames": [0, 1]}
    done = scene.perform(job(tmp_files, path, **settings), lambda *_: None, lambda _: None)
    assert done["engine"] == "BLENDER_WORKBENCH"
    pictures = [cv2.imread(str(tmp_path / f"out/00000{index}.png"), cv2.IMREAD_UNCHANGED) for index in (0, 1)]
    masks = [drawn[..., 3] > 128 for drawn in pictures]
    assert masks[0].any()
    assert (masks[0] != masks[1]).mean() < 0.02


def test_damage_is_named(tmp_files: fixtures.Files, tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(UserInputError, match="view of a photo"):
        job(tmp_files, path, photo=None, output="x")
    (tmp_path / "plate.png").unlink()
    with pytest.raises(UserInputError, match=r"plate.png is missing"):
        photos.load(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ArtefactError):
        photos.load(path)
