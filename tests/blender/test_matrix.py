"""The zip, installed and used in every Blender that is found, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blender import matrix

REAL = ("root", "program")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matrix.zipped(tmp_path_factory.mktemp("zip"))


@pytest.mark.parametrize("target", matrix.found() or [None], ids=str)
def test_the_zip_is_installed_and_animates(target: matrix.Target | None, archive: Path) -> None:
    if target is None:
        pytest.skip("no Blender was found; tests/blender/root.sh makes one")
    facts = matrix.run(target, archive)
    assert "failed" not in facts, (facts["failed"], facts.get("output"))
    assert set(matrix.STEPS) <= set(facts["steps"])
    if target.kind in REAL:
        assert facts["validated"], "blender --command extension validate refuses the zip"


def test_a_step_that_fails_is_told(archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(archive.read_bytes()[:5000])
    target = next((one for one in matrix.found() if one.kind == "module"), None)
    if target is None:
        pytest.skip("no bpy module")
    assert matrix.run(target, broken)["failed"].startswith("install: ")


def test_the_table_keeps_what_was_not_run_now() -> None:
    facts = {"what": "module bpy", "validated": None, "blender": "5.0.1", "python": "3.11", "numpy": "1.26",
             "steps": {name: {"said": name.upper()} for name in matrix.STEPS}}
    old = f"a\n{matrix.BEGIN}\n{matrix.TITLE}| 4.10.2 LTS | x |\n| 5.0.1 | old |\n{matrix.END}\nb\n"
    new = matrix.merged(old, [matrix.row(facts)])
    assert "| 4.10.2 LTS | x |\n| 5.0.1 | 3.11 | 1.26 | `bpy` module | INSTALL | ADD_HEAD | ANIMATE | REOPEN |\n" in new
    assert "old" not in new and new.startswith("a\n") and new.endswith("\nb\n")
    assert matrix.merged(new, []) == new
