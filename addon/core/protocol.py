"""The messages between Parley's processes: one JSON object a line, told from other output by its "type".

progress: stage, done, total · warning: message · result: data · error: kind, message.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from .errors import ProtocolError


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps of `stage` are finished."""

    type: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Warning_:
    """Something the user should know that stops nothing."""

    type: ClassVar[str] = "warning"
    message: str


@dataclass(frozen=True)
class Result:
    """The process is finished; `data` says with what."""

    type: ClassVar[str] = "result"
    data: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """The process gave up; `kind` is the exception's name, `message` one sentence for the user."""

    type: ClassVar[str] = "error"
    kind: str
    message: str


Message = Progress | Warning_ | Result | Failure
_TYPES: dict[str, type] = {kind.type: kind for kind in (Progress, Warning_, Result, Failure)}


def encode(message: Message) -> str:
    """One line, with its line feed."""
    return json.dumps({"type": message.type, **asdict(message)}, sort_keys=True, ensure_ascii=True) + "\n"


def decode(line: str) -> Message | None:
    """The message on `line`; None where the line is anything else, such as Blender's own output.

    Raises
    ------
    ProtocolError
        If the line is a message of a known type whose fields are not those of that type.
    """
    text = line.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    kind = _TYPES.get(str(data.pop("type", "")))
    if kind is None:
        return None
    wanted = {field.name for field in fields(kind)}
    if set(data) != wanted:
        raise ProtocolError(f"A {kind.type} message has {sorted(data)}, needed are {sorted(wanted)}.")
    return kind(**data)
