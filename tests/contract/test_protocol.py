"""The golden conversation: the child writes it, both sides read it."""

from __future__ import annotations

from pathlib import Path

from addon.core import protocol
from ml_backend import blender

GOLDEN = Path(__file__).parent / "golden" / "protocol_v1.jsonl"


def test_the_addon_writes_the_golden_lines() -> None:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines(keepends=True)
    messages = [protocol.decode(line) for line in lines]
    assert [message["type"] if message else None for message in messages] == [
        "progress", None, "warning", "error", "result", None]
    assert [protocol.encode(message) for message in messages if message] == [
        line for line, message in zip(lines, messages, strict=True) if message]


def test_the_backend_reads_them_alike() -> None:
    for line in GOLDEN.read_text(encoding="utf-8").splitlines(keepends=True):
        ours, theirs = protocol.decode(line), blender.parse_line(line)
        assert ours == theirs or (ours is None and theirs is not None and theirs["type"] not in protocol.FIELDS)
