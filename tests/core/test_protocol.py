"""Messages and jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from addon.core import job, protocol
from addon.core.channels import ARKIT
from addon.core.errors import ProtocolError, UserInputError


def test_messages_survive_the_pipe() -> None:
    for message in (protocol.progress("render", 3, 9), protocol.warning("ü: a\nb"), protocol.error("X", "no"),
                    protocol.result(frames=3, scene="s.blend")):
        line = protocol.encode(message)
        assert line.count("\n") == 1 and line.isascii()
        assert protocol.decode(line) == message


@pytest.mark.parametrize("line", ["Saved: 'a.png'", "", "{broken", '{"type": "other"}', "[1]", '{"a": {}}'])
def test_blenders_chatter_is_no_message(line: str) -> None:
    assert protocol.decode(line) is None


def test_a_message_without_its_fields_is_refused() -> None:
    with pytest.raises(ProtocolError, match="total"):
        protocol.decode('{"type": "progress", "stage": "x", "done": 1}')


def test_arkit_has_52_names() -> None:
    assert len(ARKIT) == len(set(ARKIT)) == 52


@pytest.fixture
def data(tmp_path: Path) -> dict:
    for name in ("model", "person", "act"):
        (tmp_path / name).write_text("x")
    return {"face_model": str(tmp_path / "model"), "character": str(tmp_path / "person"),
            "performance": str(tmp_path / "act"), "output": str(tmp_path / "out"), "plates": None}


def test_a_job_is_read(tmp_path: Path, data: dict) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"schema": job.SCHEMA, "version": job.VERSION, **data, "frames": [0, 4]}))
    read = job.load(path)
    assert (read.frames, read.size, read.output, read.plates) == ((0, 4), 512, tmp_path / "out", None)


@pytest.mark.parametrize(("change", "word"), [
    ({"engine": "cycles"}, "cycles"), ({"view": "side"}, "side"), ({"size": 4}, "size"), ({"frames": [-1]}, "frame"),
    ({"output": None}, "neither"), ({"performance": "/nowhere"}, "nowhere"), ({"face_model": None}, "face_model"),
    ({"colour": 1}, "colour"), ({"plate_pattern": "%06d.png"}, "plates"), ({"fps": 0}, "frames a second"),
    ({"backdrop": [1, 1]}, "backdrop"), ({"samples": 0}, "samples")])
def test_a_job_that_cannot_be_done_is_refused(data: dict, change: dict, word: str) -> None:
    with pytest.raises(UserInputError, match=word):
        job.parse({**data, **change})
