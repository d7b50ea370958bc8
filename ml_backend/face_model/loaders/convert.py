"""Which family a user's files belong to, and their conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import bfm, bfm_h5, flame, ict
from ml_backend.face_model.loaders.finish import Converted, finish
from ml_backend.face_model.loaders.raw import RawModel, reading
from ml_backend.face_model.model import FaceModel
from ml_backend.progress import Progress, silent


def _one(read: Callable[[Path], RawModel]) -> Callable[[list[Path]], RawModel]:
    def only(paths: list[Path]) -> RawModel:
        if len(paths) != 1:
            raise UserInputError(f"Such a model is one file or folder; {len(paths)} were given.")
        check_paths(paths)
        if paths[0].is_dir() and read is not _read_ict:
            raise UserInputError(f"{paths[0]} is a folder; give the model's file.")
        return read(paths[0])

    return only


def _read_ict(path: Path) -> RawModel:
    return ict.read_folder(path) if path.is_dir() else ict.read_npz(path)


KINDS: dict[str, Callable[[list[Path]], RawModel]] = {
    "ict": _one(_read_ict),
    "bfm2009": bfm.read_2009,
    "bfm-front": bfm.read_front,
    "bfm-h5": _one(bfm_h5.read),
    "flame": _one(flame.read),
}
"""Family → its reader of one or several paths."""


def convert(
    paths: Sequence[Path], head: FaceModel, name: str, *, kind: str | None = None, progress: Progress = silent
) -> Converted:
    """The face model in `paths` as a FaceModel called `name`.

    Parameters
    ----------
    paths : the model's file or folder, with companion files (FaceWarehouse's expressions) in any order
    head : the built-in head, from which names, landmarks, regions and expressions are transferred
    name : name of the result
    kind : one of `KINDS`, or None to tell by the files

    Raises
    ------
    UserInputError
        If a file is missing, damaged, of another family or edition, or wants to run something.
    """
    found = [Path(path) for path in paths]
    family = kind or detect(found)
    if family not in KINDS:
        raise UserInputError(f"--kind {kind} is none of {', '.join(KINDS)}.")
    with reading(found[0], family):
        raw = KINDS[family](found)
    try:
        return finish(raw, head, name, progress)
    except UserInputError as error:
        raise UserInputError(f"{found[0]}: {error}") from error
    except (ValueError, np.linalg.LinAlgError) as error:
        raise UserInputError(
            f"{found[0]} is no face that the built-in head can be laid over ({error}); get the file again."
        ) from error


def check_paths(paths: Sequence[Path]) -> None:
    """Raise `UserInputError` for what is neither a file nor a folder that may be read."""
    for path in paths:
        try:
            if path.is_dir():
                next(path.iterdir(), None)
            elif path.exists() and not path.is_file():
                raise UserInputError(f"{path} is neither a file nor a folder; give the model's file.")
            elif not path.exists():
                raise UserInputError(f"{path} does not exist; check the path.")
        except OSError as error:
            raise UserInputError(f"{path} can't be read ({error.strerror}); check its permissions.") from error


def detect(paths: list[Path]) -> str:
    """The family (one of `KINDS`) of files or a folder by their names; raises `UserInputError`."""
    check_paths(paths)
    names = {file.name.lower() for path in paths for file in (path.iterdir() if path.is_dir() else [path])}
    if ict.NEUTRAL in names:
        return "ict"
    if bfm.FRONT.lower() in names:
        return "bfm-front"
    if bfm.MORPHABLE.lower() in names:
        return "bfm2009"
    for suffix, kind in ((".h5", "bfm-h5"), (".pkl", "flame"), (".npz", "ict")):
        if any(path.suffix.lower() == suffix for path in paths):
            return kind
    if any(path.suffix.lower() == ".mat" for path in paths):
        return bfm.which(next(path for path in paths if path.suffix.lower() == ".mat"))
    raise UserInputError(
        f"{paths[0]} is no face model that Parley knows; give a {', '.join(KINDS)} file and its --kind."
    )
