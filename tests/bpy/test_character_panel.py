"""The Character panel: the user's face models are found and built, random people made, faults said in a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import rig, scene  # noqa: E402
from addon.core import stored_models  # noqa: E402
from addon.features.character import properties  # noqa: E402
from tests import fixtures  # noqa: E402


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of face models, with nothing in it."""
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "Daten äöü"))
    folder = tmp_path / "Daten äöü" / "face_models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def registered(kept: Path):
    scene.empty_file()
    addon.register()
    yield bpy.context.scene.parley_character
    addon.unregister()


def names() -> list[str]:
    return [item[0] for item in properties.face_models(None, None)]


def test_the_choice_follows_the_folder(registered, kept: Path, files: fixtures.Files) -> None:
    assert registered.face_model == "parley" and names() == ["parley"]
    shutil.copy(files.face_model, kept / "mine.npz")
    (kept / "mine.json").write_text(json.dumps({"kind": "BFM front", "vertices": 425}))
    (kept / ".half.npz.part").write_bytes(b"x")
    assert names() == ["parley", "mine"]
    assert properties.face_models(None, None)[1][2] == "BFM front, 425 vertices"
    registered.face_model = "mine"
    shutil.copy(files.face_model, kept / "another.npz")
    (kept / "another.json").write_text("[broken")
    assert names() == ["parley", "another", "mine"] and registered.face_model == "mine"
    assert properties.face_models(None, None)[1][2] == "Family unknown"
    with pytest.raises(TypeError):
        registered.face_model = "nobody"


def test_a_head_of_the_chosen_model(registered, kept: Path, files: fixtures.Files) -> None:
    shutil.copy(files.face_model, kept / "mine.npz")
    registered.face_model = "mine"
    assert bpy.ops.parley.add_head() == {"FINISHED"}
    assert set(rig.find(bpy.context.object).keys.key_blocks.keys()) >= set(fixtures.EXPRESSIONS)
    assert bpy.ops.parley.add_head(face_model="parley") == {"FINISHED"}
    assert "mouthPucker" in rig.find(bpy.context.object).keys.key_blocks
    (kept / "mine.npz").write_bytes(b"no longer a model")
    with pytest.raises(RuntimeError, match=r"mine\.npz can't be read"):
        bpy.ops.parley.add_head()
    (kept / "mine.npz").unlink()
    with pytest.raises(RuntimeError, match=r"no face model mine in .*parley face add mine FILE"):
        bpy.ops.parley.add_head(face_model="mine")
    with pytest.raises(RuntimeError, match="no longer in"):
        bpy.ops.parley.add_head()
    registered.face_model = "parley"
    assert bpy.ops.parley.add_head() == {"FINISHED"}


def test_random_people(registered, kept: Path, files: fixtures.Files) -> None:
    shapes = []
    for seed in (3, 3, 4):
        assert bpy.ops.parley.add_person(seed=seed) == {"FINISHED"}
        mesh = rig.find(bpy.context.object).mesh.data
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        shapes.append(points)
    np.testing.assert_array_equal(shapes[0], shapes[1])
    assert 0.0005 < np.abs(shapes[0] - shapes[2]).mean() < 0.02
    shutil.copy(files.face_model, kept / "mine.npz")
    registered.face_model = "mine"
    count = len(bpy.data.objects)
    with pytest.raises(RuntimeError, match="no statistics of people"):
        bpy.ops.parley.add_person(seed=1)
    assert len(bpy.data.objects) == count


def test_a_folder_that_is_not_there(registered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "none"))
    assert stored_models.stored() == [] and names() == ["parley"]
    assert bpy.ops.parley.add_head() == {"FINISHED"}


def test_settings_go_with_the_add_on(kept: Path) -> None:
    addon.register()
    addon.unregister()
    assert not hasattr(bpy.types.Scene, "parley_character")
