"""What the worker and its client say to each other over pipes: one JSON object a line.

Client → worker: {"protocol", "id", "command", "options"}. Worker → client, told apart by "type": hello (protocol,
parley, python) once at the start · heartbeat · progress (id, stage, done, total, seconds_left) · note (id, text) ·
result (id, data) · error (id, kind, sentence).
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import Any

from ml_backend import __version__
from ml_backend.errors import UserInputError

PROTOCOL = 1
COMMANDS = ("animate", "talk", "track", "personalise", "character", "doctor", "cancel", "ping")
LINE_LIMIT = 1 << 20
"""Bytes: no message is longer; a longer line is no message."""

Message = dict[str, Any]


class BadRequest(UserInputError):
    """A line that is no request; `id` is its number where it has one, else 0."""

    def __init__(self, sentence: str, number: int = 0) -> None:
        super().__init__(sentence)
        self.id = number


@dataclass(frozen=True)
class Request:
    """One thing to do: `id` comes back with every answer, `options` are the command's, by name."""

    id: int
    command: str
    options: dict[str, Any]


def parse_request(line: bytes | str) -> Request:
    """The request on `line`; raises `BadRequest` saying what is wrong with it."""
    if len(line) > LINE_LIMIT:
        raise BadRequest(f"A request of more than {LINE_LIMIT} bytes is refused.")
    try:
        data = json.loads(line)
    except ValueError as error:
        raise BadRequest(f"A request is no JSON ({error}).") from error
    if not isinstance(data, dict) or type(data.get("id")) is not int:
        raise BadRequest("A request needs an id that is a whole number.")
    number, command, options = data["id"], data.get("command"), data.get("options", {})
    if data.get("protocol") != PROTOCOL:
        raise BadRequest(f"The add-on speaks protocol {data.get('protocol')}, this backend {PROTOCOL}; "
                         "install the same version of both.", number)
    if command not in COMMANDS:
        raise BadRequest(f"There is no command {command!r}; there are {', '.join(COMMANDS)}.", number)
    if not isinstance(options, dict):
        raise BadRequest(f"The options of {command} are no object.", number)
    return Request(number, command, options)


def hello() -> Message:
    """The first message: who speaks, and which protocol."""
    return {"type": "hello", "protocol": PROTOCOL, "parley": __version__, "python": platform.python_version()}


def heartbeat() -> Message:
    """The process lives."""
    return {"type": "heartbeat"}


def progress(number: int, stage: str, done: int, total: int, seconds_left: float | None) -> Message:
    """`done` of `total` steps of `stage`; `seconds_left` is None until it can be told."""
    return {"type": "progress", "id": number, "stage": stage, "done": int(done), "total": int(total),
            "seconds_left": None if seconds_left is None else round(seconds_left, 1)}


def note(number: int, text: str) -> Message:
    """Something the user should know that stops nothing."""
    return {"type": "note", "id": number, "text": text}


def result(number: int, data: dict[str, Any]) -> Message:
    """The request is done."""
    return {"type": "result", "id": number, "data": data}


def error(number: int, kind: str, sentence: str) -> Message:
    """The request failed: `kind` is the exception's name, `sentence` what to tell the user."""
    return {"type": "error", "id": number, "kind": kind, "sentence": sentence}


def encode(message: Message) -> bytes:
    """One line of ASCII with its line feed, keys in order."""
    return (json.dumps(message, sort_keys=True, default=str) + "\n").encode("ascii")
