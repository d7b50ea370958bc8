"""Which clips a folder holds, who speaks in them and which of them validate, for the layouts that data sets come in.

- ``plain``: clips in one folder, one speaker; or an ``index.csv`` that says more
- ``lrw``: ``WORD/{train,val,test}/WORD_00001.mp4``, a new speaker in each
- ``grid``: GRID's six-letter sentences, speakers in folders ``s1`` … ``s34``
- ``voxceleb``: ``PERSON/VIDEO/CLIP.mp4`` (VoxCeleb2, HDTF cut into crops)
- ``facegood``: FLAC files and the weights of a rig in ``blendshape_weights.npz``
- ``livelink``: tables of Live Link Face, each with the sound of the same name
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ml_backend.errors import UserInputError

CLIPS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg")
SOUNDS = (*CLIPS, ".wav", ".flac", ".m4a", ".mp3", ".aac")
FACEGOOD_WEIGHTS = "blendshape_weights.npz"
LEAST_SYNC = 0.24
"""Correlation of lips and sound below which a training clip is doubtful."""
VALIDATION_SHARE = 8
"""One speaker (one clip, where there is one speaker) in so many validates where nobody says otherwise; chosen by name,
so that it is the same on every run."""
_GRID = re.compile(r"[bpls][bgrw][abiw][a-z][0-9z][anps]")
_GRID_FOLDER = re.compile(r"s\d{1,2}")
_LRW_SPLITS = {"train": "train", "val": "validate", "test": ""}


@dataclass(frozen=True)
class Source:
    """A clip and what is known of it.

    Attributes
    ----------
    path : the clip, or the sound beside a table of weights
    name : of the shard, unique within the data set
    speaker, split : of the shard; an empty split is kept out, see `reason`
    late_ms : how much the sound comes after the picture; None where it has to be measured
    collection, rights : what the card says about it
    channels : "" for a clip with a face, "facegood" or "livelink" where weights are given
    reason : why it is not used
    """

    path: Path
    name: str
    speaker: str
    split: str
    late_ms: float | None = None
    collection: str = ""
    rights: str = "unclear"
    channels: str = ""
    reason: str = ""


def find_sources(folder: Path, *, layout: str = "auto", draw_split: bool = True, rights: str = "unclear"
                 ) -> list[Source]:
    """The clips of `folder`, sorted.

    Parameters
    ----------
    folder : where they lie
    layout : one of `LAYOUTS`, or "auto"
    draw_split : whether some of them validate where the layout doesn't say which
    rights : "open", or whatever the card should say

    Raises
    ------
    UserInputError
        If `folder` is no folder or the layout is unknown.
    """
    if not folder.is_dir():
        raise UserInputError(f"{folder} is no folder; give folders of clips.")
    if layout != "auto" and layout not in LAYOUTS:
        raise UserInputError(f"The layout {layout} is unknown; give auto or one of {', '.join(LAYOUTS)}.")
    found = LAYOUTS[layout_of(folder) if layout == "auto" else layout](folder)
    named = [replace(source, rights=rights, collection=source.collection or folder.name) for source in found]
    return [_drawn(source, draw_split) for source in named]


def layout_of(folder: Path) -> str:
    """The layout that the names in `folder` look like."""
    if (folder / "index.csv").exists():
        return "plain"
    if (folder / FACEGOOD_WEIGHTS).exists():
        return "facegood"
    if any(_is_live_link(path) for path in sorted(folder.rglob("*.csv"))[:20]):
        return "livelink"
    clips = _clips(folder)
    if any(_lrw_split(path) is not None for path in clips[:50]):
        return "lrw"
    if clips and sum(bool(_GRID.fullmatch(path.stem)) for path in clips) > len(clips) / 2:
        return "grid"
    return "voxceleb" if any(len(path.relative_to(folder).parts) >= 3 for path in clips) else "plain"


def _plain(folder: Path) -> list[Source]:
    index = _index(folder)
    found = []
    for path in _clips(folder, deep=False):
        row = index.get(path.name, {})
        sync, split = float(row.get("sync_corr") or 1), row.get("split") or ""
        late = float(row["audio_late_ms"]) if row.get("audio_late_ms") else None
        speaker = row.get("speaker") or (path.stem if index else folder.name)
        reason = f"lips and sound hardly agree (r = {sync:.2f} by index.csv, needed is {LEAST_SYNC})"
        doubtful = split == "train" and sync < LEAST_SYNC
        found.append(Source(path, _name(folder, path), speaker, split, late, reason=reason if doubtful else ""))
    return found


def _index(folder: Path) -> dict[str, dict[str, str]]:
    if not (folder / "index.csv").exists():
        return {}
    try:
        with open(folder / "index.csv", newline="", encoding="utf-8-sig") as stream:
            rows = {Path(row["file"]).name: row for row in csv.DictReader(stream)}
            for row in rows.values():
                row |= {name: str(float(row[name])) for name in ("sync_corr", "audio_late_ms") if row.get(name)}
            return rows
    except (KeyError, ValueError) as error:
        raise UserInputError(f"{folder / 'index.csv'} can't be read ({error}); it needs a column file, and numbers in "
                             "audio_late_ms and sync_corr.") from error


def _lrw(folder: Path) -> list[Source]:
    found = []
    for path in _clips(folder):
        split = _lrw_split(path)
        if split is not None:
            reason = "" if split else "LRW's test split is kept back for tests"
            found.append(Source(path, _name(folder, path), path.stem, split, collection="LRW", reason=reason))
    return found


def _lrw_split(path: Path) -> str | None:
    """Our name for the split of an LRW clip, "" for its test split, None if it isn't one."""
    word, split = path.parent.parent.name, path.parent.name
    return _LRW_SPLITS.get(split) if path.stem.rpartition("_")[0] == word else None


