"""The messages between Parley's processes: one JSON object a line, told from other output by its "type".

progress: stage, done, total · warning: text · error: kind, text · result: whatever the job has to say, flat.
"""

from __future__ import annotations

import json
from typing import Any

from .errors import ProtocolError

Message = dict[str, Any]

FIELDS: dict[str, dict[str, type]] = {
    "progress": {"stage": str, "done": int, "total": int},
    "warning": {"text": str},
    "error": {"kind": str, "text": str},
    "result": {},
}
"""What each type of message must carry; a result carries what its job returns."""


def progress(stage: str, done: int, total: int) -> Message:
    """`done` of `total` steps of `stage` are finished."""
    return {"type": "progress", "stage": stage, "done": done, "total": total}


def warning(text: str) -> Message:
    """Something the user should know that stops nothing."""
    return {"type": "warning", "text": text}


def error(kind: str, text: str) -> Message:
    """The process gave up; `kind` is the exception's name, `text` one sentence for the user."""
    return {"type": "error", "kind": kind, "text": text}


def result(**data: Any) -> Message:
    """The process is finished; `data` says with what."""
    return {**data, "type": "result"}


def encode(message: Message) -> str:
    """One line of ASCII, with its line feed, keys in order.

    Raises
    ------
    ProtocolError
        If the message is of no known type or lacks a field.
    """
    _check(message)
    return json.dumps(message, sort_keys=True) + "\n"


def decode(line: str) -> Message | None:
    """The message on `line`; None where the line is anything else, such as Blender's own output.

    Raises
    ------
    ProtocolError
        If the line is a message of a known type that lacks a field.
    """
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("type") not in FIELDS:
        return None
    _check(message)
    return message


def _check(message: Message) -> None:
    kind = message.get("type")
    if kind not in FIELDS:
        raise ProtocolError(f"{kind} is no type of message; known are {', '.join(FIELDS)}.")
    for name, wanted in FIELDS[kind].items():
        if type(message.get(name)) is not wanted:
            raise ProtocolError(f"A {kind} message needs {name} as {wanted.__name__}, got {message.get(name)!r}.")
