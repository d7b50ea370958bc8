"""The extension: registers, its operators work and fail in words, its manifest agrees with the project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import rig, scene  # noqa: E402
from tests import fixtures  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registered():
    scene.empty_file()
    addon.register()
    yield
    addon.unregister()


def test_a_head_is_added_and_keyed(registered: None, files: fixtures.Files) -> None:
    assert bpy.ops.parley.import_head(filepath=str(files.character), face_model_path=str(files.face_model)) == {
        "FINISHED"
    }
    head = rig.find(bpy.context.object)
    assert bpy.ops.parley.load_performance(filepath=str(files.performance)) == {"FINISHED"}
    bpy.context.scene.frame_set(6)
    assert head.keys.key_blocks["jawOpen"].value > 0.8


def test_the_built_in_head_is_added_without_a_character(registered: None) -> None:
    assert bpy.ops.parley.add_head() == {"FINISHED"}
    head = rig.find(bpy.context.object)
    assert len(head.keys.key_blocks) == 54 and "jawOpen" in head.keys.key_blocks  # the basis, 52, the tongue's path
    # The light in the mouth follows the jaw, by a driver that needs no Python.
    for jaw, share in ((0.0, 0.25), (0.2, 0.65), (1.0, 1.0)):
        head.keys.key_blocks["jawOpen"].value = jaw
        shown = head.mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
        assert shown["parley_opening"] == pytest.approx(share, abs=1e-5)
    assert head.mesh.animation_data.drivers[0].driver.is_simple_expression


def test_a_wrong_file_is_reported_in_words(registered: None, files: fixtures.Files) -> None:
    with pytest.raises(RuntimeError, match=r"parley\.face_model"):
        bpy.ops.parley.import_head(filepath=str(files.character), face_model_path=str(files.performance))
    with pytest.raises(RuntimeError, match="another face model"):
        bpy.ops.parley.import_head(filepath=str(files.character))
    assert not bpy.data.objects


def test_registering_twice_in_a_row_works() -> None:
    for _ in range(2):
        addon.register()
        assert "add_head" in dir(bpy.ops.parley)
        addon.unregister()


def test_the_zips_manifest_is_stamped_with_the_version(tmp_path: Path) -> None:
    import build_addon
    from ml_backend import __version__

    tree = build_addon.copy_tree(tmp_path / "parley")
    manifest = build_addon.manifest(tree)
    assert (manifest["id"], manifest["version"]) == ("parley", __version__) and not build_addon.check(tree)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project and not [path for path in tree.rglob("*") if path.name == "__pycache__"]
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"] and manifest["blender_version_min"] == "4.2.0"


def test_a_manifest_that_blender_would_refuse_is_not_built(tmp_path: Path) -> None:
    import build_addon

    tree = build_addon.copy_tree(tmp_path / "parley")
    path = tree / "blender_manifest.toml"
    text = path.read_text(encoding="utf-8")
    for old, new in (("and editable", "and editable."), ("SPDX:", ""), ('id = "parley"', "")):
        text = text.replace(old, new)
    path.write_text(text.replace("Read speech", "Read speech " + "and more " * 9), encoding="utf-8")
    (tree / "more.py").write_text("import ml_backend.cli\n", encoding="utf-8")
    found = " ".join(build_addon.check(tree))
    for words in ("lacks id", "tagline is longer", "files is longer", "no SPDX", "imports ml_backend.cli absolutely"):
        assert words in found


def test_the_zip_brings_the_backend_along(tmp_path: Path) -> None:
    import zipfile

    import build_addon

    tree = tmp_path / "parley"
    if not build_addon.add_wheel(tree, tmp_path / "source"):
        pytest.skip("pip can't build wheels here")
    wheel, = (tree / "assets").glob("parley-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"ml_backend/cli.py", "addon/bl/child.py", "blender_assets/head/parley_head.npz",
            "blender_assets/models/refiner.safetensors"} <= held
    assert not [name for name in held if name.startswith("tests/")]