def _grid(folder: Path) -> list[Source]:
    found = []
    for path in _clips(folder):
        speaker = f"grid_{path.parent.name if _GRID_FOLDER.fullmatch(path.parent.name) else path.stem}"
        found.append(Source(path, _name(folder, path), speaker, "", 0.0, collection="GRID"))
    return found


def _voxceleb(folder: Path) -> list[Source]:
    return [Source(path, _name(folder, path), path.relative_to(folder).parts[0], "") for path in _clips(folder)]


def _facegood(folder: Path) -> list[Source]:
    return [Source(path, _name(folder, path), "facegood", "train", 0.0, collection="FACEGOOD", channels="facegood")
            for path in sorted(folder.glob("*.flac"))]


def _livelink(folder: Path) -> list[Source]:
    found = []
    for table in sorted(folder.rglob("*.csv")):
        if not _is_live_link(table):
            continue
        sounds = [path for path in sorted(table.parent.glob(f"{glob_safe(table.stem)}.*")) if path.suffix.lower() in
                  SOUNDS]
        reason = "" if sounds else f"there is no sound named {table.stem} (.wav, .mov, …) beside the table"
        found.append(Source(sounds[0] if sounds else table, _name(folder, table), table.parent.name, "", 0.0,
                            channels="livelink", reason=reason))
    return found


LAYOUTS: dict[str, Callable[[Path], list[Source]]] = {
    "plain": _plain, "lrw": _lrw, "grid": _grid, "voxceleb": _voxceleb, "facegood": _facegood, "livelink": _livelink}


def glob_safe(stem: str) -> str:
    """`stem` for use in a glob pattern."""
    return re.sub(r"([\[\]*?])", r"[\1]", stem)


def _is_live_link(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return stream.readline().startswith("Timecode,BlendShapeCount")
    except (OSError, UnicodeDecodeError):
        return False


def _clips(folder: Path, *, deep: bool = True) -> list[Path]:
    return sorted(path for path in (folder.rglob("*") if deep else folder.iterdir()) if path.suffix.lower() in CLIPS)


def _name(folder: Path, path: Path) -> str:
    """Unique within the data set: the folder's name and the path below it."""
    return "_".join((folder.name, *path.relative_to(folder).parts[:-1], path.stem)).strip("_")


def _drawn(source: Source, draw_split: bool) -> Source:
    """`source` with a split where the layout gave none."""
    if source.split or source.reason:
        return source
    # The people of a folder of people are held out whole; a single speaker's clips one by one.
    whole = source.speaker if source.speaker not in (source.path.parent.name, f"grid_{source.path.parent.name}") \
        else source.path.stem
    drawn = int(hashlib.sha256(whole.encode()).hexdigest(), 16) % VALIDATION_SHARE
    return replace(source, split="validate" if draw_split and drawn == 0 else "train")
