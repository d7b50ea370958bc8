"""Live Link Face CSV, read without the backend: what a phone recorded, as a `Performance`.

The same layout and the same results as the backend's reader; `tests/contract/test_livelink_reader.py` holds them equal.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from .channels import ARKIT
from .errors import ArtefactError
from .performance import Performance, validate

_HEAD = {"headpitch": 0, "headyaw": 1, "headroll": 2}
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
