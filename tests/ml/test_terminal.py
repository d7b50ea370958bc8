"""What reaches the user's terminal, and what does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_backend.terminal import Terminal, hushed


def test_libraries_are_hushed_and_the_terminal_is_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    log = tmp_path / "logs" / "track.log"
    with hushed(log):
        os.write(2, b"W0000 chatter\n")
        terminal.say("Tracking the face")
        terminal.warn("two faces")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "Tracking the face\nNote: two faces\nafter\n"
    assert log.read_text() == "W0000 chatter\n"


def test_the_error_stream_comes_back_after_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), hushed(tmp_path / "log"):
        raise KeyboardInterrupt
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
