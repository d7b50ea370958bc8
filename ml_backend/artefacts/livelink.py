"""Live Link Face CSV: the format in which phones record faces and Unreal, Unity and Blender add-ons read them.

One row per frame: ``Timecode`` as HH:MM:SS:FF.sss (frames of the recording, then a fraction of a frame),
``BlendShapeCount``, ARKit's 52 weights in PascalCase, then head and eye rotations in radians (61 values in all).
The layout is that of files written by Epic's Live Link Face app; eye rotations stay 0 in files that Parley writes,
because the eyeLook weights say the same.
"""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import numpy as np

from ml_backend.artefacts.performance import Performance, validate
from ml_backend.errors import ArtefactError

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
_MOUTH_PAIRS = ("Smile", "Frown", "Dimple", "Stretch")
_LIP_PAIRS = ("Press", "LowerDown", "UpperUp")


def _pair(stem: str) -> list[str]:
    return [f"{stem}Left", f"{stem}Right"]


SHAPES: tuple[str, ...] = (
    *(f"Eye{part}{side}" for side in ("Left", "Right") for part in _EYE),
    *("JawForward", "JawRight", "JawLeft", "JawOpen", "MouthClose", "MouthFunnel", "MouthPucker"),
    *("MouthRight", "MouthLeft"),
    *(name for part in _MOUTH_PAIRS for name in _pair(f"Mouth{part}")),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(name for part in _LIP_PAIRS for name in _pair(f"Mouth{part}")),
    *(*_pair("BrowDown"), "BrowInnerUp", *_pair("BrowOuterUp"), "CheekPuff", *_pair("CheekSquint")),
    *(*_pair("NoseSneer"), "TongueOut"),
)
"""The 52 weight columns in the app's order."""

HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
EYES = tuple(f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll"))
COLUMNS = ("Timecode", "BlendShapeCount", *SHAPES, *HEAD, *EYES)
_POSE_COLUMNS = {"HeadPitch": 0, "HeadYaw": 1, "HeadRoll": 2}
_TIMECODE = re.compile(r"^(\d+):(\d+):(\d+):(\d+)(?:\.(\d+))?$")


def save(performance: Performance, path: Path, *, fps: float = 60.0) -> None:
    """Write `performance` as CSV.

    Parameters
    ----------
    performance : its expression names in lowerCamel; those that are none of the 52 are left out, missing ones are 0
    path : replaced as a whole, or not at all
    fps : frames per second by which the timecode counts

    Raises
    ------
    ArtefactError
        If the performance is not valid.
    """
    validate(performance, path)
    at = {name[:1].upper() + name[1:]: index for index, name in enumerate(performance.names)}
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for time, weights, pose in zip(performance.times, performance.expression, performance.pose, strict=True):
        shapes = [f"{weights[at[name]]:.6f}" if name in at else "0" for name in SHAPES]
        head = [f"{pose[_POSE_COLUMNS[name]]:.6f}" for name in HEAD]
        writer.writerow([_timecode(float(time), fps), len(SHAPES) + len(HEAD) + len(EYES), *shapes, *head,
                         *["0"] * len(EYES)])
    part = path.with_name(path.name + ".part")
    part.write_text(stream.getvalue(), encoding="utf-8")
    os.replace(part, path)


def load(path: Path, *, fps: float = 60.0) -> Performance:
    """Read a CSV: times from its timecode (s, the first row at 0), weights in lowerCamel, head rotation as pose.

    Parameters
    ----------
    path : file
    fps : frames per second by which its timecode counts (the app's setting; 60 by default)

    Returns
    -------
    Performance
        T rows, expression (T, 52) float32 clipped to [0, 1], pose (T, 6) with translation 0

    Raises
    ------
    ArtefactError
        If the file lacks the header or its rows are damaged.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} can't be read as a Live Link Face CSV ({error}).") from error
    columns = {name.lower(): index for index, name in enumerate(rows[0])} if rows else {}
    missing = [name for name in ("Timecode", *SHAPES) if name.lower() not in columns]
    if missing:
        raise ArtefactError(f"{path} is no Live Link Face CSV: its header lacks {missing[0]}.")
    if len(rows) < 2:
        raise ArtefactError(f"{path} has a header and no frame; record it again.")
    times = np.array([_seconds(row[columns["timecode"]], fps, path, line) for line, row in enumerate(rows[1:], 2)])
    weights = _numbers(rows[1:], [columns[name.lower()] for name in SHAPES], path)
    pose = np.zeros((len(times), 6), np.float32)
    for name, axis in _POSE_COLUMNS.items():
        if name.lower() in columns:
            pose[:, axis] = _numbers(rows[1:], [columns[name.lower()]], path)[:, 0]
    names = [name[:1].lower() + name[1:] for name in SHAPES]
    keep = np.flatnonzero(np.diff(times, prepend=-np.inf) > 0)
    result = Performance(times[keep] - times[keep[0]], np.clip(weights[keep], 0, 1), names, pose[keep],
                         {"source": path.name, "format": "Live Link Face CSV"})
    validate(result, path)
    return result


def _numbers(rows: list[list[str]], columns: list[int], path: Path) -> np.ndarray:
    """(T, C) float32 of the columns of the rows."""
    try:
        values = np.array([[float(row[column]) for column in columns] for row in rows], np.float32)
    except (ValueError, IndexError) as error:
        raise ArtefactError(f"{path} holds a row with a missing or unreadable number ({error}).") from error
    if not np.isfinite(values).all():
        raise ArtefactError(f"{path} holds a value that is no number; record it again.")
    return values


def _timecode(seconds: float, fps: float) -> str:
    base = round(fps)
    whole, thousandths = divmod(round(seconds * fps * 1000), 1000)
    minutes, frame = divmod(whole, base * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{frame // base:02d}:{frame % base:02d}.{thousandths:03d}"


def _seconds(timecode: str, fps: float, path: Path, line: int) -> float:
    found = _TIMECODE.match(timecode.strip())
    if found is None:
        raise ArtefactError(f"{path}, line {line}: {timecode!r} is no timecode like 00:00:01:05.000.")
    hours, minutes, seconds, frames = (int(part) for part in found.groups()[:4])
    fraction = int(found[5]) / 10 ** len(found[5]) if found[5] else 0.0
    base = round(fps)
    return (((hours * 60 + minutes) * 60 + seconds) * base + frames + fraction) / fps
