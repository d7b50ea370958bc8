"""The backend's side of the child process, with small fake children in place of Blender."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from ml_backend import blender as blender_module
from ml_backend.blender import Blender, child_script, find_blender, parse_line, run_job
from ml_backend.errors import Cancelled, DependencyError, StageError, UserInputError

TALKATIVE = """
import json, sys
job = json.load(open(sys.argv[1]))
print("Blender 9.9 says hello")
for done in range(1, 4):
    print(json.dumps({"type": "progress", "stage": "render", "done": done, "total": 3}), flush=True)
print('{"broken json')
print(json.dumps({"type": "warning", "text": "no screen"}))
print(json.dumps({"type": "result", "frames": job["count"]}))
"""
FAILING = 'print(\'{"type": "error", "text": "no such engine"}\')'
DYING = "import sys; sys.exit(3)"
HANGING = """
import json, os, sys, time
job = json.load(open(sys.argv[1]))
open(job["pid"], "w").write(str(os.getpid()))
print(json.dumps({"type": "progress", "stage": "render", "done": 1, "total": 9}), flush=True)
time.sleep(60)
"""


def run(tmp_path: Path, code: str, job: dict, **options) -> dict:
    script = tmp_path / "child.py"
    script.write_text(code)
    blender = Blender((sys.executable, str(script)))
    return run_job(blender, job, tmp_path / "jobs" / "job.json", tmp_path / "logs" / "job.log", **options)


def test_progress_warnings_and_the_result_arrive_and_chatter_is_logged(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    warnings: list[str] = []
    result = run(tmp_path, TALKATIVE, {"count": 7}, progress=lambda *step: steps.append(step), warn=warnings.append)
    assert result["frames"] == 7
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert warnings == ["no screen"]
    assert "says hello" in (tmp_path / "logs" / "job.log").read_text()


@pytest.mark.parametrize(("code", "text"), [(FAILING, "no such engine"), (DYING, "code 3")])
def test_a_failing_child_is_one_sentence(tmp_path: Path, code: str, text: str) -> None:
    with pytest.raises(StageError, match=text):
        run(tmp_path, code, {})


def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    def cancel(done: int, total: int) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(tmp_path, HANGING, {"pid": str(tmp_path / "pid")}, progress=cancel)
    process = Path("/proc") / (tmp_path / "pid").read_text()
    time.sleep(0.1)
    assert not process.exists()


def test_a_missing_blender_says_how_to_get_one() -> None:
    with pytest.raises(DependencyError, match=r"parley\[blender\]"):
        find_blender("/nowhere/blender")


def test_the_add_on_is_found_without_importing_it() -> None:
    assert child_script().is_file()
    assert "addon.bl" not in sys.modules or "bpy" in sys.modules


@pytest.mark.parametrize("line", ["Fra:1 Mem:20M", "{not json", '["type"]', "{}"])
def test_chatter_is_no_message(line: str) -> None:
    assert parse_line(line) is None


def program(path: Path, words: str) -> str:
    path.write_text(f"#!/bin/sh\necho '{words}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs /bin/sh")
@pytest.mark.parametrize(("words", "text"), [("cat 9.1", "is no Blender"), ("Blender 3.6.1", r"3\.6, which is too")])
def test_another_program_and_an_old_blender_are_refused(tmp_path: Path, words: str, text: str) -> None:
    with pytest.raises(DependencyError, match=text):
        find_blender(program(tmp_path / "thing", words))


@pytest.mark.skipif(sys.platform == "win32", reason="needs /bin/sh")
def test_a_blender_is_accepted(tmp_path: Path) -> None:
    path = program(tmp_path / "blender", "Blender 4.5.1 LTS")
    assert find_blender(path).command[0] == path


def test_a_failure_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 4096

    monkeypatch.setattr(blender_module.shutil, "disk_usage", lambda place: Full)
    with pytest.raises(UserInputError, match="is full; free some space"):
        run(tmp_path, FAILING, {"output": str(tmp_path / "frames" / "rgba")})


def test_no_bpy_and_no_blender_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    find = blender_module.importlib.util.find_spec
    monkeypatch.setattr(blender_module.importlib.util, "find_spec", lambda name: None if name == "bpy" else find(name))
    monkeypatch.setattr(blender_module.shutil, "which", lambda name: None)
    monkeypatch.delenv("PARLEY_BLENDER", raising=False)
    with pytest.raises(DependencyError, match="Blender is missing; install it"):
        find_blender(None)
