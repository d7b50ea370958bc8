"""What a head wears when it stands in for nobody: studio materials, hair, lashes; all others wear none of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import camera, hair, keyframes, materials, render, rig, scene, studio  # noqa: E402
from addon.core import character, face_model, job, look  # noqa: E402
from addon.core import hair as locks  # noqa: E402
from addon.core.errors import ArtefactError  # noqa: E402
from addon.core.npz import save_npz  # noqa: E402
from ml_backend.face_model.look import hairstyles  # noqa: E402
from tests import fixtures  # noqa: E402
from tests.bpy.conftest import Stage, evaluated  # noqa: E402

HEAD = Path(__file__).parents[2] / "blender_assets" / "head" / "parley_head.npz"
EVEN = np.zeros((9, 3), np.float32)
EVEN[0] = (0.90, 0.85, 0.80)


def small_wig(model: face_model.FaceModel, lash: int) -> dict[str, np.ndarray]:
    """Two locks of the style "tuft" on the crown and one lash on vertex `lash`, as arrays of the hair file."""
    crown = int(np.argmin(model.mean_shape[:, 1]))
    roots = np.array([crown, crown, lash])
    way = np.array([[0, 0, 0], [0.002, -0.004, 0], [0.004, -0.008, -0.004]])
    points = model.mean_shape[roots][:, None] + way * np.array([1, -1, 1])[:, None, None]
    return {"styles": np.array(["tuft", locks.LASHES]), "starts": np.array([0, 2, 3], np.int32),
            "points": np.round(points / locks.UNIT).astype(np.int16), "anchors": np.repeat(roots[:, None], 3, 1),
            "weights": np.tile([1.0, 0, 0], (3, 1)).astype(np.float16), "widths": np.full(3, 0.002, np.float16),
            "tones": np.ones(3, np.float16), "outward": np.tile(np.array([0, 0, -127], np.int8), (3, 3, 1))}


@pytest.fixture
def worn(stage: Stage, tmp_path: Path) -> look.Look:
    lash = int(np.argmax(np.linalg.norm(stage.model.expression_basis[2], axis=1)))
    save_npz(tmp_path / "small_hair.npz", locks.SCHEMA, locks.VERSION, small_wig(stage.model, lash))
    return look.beside(tmp_path / "anything.npz", stage.model)


def build(stage: Stage, person: character.Character, worn: look.Look | None) -> rig.Head:
    """The stage's head once more, in an empty file."""
    scene.empty_file()
    return rig.build(stage.model, person, None, person.pose_mean.astype(float), worn)


def groups(head: rig.Head) -> set[str]:
    """Names of the node groups in the head's materials."""
    nodes = [node for material in head.mesh.data.materials for node in material.node_tree.nodes]
    return {node.node_tree.name for node in nodes if node.type == "GROUP"}


def test_only_a_head_with_a_look_gets_studio_materials(stage: Stage, worn: look.Look) -> None:
    assert groups(stage.head) == {materials.GROUP_NAME} and not hair.of(stage.head.empty)
    head = build(stage, replace(stage.person, hair=np.array("tuft")), worn)
    assert groups(head) == {studio.GROUP_NAME}
    assert [slot.name for slot in head.mesh.data.materials] == ["Parley skin", "Parley teeth"]
    assert [node for node in bpy.data.node_groups[studio.GROUP_NAME].nodes if node.name == "gamma8"], "no light to edit"


def test_hair_hangs_on_the_head(stage: Stage, worn: look.Look) -> None:
    moved = stage.model.mean_shape + np.float32([0, -0.02, 0])
    head = build(stage, replace(stage.person, hair=np.array("tuft"), neutral_shape=moved), worn)
    tuft = bpy.data.objects[hair.NAME]
    assert set(hair.of(head.empty)) == {tuft, bpy.data.objects[hair.LASHES_NAME]}
    assert rig.find(tuft).mesh == rig.find(bpy.data.objects[hair.LASHES_NAME]).mesh == head.mesh
    top = max(vertex.co.z for vertex in tuft.data.vertices)
    assert top == pytest.approx(-moved[:, 1].min() + 0.008, abs=2e-3)
    rig.show_face_only(head, True)
    assert tuft.hide_render and tuft.hide_viewport
    rig.show_face_only(head, False)
    assert not tuft.hide_render
    bald = build(stage, replace(stage.person, hair=np.array("")), worn)
    assert [item.name for item in hair.of(bald.empty)] == [hair.LASHES_NAME]


