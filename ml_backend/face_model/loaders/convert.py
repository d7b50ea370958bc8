"""Which family a user's files belong to, and their conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import bfm, bfm_h5, flame, ict
from ml_backend.face_model.loaders.finish import Converted, finish
from ml_backend.face_model.loaders.raw import RawModel
from ml_backend.face_model.model import FaceModel
from ml_backend.progress import Progress, silent


def _one(read: Callable[[Path], RawModel]) -> Callable[[list[Path]], RawModel]:
    def only(paths: list[Path]) -> RawModel:
        if len(paths) != 1:
            raise UserInputError(f"Such a model is one file or folder; {len(paths)} were given.")
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
    for path in found:
        if not path.exists():
            raise UserInputError(f"{path} does not exist; check the path.")
    if kind is not None and kind not in KINDS:
        raise UserInputError(f"--kind {kind} is none of {', '.join(KINDS)}.")
    raw = KINDS[kind or detect(found)](found)
    return finish(raw, head, name, progress)


def detect(paths: list[Path]) -> str:
    """The family (one of `KINDS`) of files or a folder by their names; raises `UserInputError`."""
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
