"""The job's state machine against workers of every manner: a readable error each time, and the next job works."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from addon.core.errors import UserInputError
from addon.core.jobs import Limits, Runner, State
from addon.core.worker_client import WorkerError, clean_environment, worker_command

FAKE = Path(__file__).with_name("fake_worker.py")
PATIENT, LIMITS = 20.0, Limits(start=15, silence=0.6)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path / "logs" / "worker.log", LIMITS)
    yield made
    made.close()


def command(manner: str, *more: str) -> list[str]:
    return [sys.executable, "-S", str(FAKE), manner, *more]


def begin(runner: Runner, manner: str, *more: str) -> None:
    runner.start(command(manner, *more), "animate", {"out": "ü.npz"}, "Animate")


def reach(runner: Runner, wanted: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENT
    while not wanted() and time.monotonic() < end:
        runner.tick()
        time.sleep(0.005)
    assert wanted(), (runner.state, runner.job)


def test_a_job_and_a_second_on_the_same_process(runner: Runner) -> None:
    assert runner.state is State.IDLE and not runner.busy
    begin(runner, "normal")
    assert runner.state is State.STARTING and runner.job.stage == "Starting the backend"
    with pytest.raises(UserInputError, match="Animate is still running"):
        begin(runner, "normal")
    assert runner.wait(PATIENT) and runner.state is State.DONE
    assert runner.job.result and runner.job.result["out"] == "ü.npz" and runner.job.notes == ["A word."]
    assert (runner.job.stage, runner.job.share) == ("Speech to motion", 1.0)
    process = runner._process
    begin(runner, "normal")
    assert runner.state is State.RUNNING and runner.wait(PATIENT) and runner.state is State.DONE
    assert runner._process is process


@pytest.mark.parametrize(("manner", "kind", "sentence"), [
    ("crash", "CrashError", r"ended in the middle of the job \((signal 9|exit code 1)\); nothing was changed"),
    ("hang", "HungError", "does not answer any more and was stopped"),
    ("huge", "ProtocolError", "a line without an end"),
    ("halves", "ProtocolError", "progress lacks stage"),
    ("full", "OSError", "The disk is full"),
])
def test_a_worker_that_fails_and_a_next_job_that_works(runner: Runner, tmp_path: Path, manner: str, kind: str,
                                                       sentence: str) -> None:
    begin(runner, manner, str(tmp_path / "once"))
    assert runner.wait(PATIENT) and runner.state is State.FAILED
    assert runner.job.kind == kind and runner.job.result is None
    assert re.search(sentence, runner.job.error), runner.job.error
    begin(runner, manner, str(tmp_path / "once"))
    assert runner.wait(PATIENT) and runner.state is State.DONE, runner.job


def test_babble_goes_to_the_log(runner: Runner) -> None:
    begin(runner, "babble")
    assert runner.wait(PATIENT) and runner.state is State.DONE
    assert b"W0000 delegate" in runner.log.read_bytes()


@pytest.mark.parametrize(("manner", "kind", "sentence"), [
    ("old", "VersionError", "speaks protocol 99, this add-on 1; install the same version"),
    ("gone", "StartError", r"did not start as Parley's backend \(exit code 1\)"),
])
def test_the_wrong_backend_is_named(runner: Runner, manner: str, kind: str, sentence: str) -> None:
    begin(runner, manner)
    assert runner.wait(PATIENT) and runner.job.kind == kind
    assert re.search(sentence, runner.job.error), runner.job.error
    begin(runner, "normal")
    assert runner.wait(PATIENT) and runner.state is State.DONE


def test_a_slow_start_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "log", LIMITS)
    begin(runner, "slow")
    assert runner.wait(PATIENT) and runner.state is State.DONE
    runner.close()
    impatient = Runner(tmp_path / "log", Limits(start=0.2))
    begin(impatient, "mute")
    assert impatient.wait(PATIENT) and impatient.job.kind == "StartError" and "0.2 s" in impatient.job.error
    impatient.close()


@pytest.mark.parametrize("manner", ["hang", "deaf", "mute"])
def test_cancelling_ends_even_a_deaf_worker(tmp_path: Path, manner: str) -> None:
    runner = Runner(tmp_path / "log", Limits(start=15, silence=30))
    begin(runner, manner, str(tmp_path / "once"))
    if manner != "mute":
        reach(runner, lambda: runner.state is State.RUNNING and (tmp_path / "once").exists())
    process = runner._process
    assert process is not None
    runner.cancel()
    assert runner.state in (State.CANCELLING, State.FAILED)
    assert runner.wait(PATIENT) and (runner.state, runner.job.kind) == (State.FAILED, "Cancelled")
    runner.cancel()  # of nothing: nothing
    end = time.monotonic() + PATIENT
    while process.exit_code is None and time.monotonic() < end:
        time.sleep(0.01)
    assert process.exit_code is not None
    begin(runner, "normal")
    assert runner.wait(PATIENT) and runner.state is State.DONE
    runner.close()


def test_an_interpreter_that_is_not_there(runner: Runner) -> None:
    with pytest.raises(WorkerError, match="choose another interpreter"):
        runner.start(["/nowhere/python"], "ping", {}, "Check")
    assert not runner.busy
    begin(runner, "normal")
    assert runner.wait(PATIENT) and runner.state is State.DONE


def test_blenders_python_stays_out(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "BLENDER_USER_SCRIPTS", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/blender")
    monkeypatch.setenv("PARLEY_DATA", "/mine")
    clean = clean_environment(os.environ)
    assert "/blender" not in clean.values() and clean["PARLEY_DATA"] == "/mine"
    assert worker_command("py")[1:3] == ["-s", "-P"]
    begin(runner, "normal")
    assert runner.wait(PATIENT) and runner.job.result
    assert "/blender" not in runner.job.result["environment"].values()


def test_the_job_ends_with_the_add_on(runner: Runner) -> None:
    begin(runner, "hang")
    reach(runner, lambda: runner.state is State.RUNNING)
    process = runner._process
    assert process is not None
    runner.close()
    assert runner.state is State.IDLE
    end = time.monotonic() + PATIENT
    while process.exit_code is None and time.monotonic() < end:
        time.sleep(0.01)
    assert process.exit_code is not None