def test_lashes_follow_the_lid(stage: Stage, worn: look.Look) -> None:
    head = build(stage, stage.person, worn)
    lashes = bpy.data.objects[hair.LASHES_NAME]
    assert {key.name for key in lashes.data.shape_keys.key_blocks} == {"Basis", "eyeBlinkLeft"}
    open_ = evaluated(lashes)
    head.keys.key_blocks["eyeBlinkLeft"].value = 1.0
    shut = evaluated(lashes)
    wanted = float(np.abs(stage.model.expression_basis[2]).max())
    assert (open_ - shut)[:2, 2].mean() == pytest.approx(wanted, rel=0.1)
    assert np.ptp(np.linalg.norm(open_ - shut, axis=1)) > 1e-5, "the lash does not turn"


def test_an_even_light_changes_no_colour(stage: Stage, tmp_path: Path) -> None:
    person = replace(stage.person, light=EVEN)
    seen = []
    for worn in (None, look.Look()):
        head = build(stage, person, worn)
        bpy.context.scene.camera = camera.add("View", float(person.focal), person.size, head.origin)
        render.configure(bpy.context.scene, "eevee", (64, 48), 1)
        keyframes.write_samples(head, stage.act, np.arange(len(stage.act)) + 1)
        folder = tmp_path / str(worn is None)
        render.frames(bpy.context.scene, [0], folder, lambda *_: None)
        seen.append(render.read(folder / "000000.png")[20:28, 28:36, :3])
    assert seen[0].mean() > 0.2
    assert np.abs(seen[0] - seen[1]).max() * 255 < 3  # what is left is the sheen


def test_light_reaches_a_tongue_that_is_put_out(stage: Stage, worn: look.Look) -> None:
    model = replace(stage.model, material_names=np.array(["skin", "tongue"]))
    head = rig.build(model, stage.person, None, stage.person.pose_mean.astype(float), worn)
    tree = next(slot for slot in head.mesh.data.materials if "tongue" in slot.name).node_tree
    shade = next(node for node in tree.nodes if node.type == "GROUP").inputs["Shade"].links[0].from_node
    assert shade.operation == "MAXIMUM"
    ramp = next(node for node in tree.nodes if node.type == "MAP_RANGE").inputs
    lips = stage.person.neutral_shape[model.region("lips") > 0.5, 2].min()
    assert ramp["From Min"].default_value == pytest.approx(lips, abs=1e-6)
    assert ramp["To Min"].default_value > 0.9 and ramp["To Max"].default_value == 0


def test_over_plates_nothing_is_worn(tmp_files: fixtures.Files) -> None:
    paths = {"face_model": str(tmp_files.face_model), "character": str(tmp_files.character),
             "performance": str(tmp_files.performance), "output": "frames"}
    assert scene.read(job.parse(paths)).worn == look.Look()
    assert scene.read(job.parse({**paths, "plates": str(tmp_files.plates)})).worn is None
    assert scene.read(job.parse({**paths, "face_only": True})).worn is None


def test_the_built_in_head_has_hair_and_detail() -> None:
    model = face_model.load(HEAD)
    worn = look.beside(HEAD, model)
    assert worn.detail is not None and worn.wig is not None
    assert worn.wig.names == hairstyles(HEAD) == ["crop", "short", "bob", "tied"]
    for style in worn.wig.names:
        drawn = locks.ribbons(worn.wig, style, np.zeros_like(model.mean_shape))
        assert np.isfinite(drawn.points).all() and drawn.faces.max() < len(drawn.points)
        hidden = (np.abs(drawn.points[:, 0]) < 0.05) & (drawn.points[:, 2] < 0) & (drawn.points[:, 1] > -0.06)
        assert not hidden.any(), "hair hangs into the face"
    assert str(character.average(model).hair) in worn.wig.names


def test_hair_of_another_head_is_refused(stage: Stage, tmp_path: Path) -> None:
    arrays = small_wig(stage.model, 3)
    save_npz(tmp_path / "hair.npz", locks.SCHEMA, locks.VERSION, arrays | {"anchors": arrays["anchors"] + 9999})
    with pytest.raises(ArtefactError, match="another head"):
        locks.load(tmp_path / "hair.npz", len(stage.model.mean_shape))
    save_npz(tmp_path / "hair.npz", locks.SCHEMA, locks.VERSION, arrays | {"widths": np.ones(7)})
    with pytest.raises(ArtefactError, match="widths"):
        locks.load(tmp_path / "hair.npz", len(stage.model.mean_shape))
