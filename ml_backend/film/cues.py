"""Cue sheets: which plate stands behind each frame of the film and how the head is turned, for editors."""

from __future__ import annotations

import csv
import io

import numpy as np

COLUMNS = ("frame", "time_code", "seconds", "plate", "plate_seconds", "key_frame", "pitch_deg", "yaw_deg", "roll_deg",
           "x_m", "y_m", "z_m")


def time_code(index: int, fps: int) -> str:
    """HH:MM:SS:FF, counted without drop, of frame `index` from 0."""
    seconds, frame = divmod(index, fps)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}"


def cue_sheet(pose: np.ndarray, fps: int, *, moments: np.ndarray | None = None,
              key_frames: np.ndarray | None = None) -> bytes:
    """CSV in UTF-8 of one line for each frame of the film, numbered from 1 as in the scene.

    Parameters
    ----------
    pose : (T, 6) pitch, yaw, roll (rad), x, y, z (m) of the head as it is shown
    moments : (T,) position in the clip of the plate behind, in its frames (at `fps`) from 0; None = no plates
    key_frames : indices of the frames at which plates were matched

    Returns
    -------
    bytes; `plate` is the number of a picture in the take's ``source`` folder, fractions lying between two
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    keys = set() if key_frames is None else set(np.asarray(key_frames).tolist())
    for index, (angles, place) in enumerate(zip(np.degrees(pose[:, :3]), pose[:, 3:], strict=True)):
        plate = ("", "", "")
        if moments is not None:
            moment = float(moments[index])
            plate = (f"{moment:.2f}".rstrip("0").rstrip("."), f"{moment / fps:.3f}", str(int(index in keys)))
        table.writerow([index + 1, time_code(index, fps), f"{index / fps:.3f}", *plate,
                        *(f"{value:.3f}" for value in angles), *(f"{value:.5f}" for value in place)])
    return text.getvalue().encode()
