"""Live Link Face CSV, read and written without the backend: what a phone recorded, as a `Performance`.

The same layout and the same results as the backend's; `tests/contract/test_livelink_reader.py` holds them equal.
"""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import numpy as np

from .channels import ARKIT
from .errors import ArtefactError, UserInputError
from .performance import Performance, validate

_HEAD = {"headpitch": 0, "headyaw": 1, "headroll": 2}
_TURNS = ("HeadYaw", "HeadPitch", "HeadRoll")
_EYES = tuple(f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll"))
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
_TIMECODE = re.compile(r"^(\d+):(\d+):(\d+):(\d+)(?:\.(\d+))?$")


def load(path: Path | str, fps: float = 60.0) -> Performance:
    """Times from the timecode (s, the first row at 0), the 52 weights, and the head's rotation as pose.

    Parameters
    ----------
    path : file
    fps : frames per second by which its timecode counts (the app's setting)

    Returns
    -------
    Performance
        T rows, expression (T, 52) float32 clipped to [0, 1] in ARKit's order, pose (T, 6) with translation 0

    Raises
    ------
    ArtefactError
        If the file lacks a column, has no frame, or holds something that is no number.
    """
    rows = _rows(path)
    columns = {name.strip().lower(): index for index, name in enumerate(rows[0])} if rows else {}
    missing = [name for name in ("Timecode", *ARKIT) if name.lower() not in columns]
    if missing:
        raise ArtefactError(f"{path} is no Live Link Face CSV: its header lacks {missing[0]}.")
    if len(rows) < 2:
        raise ArtefactError(f"{path} has a header and no frame; record it again.")
    body = rows[1:]
    try:
        times = np.array([_seconds(row[columns["timecode"]], fps) for row in body])
        weights = _numbers(body, [columns[name.lower()] for name in ARKIT])
        pose = np.zeros((len(body), 6), np.float32)
        for name, axis in _HEAD.items():
            if name in columns:
                pose[:, axis] = _numbers(body, [columns[name]])[:, 0]
    except (ValueError, IndexError) as error:
        raise ArtefactError(f"{path} holds a row with a missing or unreadable value ({error}).") from error
    keep = np.flatnonzero(np.diff(times, prepend=-np.inf) > 0)
    result = Performance(times[keep] - times[keep[0]], np.clip(weights[keep], 0, 1), list(ARKIT), pose[keep],
                         {"source": Path(path).name, "format": "Live Link Face CSV"})
    validate(result, path)
    return result


def save(performance: Performance, path: Path | str, fps: float = 60.0) -> None:
    """Write `performance` as the app does, byte for byte as the backend writes it, replacing `path` when complete.

    Shapes that are none of the 52 are left out, missing ones are 0; `fps` is what the timecode counts by.

    Raises
    ------
    ArtefactError, UserInputError
        If the performance is not valid, or the file can't be written.
    """
    validate(performance, path)
    path = Path(path)
    shapes = [_SWAPPED.get(name, name) for name in ARKIT]
    at = {name: index for index, name in enumerate(performance.names)}
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["Timecode", "BlendShapeCount", *(name[:1].upper() + name[1:] for name in shapes), *_TURNS, *_EYES])
    for time, weights, pose in zip(performance.times, performance.expression, performance.pose, strict=True):
        values = [f"{weights[at[name]]:.6f}" if name in at else "0" for name in shapes]
        head = [f"{pose[_HEAD[name.lower()]]:.6f}" for name in _TURNS]
        writer.writerow([_timecode(float(time), fps), len(shapes) + len(_TURNS) + len(_EYES), *values, *head,
                         *["0"] * len(_EYES)])
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(stream.getvalue(), encoding="utf-8", newline="")
        os.replace(part, path)
    except OSError as error:
        raise UserInputError(f"Can't write {path}: {error.strerror}. Choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def _timecode(seconds: float, fps: float) -> str:
    base = round(fps)
    whole, thousandths = divmod(round(seconds * fps * 1000), 1000)
    minutes, frame = divmod(whole, base * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{frame // base:02d}:{frame % base:02d}.{thousandths:03d}"


def _rows(path: Path | str) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            return [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtefactError(f"{path} can't be read as a Live Link Face CSV ({error}).") from error


def _numbers(rows: list[list[str]], columns: list[int]) -> np.ndarray:
    """(T, C) float32; `ValueError` if a cell is no finite number."""
    values = np.array([[float(row[column]) for column in columns] for row in rows], np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    return values


def _seconds(timecode: str, fps: float) -> float:
    found = _TIMECODE.match(timecode.strip())
    if found is None:
        raise ValueError(f"{timecode!r} is no timecode like 00:00:01:05.000")
    hours, minutes, seconds, frames = (int(part) for part in found.groups()[:4])
    fraction = int(found[5]) / 10 ** len(found[5]) if found[5] else 0.0
    return (((hours * 60 + minutes) * 60 + seconds) * round(fps) + frames + fraction) / fps
