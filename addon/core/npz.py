"""Reading and writing of Parley's ``.npz`` artefacts in the add-on: never pickled, schema and version checked."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .errors import ArtefactError, UserInputError

DAMAGE = (OSError, ValueError, TypeError, AttributeError, KeyError, MemoryError, EOFError, RuntimeError,
          zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise for files that are no sound ``.npz``."""


def load_npz(path: Path | str, schema: str, version: int, names: tuple[str, ...],
             optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The arrays `names` of the artefact at `path`, and those of `optional` that are there.

    Raises
    ------
    ArtefactError
        If the file is missing, is no ``.npz``, needs pickle, lacks an array, or has another schema or version.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            found = str(data["schema"]) if "schema" in data.files else "none"
            number = int(data["version"]) if "version" in data.files else -1
            require(found == schema and number == version, path,
                    f"it is {found} version {number}, needed is {schema} version {version}")
            missing = [name for name in names if name not in data.files]
            require(not missing, path, f"it lacks {', '.join(missing)}")
            return {name: data[name] for name in (*names, *optional) if name in data.files}
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} does not exist; it should be a {schema} file.") from error
    except DAMAGE as error:
        raise ArtefactError(f"{path} can't be read as a {schema} file ({error}); make it again.") from error


def schema_of(path: Path | str) -> str:
    """The schema that the ``.npz`` at `path` names, "" where it names none or can't be read."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return str(data["schema"]) if "schema" in data.files else ""
    except DAMAGE:
        return ""


def save_npz(path: Path | str, schema: str, version: int, arrays: dict[str, np.ndarray]) -> None:
    """Write `arrays` with `schema` and `version`, replacing `path` only when complete; raises `UserInputError`."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as stream:
            np.savez_compressed(stream, **{**arrays, "schema": np.array(schema), "version": np.array(version)})  # type: ignore[arg-type]
        os.replace(part, path)
    except OSError as error:
        raise UserInputError(f"Can't write {path}: {error.strerror}. Choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def require(condition: bool, path: Path | str, problem: str) -> None:
    """Raise `ArtefactError` naming `path` unless `condition` holds."""
    if not condition:
        raise ArtefactError(f"{path}: {problem}; make the file again.")
