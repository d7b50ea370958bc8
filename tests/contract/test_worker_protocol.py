"""The golden conversation with the worker: what one side writes, the other reads; and the real worker at its pipes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from addon.core import worker_client, worker_options, worker_protocol
from addon.core.errors import ProtocolError
from addon.core.jobs import Runner, State
from ml_backend import protocol, worker_commands
from ml_backend.errors import UserInputError
from ml_backend.motion.controls import EMOTIONS, Controls
from ml_backend.motion.head_controls import HeadControls
from ml_backend.terminal import Terminal

GOLDEN = (Path(__file__).parent / "golden" / "worker_v1.jsonl").read_bytes().splitlines(keepends=True)
PATIENT = 120.0


def test_requests_are_written_here_and_read_there() -> None:
    for line in GOLDEN[:2]:
        asked = protocol.parse_request(line)
        assert worker_protocol.request(asked.id, asked.command, asked.options) == line
    assert protocol.PROTOCOL == worker_protocol.PROTOCOL and protocol.LINE_LIMIT == worker_protocol.LINE_LIMIT


def test_events_are_written_there_and_read_here() -> None:
    made = [protocol.heartbeat(), protocol.progress(7, "Speech to motion", 3, 12, 1.52),
            protocol.progress(7, "Starting", 0, 0, None), protocol.note(7, "The clip is silent."),
            protocol.result(7, {"out": "/take/ü.npz", "frames": 137}),
            protocol.error(7, "UserInputError", "There is no emotion 'bored'; choose neutral.")]
    assert [protocol.encode(message) for message in made] == GOLDEN[4:10]
    assert [worker_protocol.decode(line) for line in GOLDEN[4:10]] == made
    assert set(protocol.hello()) == set(worker_protocol.decode(GOLDEN[3]) or {})
    assert worker_protocol.decode(GOLDEN[2]) is not None and worker_protocol.decode(GOLDEN[10]) is None


@pytest.mark.parametrize(("line", "sentence"), [
    (b"nonsense", "no JSON"), (b"[1]", "needs an id"), (b'{"id": 1, "protocol": 2, "command": "ping"}', "protocol 2"),
    (b'{"id": 1, "protocol": 1, "command": "rm"}', "no command 'rm'"),
    (b'{"id": 1, "protocol": 1, "command": "ping", "options": []}', "no object"),
    (b" " * (protocol.LINE_LIMIT + 1), "refused")])
def test_what_is_no_request_is_refused(line: bytes, sentence: str) -> None:
    with pytest.raises(protocol.BadRequest, match=sentence):
        protocol.parse_request(line)


def test_half_an_event_is_refused() -> None:
    with pytest.raises(ProtocolError, match="lacks done"):
        worker_protocol.decode(b'{"type": "progress", "id": 1, "stage": "x"}')


@pytest.mark.parametrize(("options", "sentence"), [
    ({"out": "a.npz", "colour": 1}, "no option colour"), ({"out": "a.npz", "mouth": "wide"}, "'wide'"),
    ({"out": "a.npz", "pose": "upside"}, "'upside'"), ({"out": "a.npz", "seed": 1.5}, "1.5 can't be used as seed"),
    ({"out": "a.npz", "mouth": 9.0}, "between 0 and 3"), ({}, "no file for the result"),
    ({"out": "a.npz", "overwrite": 1}, "overwrite"), ({"out": "a.npz", "speech": ""}, "speech")])
def test_options_are_checked(options: dict, sentence: str) -> None:
    with pytest.raises(UserInputError, match=sentence):
        worker_commands.spoken(options, "animate")


def test_a_character_needs_footage(tmp_path: Path) -> None:
    terminal = Terminal()
    with pytest.raises(UserInputError, match="no clip or photo"):
        worker_commands.character({"out": "a.npz"}, terminal)
    with pytest.raises(UserInputError, match="is missing; choose another"):
        worker_commands.character({"out": "a.npz", "target": str(tmp_path / "none.mp4")}, terminal)
    assert set(worker_commands.COMMANDS) | {"cancel", "ping"} == set(protocol.COMMANDS)


def test_options_mean_what_the_command_line_means() -> None:
    asked = worker_commands.spoken({"out": "a.npz", "mouth": 2, "gaze": 0.5, "pose_amount": "yaw=.5", "refine": False,
                                    "emotion": "sad", "pose": "still", "text": None}, "talk")
    assert (asked.controls.mouth, asked.head.gaze, asked.head.amount.yaw, asked.refine) == (2, 0.5, 0.5, False)
    assert (asked.out, asked.target, asked.pose, asked.text) == (Path("a.npz"), None, "still", None)
    assert asked.speech.name == "sample.flac" and asked.controls.emotion == "sad"


def test_the_panels_settings_are_the_backends() -> None:
    known = {field.name for kind in (Controls, HeadControls) for field in fields(kind)}
    assert set(worker_options.AMOUNTS) <= known and set(EMOTIONS) == set(worker_options.EMOTIONS)
    assert known - set(worker_options.AMOUNTS) == {"amount", "emotion"}, "a control that the panel does not show"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Runner(tmp_path / "worker.log")
    yield made
    made.close()


COMMAND = worker_client.worker_command(sys.executable)


def test_the_real_worker_animates_and_refuses(runner: Runner, tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    runner.start(COMMAND, "animate", {"out": str(out), "emotion": "bored"}, "Animate")
    assert runner.wait(PATIENT) and runner.job.kind == "UserInputError" and "no emotion 'bored'" in runner.job.error
    assert not out.exists()
    runner.start(COMMAND, "animate", {"out": str(out), "seed": 1}, "Animate")
    assert runner.wait(PATIENT) and runner.state is State.DONE, runner.job
    result = runner.job.result
    assert result and out.is_file() and result["frames"] == 137 and 0.01 < result["jaw_mean"] < 0.5
    assert runner.job.stage == "Speech to motion" and runner.job.share == 1


def test_the_real_worker_is_cancelled_or_killed(runner: Runner, tmp_path: Path) -> None:
    runner.start(COMMAND, "doctor", {}, "Check")
    assert runner.wait(PATIENT) and runner.job.result and "Parley 0.1.0" in runner.job.result["report"]
    runner.start(COMMAND, "animate", {"out": str(tmp_path / "b.npz")}, "Animate")
    runner.cancel()
    assert runner.wait(PATIENT) and runner.job.kind == "Cancelled"
    runner.start(COMMAND, "animate", {"out": str(tmp_path / "c.npz")}, "Animate")
    assert runner._process is not None
    if hasattr(signal, "SIGKILL"):
        os.kill(runner._process._child.pid, signal.SIGKILL)
        assert runner.wait(PATIENT) and runner.job.kind in ("CrashError", "StartError")
        assert not (tmp_path / "c.npz").exists()


def test_the_worker_ends_with_its_input(tmp_path: Path) -> None:
    process = worker_client.WorkerProcess(COMMAND, tmp_path / "log")
    process.send(1, "ping")
    seen = []
    end = time.monotonic() + PATIENT
    while time.monotonic() < end and "result" not in seen:
        if event := process.next_event():
            seen.append(event["type"])
        time.sleep(0.01)
    assert seen[0] == "hello" and seen[-1] == "result"
    process.close()
    while process.exit_code is None and time.monotonic() < end:
        time.sleep(0.01)
    assert process.exit_code == 0
