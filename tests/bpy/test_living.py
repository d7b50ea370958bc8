"""A living texture in Blender: drivers follow keys and pose as the backend has it, and pixels show what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import living, materials, rig, workbench  # noqa: E402
from addon.core import character as characters  # noqa: E402
from ml_backend.artefacts import character as backend  # noqa: E402
from tests.bpy.conftest import Stage  # noqa: E402
from tests.bpy.test_render import look  # noqa: E402

COLOUR = np.array([0.5, 0.4, 0.3])


@pytest.fixture
def alive(stage: Stage, tmp_path: Path) -> tuple[Stage, backend.Character]:
    """The small head in one colour, with a mode that takes its red as the jaw opens and one that a turn drives."""
    modes = np.full((2, 8, 8, 3), 128, np.uint8)
    modes[0, ..., 0], modes[1, ..., 2] = 255, 1
    many = [*stage.model.names[1:], *(f"missing{k}" for k in range(30))]
    names = [stage.model.names[0], "pitch", "yaw", "roll", *many]
    gains = np.zeros((2, len(names)), np.float32)
    gains[0, 0], gains[0, 4:] = -1.5, 0.0123
    gains[1, 1:4] = [0.7, 4.0, -0.3]
    living_ = {"living_modes": modes, "living_scale": np.array([0.3, 0.2], np.float32), "living_names": np.array(names),
               "living_gains": gains, "living_offset": np.array([0.25, 0.1], np.float32),
               "living_limits": np.array([[-0.9, 0.3], [-0.5, 0.6]], np.float32)}
    path = tmp_path / "character.npz"
    person = replace(backend.load(stage.files.character), detailed_albedo=np.array("sheet.png"), **living_)
    backend.save(person, path)
    cv2.imwrite(str(tmp_path / "sheet.png"), np.tile((COLOUR[::-1] * 255).round().astype(np.uint8), (8, 8, 1)))
    read = characters.load(path)
    bpy.data.objects.remove(stage.head.mesh)
    bpy.data.objects.remove(stage.head.empty)
    head = rig.build(stage.model, read, read.texture(tmp_path), read.pose_mean.astype(float))
    return replace(stage, person=read, head=head), person


def test_drivers_follow_the_keys_and_the_pose(alive: tuple[Stage, backend.Character]) -> None:
    stage, person = alive
    random = np.random.default_rng(0)
    for _ in range(4):
        expression, pose = random.uniform(0, 1, len(stage.model.names)), person.pose_mean.astype(float)
        pose[:3] = random.uniform(-0.15, 0.15, 3)
        for name, value in zip(stage.model.names, expression, strict=True):
            stage.head.keys.key_blocks[name].value = value
        rig.set_pose(stage.head, pose)
        bpy.context.view_layer.update()
        held = stage.head.mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
        got = [held[living.MODE.format(number)] for number in range(2)]
        assert np.allclose(got, person.living_weights(stage.model.names, expression, pose[:3]), atol=2e-3)
    drivers = [curve.driver for curve in stage.head.mesh.animation_data.drivers]
    assert all(driver.is_valid and len(driver.expression) < 256 for driver in drivers)


def test_a_picture_shows_the_modes(alive: tuple[Stage, backend.Character], tmp_path: Path) -> None:
    stage, person = alive
    pictures = [look(stage, tmp_path / "alive", "eevee", sample) for sample in (0, 5)]
    for sample, picture in zip((0, 5), pictures, strict=True):
        weights = person.living_scale * person.living_weights(stage.model.names, stage.act.expression[sample],
                                                              stage.act.pose[sample, :3])
        albedo = COLOUR + weights[0] * np.array([127, 0, 0]) / 255 + weights[1] * np.array([0, 0, -127]) / 255
        plain = _plain(stage, tmp_path, sample)
        inside = (picture[..., 3] == 1) & (plain[..., 3] == 1) & (plain[..., :3].min(-1) > 0.1)
        # Teeth are the texture's too, shade included; here only the skin's colour is asked for.
        ratio = np.median(picture[inside][:, :3] / plain[inside][:, :3], 0)
        assert inside.sum() > 500 and np.allclose(ratio, albedo / COLOUR, atol=0.03)
    assert abs(pictures[0] - pictures[1]).max() > 0.1


def _plain(stage: Stage, folder: Path, sample: int) -> np.ndarray:
    """The same with every mode's weight at 0."""
    for curve in list(stage.head.mesh.animation_data.drivers):
        if "parley_mode" in curve.data_path:
            stage.head.mesh.animation_data.drivers.remove(curve)
    for number in range(2):
        stage.head.mesh[living.MODE.format(number)] = 0.0
    picture = look(stage, folder / f"plain{sample}", "eevee", sample)
    living.drive(stage.head.mesh, stage.head.empty, stage.person)
    return picture


def test_every_material_shows_the_texture(alive: tuple[Stage, backend.Character], tmp_path: Path) -> None:
    stage, _ = alive
    for material in stage.head.mesh.data.materials:
        tree = material.node_tree
        assert tree.nodes.active.type == "TEX_IMAGE" and tree.nodes.active.image.filepath.endswith("sheet.png")
        assert sum(node.type == "GROUP" for node in tree.nodes) == 2
    image = bpy.data.images[living.IMAGE_NAME]
    assert image.packed_file is not None and image.colorspace_settings.name == "Non-Color"
    shader = workbench.Shader(stage.head, stage.model, stage.person, stage.act, True, False, None)
    bare = workbench.Shader(stage.head, stage.model, replace(stage.person, low_albedo=0 * stage.person.low_albedo),
                            stage.act, True, False, None)
    assert np.array_equal(shader.lit(0), bare.lit(0)) and shader.lit(0).max() > 0.1
    materials.set_feather(stage.head.mesh.data, True)
