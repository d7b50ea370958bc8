"""Saying in the film, and beside it, that it is synthetic and from what it was made."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_backend.errors import UserInputError

STATEMENT = "Synthetic speech animation made with Parley"


def provenance(*, speech: Path | None = None, target: Path | None = None, weights: dict[str, str] | None = None,
               seed: int | None = None, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a take was made from; goes into ``report.json`` and, by `comment`, into the film.

    Parameters
    ----------
    speech, target : the input files, None where the built-in ones were used; only name and content hash are kept
    weights : stage → id of the weights used
    seed : of everything random
    settings : further JSON-able facts

    Raises
    ------
    UserInputError
        If an input file can't be read any more.
    """
    return {"statement": STATEMENT, "version": _version(), "speech": _source(speech), "target": _source(target),
            "weights": dict(weights or {}), "seed": seed, "settings": dict(settings or {})}


def comment(facts: dict[str, Any]) -> str:
    """One line for the film's comment tag: the statement, then `facts` as JSON."""
    rest = {key: value for key, value in facts.items() if key != "statement"}
    return f"{facts.get('statement', STATEMENT)} {json.dumps(rest, sort_keys=True, separators=(',', ':'), default=str)}"


def _source(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserInputError(f"{path} can't be read any more ({error.strerror}); put it back and run again.") from error
    return {"name": Path(path).name, "sha256": digest}


def _version() -> str:
    try:
        return metadata.version("parley")
    except metadata.PackageNotFoundError:
        return "unknown"
