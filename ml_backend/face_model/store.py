"""The user's face models: converted once, kept in the user's data folder, found again by name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml_backend import __version__
from ml_backend.config import head_model
from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import Converted, convert
from ml_backend.face_model.loaders.convert import check_paths, detect
from ml_backend.face_model.model import load, save
from ml_backend.progress import Progress, silent

BUILT_IN = "parley"
SCHEMA, VERSION = "parley.face_model_source", 1
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """A kept face model.

    Attributes
    ----------
    name : as `--face-model` takes it
    path : its FaceModel
    facts : what its ``.json`` says: kind, sources with hashes, sizes, residuals in millimetres, notes
    """

    name: str
    path: Path
    facts: dict


def data_folder() -> Path:
    """Parley's folder for the user's data: ``PARLEY_DATA``, else where the platform keeps such things."""
    if named := os.environ.get("PARLEY_DATA"):
        return Path(named)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / "parley"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "parley"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "parley"


def models_folder() -> Path:
    """Where the converted models lie; raises `UserInputError` if what is there can't be looked at."""
    folder = data_folder() / "face_models"
    try:
        if folder.is_dir():
            next(folder.iterdir(), None)
    except OSError as error:
        raise UserInputError(
            f"{folder} can't be read ({error.strerror}); let PARLEY_DATA name a folder of yours."
        ) from error
    return folder


def model_path(name: str) -> Path:
    """File of the face model `name`; raises `UserInputError` if there is none of that name."""
    if name == BUILT_IN:
        return head_model()
    path = models_folder() / f"{name}.npz"
    if not NAME.match(name) or not path.is_file():
        known = ", ".join([BUILT_IN, *(stored.name for stored in stored_models())])
        raise UserInputError(f"There is no face model {name} (there are: {known}); add one with `parley face add`.")
    return path


def stored_models() -> list[Stored]:
    """The user's models, by name."""
    return [Stored(path.stem, path, _facts(path)) for path in sorted(models_folder().glob("*.npz"))]


def add(
    name: str, paths: Sequence[Path], *, kind: str | None = None, overwrite: bool = False, progress: Progress = silent
) -> Stored:
    """Convert the model in `paths` and keep it as `name`; does nothing if the same files are kept under it already.

    Raises
    ------
    UserInputError
        For a name that can't be used or is taken, and for every fault of the files (see `loaders.convert`).
    """
    _check_name(name)
    if kind is None:
        # Before anything is hashed: a folder of something else may be huge.
        detect([Path(path) for path in paths])
    sources = _sources([Path(path) for path in paths])
    path = models_folder() / f"{name}.npz"
    if path.exists() and not overwrite:
        facts = _facts(path)
        if facts.get("sources") == sources and facts.get("parley") == __version__:
            return Stored(name, path, facts)
        raise UserInputError(f"There is a face model {name} already; choose another name or give --overwrite.")
    made = convert(paths, load(head_model()), name, kind=kind, progress=progress)
    facts = _described(name, made, sources)
    with _written(path.with_suffix(".json"), facts):
        save(made.model, path)
    return Stored(name, path, facts)


def _check_name(name: str) -> None:
    if not NAME.match(name):
        raise UserInputError(f"{name!r} is no name for a face model; use letters, digits, dot, dash and underscore.")
    if name == BUILT_IN:
        raise UserInputError(f"{BUILT_IN} is the built-in head; choose another name.")


def _described(name: str, made: Converted, sources: list[dict]) -> dict:
    residual, motion = list(made.residual_mm.values()), list(made.motion_mm.values())
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "parley": __version__,
        "name": name,
        "kind": made.kind,
        "sources": sources,
        "vertices": len(made.model.mean_shape),
        "faces": len(made.model.faces),
        "identities": len(made.model.identity_basis),
        "expressions": len(made.model.expression_basis),
        "size_over_built_in": round(made.scale, 4),
        "residual_mm_mean": round(sum(residual) / len(residual), 3) if residual else None,
        "motion_mm_mean": round(sum(motion) / len(motion), 3) if motion else None,
        "residual_mm": made.residual_mm,
        "motion_mm": made.motion_mm,
        "agreement_with_built_in": made.agreement,
        "notes": made.notes,
    }


def _sources(paths: list[Path]) -> list[dict]:
    """Name, size and SHA-256 of every source file, folders file by file."""
    check_paths(paths)
    files = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        files += [(str(file.relative_to(path.parent)), file) for file in inside]
    return [{"file": name, "bytes": file.stat().st_size, "sha256": _hash(file)} for name, file in files]


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
    except OSError as error:
        raise UserInputError(f"{path} can't be read ({error.strerror}); check its permissions.") from error
    return digest.hexdigest()


def _facts(path: Path) -> dict:
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


@contextmanager
def _written(path: Path, facts: dict) -> Iterator[None]:
    """Write `facts` to `path` if what is done meanwhile succeeds: a model never lies there without its facts."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
        yield
        os.replace(part, path)
    except OSError as error:
        raise UserInputError(
            f"Can't write {path}: {error.strerror}; free some space, or let PARLEY_DATA name a folder of yours."
        ) from error
    finally:
        if part.parent.is_dir():
            part.unlink(missing_ok=True)
