"""The user's own face models, as ``parley face add`` keeps them: found by name, in the same folder as the backend's."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import UserInputError

BUILT_IN = "parley"


@dataclass(frozen=True)
class Stored:
    """A kept face model: its name, its file, and a line about it."""

    name: str
    path: Path
    about: str


def folder() -> Path:
    """Where converted models lie: below ``PARLEY_DATA``, else where the platform keeps such things."""
    home = Path.home()
    if named := os.environ.get("PARLEY_DATA"):
        base = Path(named)
    elif sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / "parley"
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support" / "parley"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "parley"
    return base / "face_models"


def stored() -> list[Stored]:
    """The user's models, by name; none where there is no such folder or it can't be read."""
    try:
        paths = sorted(path for path in folder().iterdir() if path.suffix == ".npz" and not path.name.startswith("."))
    except OSError:
        return []
    return [Stored(path.stem, path, _about(path)) for path in paths]


def find(name: str) -> Path:
    """File of the user's model `name`; raises `UserInputError` if there is none."""
    for model in stored():
        if model.name == name:
            return model.path
    raise UserInputError(
        f"There is no face model {name} in {folder()}; choose another, or add it with: parley face add {name} FILE."
    )


def _about(path: Path) -> str:
    """Family and size, as far as the model's ``.json`` tells."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "Family unknown"
    if not isinstance(facts, dict):
        return "Family unknown"
    return f"{facts.get('kind', 'Family unknown')}, {facts.get('vertices', '?')} vertices"
