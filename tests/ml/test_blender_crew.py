"""Blender processes that stay: each started once, sharing long jobs, with small fake children in place of Blender."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from ml_backend import blender_crew
from ml_backend.blender import Blender
from ml_backend.blender_crew import FRAMES_EACH, Crew
from ml_backend.errors import Cancelled, StageError

CHILD = """
import json, os, sys, time
assert sys.argv[1] == "--serve"
def say(**message):
    print(json.dumps(message), flush=True)
for path in iter(sys.stdin.readline, ""):
    job = json.load(open(path.strip()))
    if job.get("die"):
        os._exit(7)
    if job.get("fail"):
        say(type="error", kind="X", text="no such thing")
        continue
    part, parts = job.get("share", [0, 1])
    mine = range(part, job["count"], parts)
    say(type="progress", stage="build", done=1, total=1)
    for done, index in enumerate(mine, 1):
        open(os.path.join(job["output"], f"{index}.png"), "w").write(str(os.getpid()))
        say(type="progress", stage="render", done=done, total=len(mine))
    time.sleep(job.get("sleep", 0))
    say(type="result", rendered=len(mine), engine="E")
"""


@pytest.fixture
def crew(tmp_path: Path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    made = Crew(Blender((sys.executable, str(script))), tmp_path / "jobs", tmp_path / "logs" / "b.log", processes=2)
    yield made
    made.close()


def job(folder: Path, count: int, **more: object) -> dict:
    folder.mkdir(exist_ok=True)
    return {"output": str(folder), "count": count, **more}


def test_a_long_job_is_shared_and_nobody_is_started_twice(crew: Crew, tmp_path: Path) -> None:
    count = 2 * FRAMES_EACH
    steps: list[tuple[int, int]] = []
    done = crew.run(job(tmp_path / "out", count), "frames", frames=count, progress=lambda *step: steps.append(step))
    assert done["rendered"] == count and done["processes"] == 2
    assert steps[-1] == (count, count) and [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert len({path.read_text() for path in (tmp_path / "out").iterdir()}) == 2
    crew.run(job(tmp_path / "out", count), "again", frames=count)
    crew.run(job(tmp_path / "out", 3), "short", frames=3)
    assert crew.started == 2
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == [
        "again_1.json", "again_2.json", "frames_1.json", "frames_2.json", "short.json"]
    assert "share" not in json.loads((tmp_path / "jobs" / "short.json").read_text())


def test_half_written_frames_of_a_killed_run_are_swept_up(crew: Crew, tmp_path: Path) -> None:
    left = tmp_path / "out" / ".rendering123"
    left.mkdir(parents=True)
    (left / "000001.png").write_text("half")
    crew.run(job(tmp_path / "out", 1), "frames", frames=1)
    assert not left.exists()


@pytest.mark.parametrize(("how", "text"), [("fail", "no such thing"), ("die", "code 7")])
def test_a_failure_is_one_sentence_and_the_next_job_finds_a_new_process(crew: Crew, tmp_path: Path, how: str,
                                                                       text: str) -> None:
    with pytest.raises(StageError, match=text):
        crew.run(job(tmp_path / "out", 3, **{how: True}), "bad", frames=3)
    assert crew.run(job(tmp_path / "out", 3), "good", frames=3)["rendered"] == 3
    assert crew.started == 2


def test_cancelling_ends_all(crew: Crew, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled("stop")

    count = 2 * FRAMES_EACH
    with pytest.raises(Cancelled):
        crew.run(job(tmp_path / "out", count, sleep=60), "frames", frames=count, progress=stop)
    # A worker that was stopped between creating its file and writing into it leaves it empty.
    pids = {path.read_text() for path in (tmp_path / "out").iterdir()} - {""}
    time.sleep(0.1)
    assert pids and not [pid for pid in pids if (Path("/proc") / pid).exists()]


def test_a_small_machine_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blender_crew, "_free_memory", lambda: 1e9)
    assert blender_crew.sensible_processes() == 1
    monkeypatch.setattr(blender_crew, "_free_memory", lambda: 1e12)
    assert 1 <= blender_crew.sensible_processes() <= blender_crew.MOST
