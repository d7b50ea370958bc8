"""insightface's model packs: where the user keeps one, what is in it, and its networks, loaded by insightface itself.

Nothing is ever downloaded here: the packs are licensed for non-commercial use only, so having one is the user's choice.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from ml_backend.errors import DependencyError, UserInputError

ROOT = "PARLEY_INSIGHTFACE_ROOT"
USUAL = Path("~/.insightface")
"""Where insightface itself keeps packs, in models/NAME."""
LICENCE = "insightface licenses its packs for non-commercial use only"
INSTALL = "pip install 'parley[identity]'"
DETECTION, POINTS_3D, POINTS_2D, RECOGNITION = "detection", "landmark_3d_68", "landmark_2d_106", "recognition"
"""insightface's own names of what a network does."""
_USUAL_NAMES = {
    DETECTION: ("det_10g.onnx", ("det_", "scrfd")),
    POINTS_3D: ("1k3d68.onnx", ("1k3d68",)),
    POINTS_2D: ("2d106det.onnx", ("2d106",)),
    RECOGNITION: ("w600k_r50.onnx", ("w600k", "glint")),
}
"""Task → its file in the pack buffalo_l, and how the files of all packs begin."""


def root() -> Path:
    """The folder that is searched: what ``PARLEY_INSIGHTFACE_ROOT`` names, else ``~/.insightface``."""
    return Path(os.environ.get(ROOT) or USUAL).expanduser()


def chosen() -> bool:
    """Whether the user named a folder: only then may a network be used that was not asked for by name."""
    return bool(os.environ.get(ROOT))


def packs(folder: Path) -> list[Path]:
    """Folders of ``.onnx`` files: `folder` itself, or those in it or in its ``models``; the fullest first."""
    places = [folder, *_subfolders(folder), *_subfolders(folder / "models")]
    found = [(place, len(_networks(place))) for place in places]
    return [place for place, count in sorted(found, key=lambda entry: -entry[1]) if count]


def find(folder: Path, task: str) -> Path:
    """The network in `folder` that does `task`, told by what it takes and gives, not by its name.

    Raises
    ------
    DependencyError
        If insightface is not installed or no pack there has such a network.
    UserInputError
        If a file is damaged.
    """
    return _search(folder, task)[0]


def load(task: str, what: str, folder: Path | None = None) -> Any:
    """insightface's network for `task` out of the pack in `folder` (default `root()`); `what` asks for it.

    Raises
    ------
    DependencyError, UserInputError
        See `find`; `what` begins the sentence.
    """
    return _search(root() if folder is None else folder, task, what)[1]


def check(what: str, task: str) -> None:
    """Raise `DependencyError` where insightface or every pack is missing; `what` begins the sentence."""
    if importlib.util.find_spec("insightface") is None:
        raise _not_installed(what)
    if not packs(root()):
        raise absent(what, task, root())


def absent(what: str, task: str, folder: Path) -> DependencyError:
    """What to say where there is no network for `task`."""
    pack = ", ".join(usual for usual, _ in _USUAL_NAMES.values())
    state = "which has no such network" if packs(folder) else "where there is none" if folder.is_dir() else \
        "which does not exist"
    return DependencyError(
        f"{what} needs {_USUAL_NAMES[task][0]} of an insightface model pack, looked for in {folder}, {state}; put the "
        f"files of buffalo_l there ({pack}; {LICENCE}), or let {ROOT} or --insightface-root name their folder."
    )


def state() -> str:
    """One line for `parley doctor`: the folder, what is in it, what is missing."""
    folder, found = root(), packs(root())
    if not found:
        return (f"none in {folder} (optional: --landmarks insightface and ArcFace; put a pack such as buffalo_l there "
                f"or let {ROOT} name its folder; {LICENCE})")  # fmt: skip
    names = {path.name for path in _networks(found[0])}
    missing = [usual for usual, starts in _USUAL_NAMES.values() if not any(name.startswith(starts) for name in names)]
    lacks = f", without {', '.join(missing)}" if missing else ""
    use = "" if chosen() else f"; ArcFace is used only where {ROOT} names it"
    return f"{found[0]}{lacks} ({LICENCE}{use})"


def _not_installed(what: str) -> DependencyError:
    return DependencyError(f"{what} needs the insightface library, which is not installed; install it with: {INSTALL}.")


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _networks(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".onnx" and path.is_file())
    except OSError:
        return []


def _search(folder: Path, task: str, what: str = "This") -> tuple[Path, Any]:
    starts = _USUAL_NAMES[task][1]
    for pack in packs(folder):
        # What is called as usual comes first: opening every network of a pack takes seconds.
        for path in sorted(_networks(pack), key=lambda path: not path.name.startswith(starts)):
            network = _open(path, what)
            if getattr(network, "taskname", None) == task:
                return path, network
    raise absent(what, task, folder)


def _open(path: Path, what: str) -> Any:
    """insightface's object for the network at `path`, None for one that it does not know."""
    try:
        import onnxruntime
        from insightface.model_zoo import get_model
    except ImportError as error:
        raise _not_installed(what) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return get_model(str(path), sess_options=options)
    except Exception as error:  # onnx and onnxruntime raise types of their own, which they do not export
        raise UserInputError(f"{path} can't be loaded as an ONNX network; get the insightface pack again.") from error
