"""Contact sheets: a film at one glance."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from ml_backend.data import decode
from ml_backend.data.frames import encode_png, write_whole
from ml_backend.errors import UserInputError

TILE = 320  # pixels, width of a frame on the sheet
GAP = 4
BACK = 24


def write_sheet(film: Path, out: Path, *, frames: int = 12, columns: int = 4) -> list[float]:
    """PNG of evenly spaced frames of `film`, each with its time.

    Parameters
    ----------
    film : video file
    out : the PNG
    frames : number of frames shown (fewer if the film has fewer)
    columns : frames in a row

    Returns
    -------
    list of float, the times shown, seconds

    Raises
    ------
    UserInputError
        If the film can't be read or the sheet can't be written.
    """
    times = _times(film)
    chosen = np.unique(np.rint(np.linspace(0, len(times) - 1, min(frames, len(times)))).astype(int))
    images = _pictures(film, set(chosen.tolist()))
    shown = [times[i] for i in chosen]
    tiles = [_tile(image, time) for image, time in zip(images, shown, strict=True)]
    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    across = min(columns, len(tiles))
    sheet = np.full((rows * (height + GAP) + GAP, across * (width + GAP) + GAP, 3), BACK, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = GAP + number // columns * (height + GAP), GAP + number % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    write_whole(Path(out), encode_png(sheet))
    return shown


def _times(film: Path) -> list[float]:
    with decode.open_clip(Path(film)) as container:
        stream = decode.picture_stream(container, Path(film))
        times = [time for time, _ in decode.timed_frames(container, stream, decode.Damage())]
    if not times:
        raise UserInputError(f"{film} holds no frame that can be decoded; make the film again.")
    return times


def _pictures(film: Path, wanted: set[int]) -> list[np.ndarray]:
    """Decoded a second time rather than kept: a minute of full frames would fill the memory."""
    images: list[np.ndarray] = []
    with decode.open_clip(Path(film)) as container:
        stream = decode.picture_stream(container, Path(film))
        convert: decode.ToRgb | None = None
        for number, (_, frame) in enumerate(decode.timed_frames(container, stream, decode.Damage())):
            if number in wanted:
                convert = convert or decode.ToRgb(frame, decode.pixel_aspect(stream, frame), 1 << 14)
                images.append(convert(frame))
    return images


def _tile(image: np.ndarray, time: float) -> np.ndarray:
    height = max(1, round(TILE * image.shape[0] / image.shape[1]))
    tile = cv2.resize(image, (TILE, height), interpolation=cv2.INTER_AREA)
    font, place = cv2.FONT_HERSHEY_SIMPLEX, (8, height - 10)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, f"{time:.2f} s", place, font, 0.55, colour, thickness, cv2.LINE_AA)
    return tile
