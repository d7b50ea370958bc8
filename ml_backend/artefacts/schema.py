"""Parley's ``.npz`` artefacts: never pickled, always with a schema and a version, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from ml_backend.errors import ArtefactError, UserInputError

DAMAGE = (OSError, ValueError, TypeError, AttributeError, KeyError, MemoryError, EOFError, RuntimeError,
          zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise for files that are no sound ``.npz``."""
T = TypeVar("T")


def save_npz(path: Path, schema: str, version: int, arrays: dict[str, np.ndarray], *, compress: bool = True) -> None:
    """Write `arrays` with `schema` and `version` to `path`, replacing it only when complete.

    Raises
    ------
    UserInputError
        If the folder can't be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=path.stem, suffix=".npz.part", dir=path.parent)
    except OSError as error:
        raise UserInputError(f"Can't write {path}: {error.strerror}. Choose another folder.") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            write = np.savez_compressed if compress else np.savez
            write(stream, schema=np.array(schema), version=np.array(version), **arrays)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        raise UserInputError(
            f"Can't write {path}: {error.strerror}. Free some space or choose another folder."
        ) from error
    finally:
        if os.path.exists(name):
            os.unlink(name)


def load_npz(path: Path, schema: str, version: int) -> dict[str, np.ndarray]:
    """All arrays of the artefact at `path`.

    Raises
    ------
    ArtefactError
        If the file is missing, is no ``.npz``, needs pickle, or has another schema or version.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} does not exist; it should be a {schema} file.") from error
    except DAMAGE as error:
        raise ArtefactError(
            f"{path} can't be read as a {schema} file ({error}); make it again: delete it and run the same command."
        ) from error
    found, number = str(arrays.pop("schema", "none")), str(arrays.pop("version", -1))
    if found != schema or number != str(version):
        raise ArtefactError(f"{path} is {found} version {number}, needed is {schema} version {version}; make it again.")
    return arrays


def save_fields(value: Any, path: Path, schema: str, version: int) -> None:
    """Write all fields, arrays, of the dataclass instance `value` to `path`; see `save_npz`."""
    save_npz(path, schema, version, {field.name: getattr(value, field.name) for field in fields(value)})


def load_fields(kind: type[T], path: Path, schema: str, version: int) -> T:
    """The dataclass `kind`, all of whose fields are arrays, from `path`.

    Raises
    ------
    ArtefactError
        Where a field is missing that has no default.
    """
    return built(kind, load_npz(path, schema, version), path, schema)


def built(kind: type[T], arrays: dict[str, Any], path: Path, schema: str, before: str = "") -> T:
    """The dataclass `kind` of those `arrays`, read from `path`, whose names are its fields' after `before`.

    Raises
    ------
    ArtefactError
        Where a field is missing that has no default.
    """
    known = fields(cast(Any, kind))
    missing = [one.name for one in known if before + one.name not in arrays and one.default_factory is MISSING]
    require(not missing, path, f"the {schema} file lacks {', '.join(missing)}")
    return kind(**{one.name: arrays[before + one.name] for one in known if before + one.name in arrays})


def require(condition: bool, path: Path | str, problem: str) -> None:
    """Raise `ArtefactError` naming `path` unless `condition` holds."""
    if not condition:
        raise ArtefactError(f"{path}: {problem}; make the file again.")


def _umask() -> int:
    # mkstemp makes private files; an artefact gets the permissions of any other new file.
    mask = os.umask(0)
    os.umask(mask)
    return mask
