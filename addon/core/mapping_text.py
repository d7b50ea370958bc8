"""Mappings as people and files write them: sources of one pair as text, and whole presets as JSON."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .channels import ARKIT
from .errors import ArtefactError, UserInputError
from .mapping import DIRECT, POSE, Pair

SCHEMA, VERSION = "parley.mapping", 1
REST = "rest"
_TERM = re.compile(r"^\s*([A-Za-z]+)\s*(?:[*×]\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*)?$")
_KNOWN = {name.lower(): name for name in ARKIT}


def read_sources(text: str, target: str) -> dict[str, float]:
    """The sources that `text` names: `jawOpen`, `eyeBlinkLeft*0.5 + eyeBlinkRight*0.5`, or `rest` for none.

    Raises `UserInputError` naming the shape key `target` if a part is no ARKit shape or its weight no number.
    """
    if text.strip().lower() in ("", REST):
        return {}
    sources: dict[str, float] = {}
    for part in text.split(" + ") if " + " in text else text.split("+"):
        found = _TERM.match(part)
        name = _KNOWN.get(found[1].lower()) if found else None
        if found is None or name is None:
            raise UserInputError(f"{part.strip()!r} for the key {target} is no ARKit shape; write one like jawOpen "
                                 "or mouthSmileLeft*0.5.")
        sources[name] = _number(found[2] or "1", target)
    return sources


def _number(text: str, target: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserInputError(f"{text!r} for the key {target} is no number; write one like 0.5.") from error
    if not math.isfinite(value) or abs(value) > 10:
        raise UserInputError(f"A weight of {text} for the key {target} can't be used; write one from -10 to 10.")
    return value


def save_preset(path: Path | str, name: str, pairs: Iterable[Pair]) -> None:
    """Write `pairs` as a preset called `name`, replacing `path` only when complete; raises `UserInputError`."""
    path = Path(path)
    content = {"schema": SCHEMA, "version": VERSION, "name": name,
               "pairs": [{**asdict(pair), "sources": dict(pair.sources)} for pair in pairs]}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise UserInputError(f"Can't write {path}: {error.strerror}. Choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def load_preset(path: Path | str) -> tuple[str, list[Pair]]:
    """Name and pairs of the preset at `path`; raises `ArtefactError` in one sentence if it is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} does not exist; choose a preset that Parley saved.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} can't be read as a mapping preset ({error}); save it again.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ArtefactError(f"{path} is no mapping preset; choose a file that Parley's Save Preset wrote.")
    if content.get("version") != VERSION:
        raise ArtefactError(f"{path} is a mapping preset of version {content.get('version')}, this Parley reads "
                            f"version {VERSION}; save it again.")
    entries = content.get("pairs")
    if not isinstance(entries, list) or not entries:
        raise ArtefactError(f"{path} holds no pairs; save it again.")
    return str(content.get("name", Path(path).stem)), [_pair(entry, path) for entry in entries]


def _pair(entry: Any, path: Path | str) -> Pair:
    """One entry of a preset, checked."""
    target = str(entry.get("target", "")) if isinstance(entry, dict) else ""
    sources = entry.get("sources") if target else None
    if not isinstance(sources, dict) or entry.get("kind", DIRECT) not in (DIRECT, POSE):
        raise ArtefactError(f"{path} holds a pair without a target, sources or a known kind; save it again.")
    for name, weight in sources.items():
        good = isinstance(weight, (int, float)) and not isinstance(weight, bool) and abs(weight) <= 10
        if name not in ARKIT or not good:
            raise ArtefactError(f"{path}: {name!r} with the weight {weight!r} for {target} is no ARKit shape from "
                                "-10 to 10; correct or save it again.")
    confidence = entry.get("confidence", 1.0)
    return Pair(str(entry.get("mesh", "")), target, {name: float(weight) for name, weight in sources.items()},
                entry.get("kind", DIRECT), float(confidence) if isinstance(confidence, (int, float)) else 1.0,
                str(entry.get("origin", "preset")), bool(entry.get("enabled", True)))


def fit_preset(pairs: Iterable[Pair], meshes: Mapping[str, Iterable[str]]) -> list[Pair]:
    """The preset's `pairs` on `meshes` (object → names of its keys): by object and key, else by key alone.

    Raises `UserInputError` if no key of the preset is there.
    """
    given = list(pairs)
    found: list[Pair] = []
    for mesh, names in meshes.items():
        own = {pair.target: pair for pair in given if pair.mesh == mesh}
        table = own or {pair.target: pair for pair in given}
        found += [Pair(mesh, name, pair.sources, pair.kind, pair.confidence, pair.origin, pair.enabled)
                  for name in names if (pair := table.get(name)) is not None]
    if not found:
        raise UserInputError("None of the preset's shape keys is on the selected meshes; choose another preset or "
                             "press Map by Name.")
    return found
