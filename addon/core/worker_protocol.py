"""The add-on's side of the worker's protocol: requests out, events in; see the backend's ``protocol.py``."""

from __future__ import annotations

import json
from typing import Any

from .errors import ProtocolError

PROTOCOL = 1
LINE_LIMIT = 1 << 20
"""Bytes: a worker that sends a longer line is not one of ours."""

Message = dict[str, Any]
_NUMBER = (int, float)
EVENTS: dict[str, dict[str, tuple[type, ...]]] = {
    "hello": {"protocol": (int,), "parley": (str,), "python": (str,)},
    "heartbeat": {},
    "progress": {"id": (int,), "stage": (str,), "done": (int,), "total": (int,),
                 "seconds_left": (*_NUMBER, type(None))},
    "note": {"id": (int,), "text": (str,)},
    "result": {"id": (int,), "data": (dict,)},
    "error": {"id": (int,), "kind": (str,), "sentence": (str,)},
}
"""What each type of event must carry."""


def request(number: int, command: str, options: dict[str, Any] | None = None) -> bytes:
    """One line that asks for `command`, its answers to be marked with `number`."""
    return (json.dumps({"protocol": PROTOCOL, "id": number, "command": command, "options": options or {}},
                       sort_keys=True) + "\n").encode("ascii")


def decode(line: bytes) -> Message | None:
    """The event on `line`; None where the line is anything else, such as a library's chatter.

    Raises
    ------
    ProtocolError
        If the line is an event of a known type that lacks a field.
    """
    if not line.startswith(b"{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("type") not in EVENTS:
        return None
    for name, kinds in EVENTS[message["type"]].items():
        if name not in message or type(message[name]) not in kinds:
            raise ProtocolError(f"The backend's {message['type']} lacks {name}; update the add-on and the backend.")
    return message
