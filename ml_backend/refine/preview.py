"""Before and after: a few composites above what the refiner made of them, as one picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ml_backend.data.frames import encode_png, write_whole
from ml_backend.refine.config import Frames

FRAMES = 6
TILE = 256
GAP = 4
BAND = 22


def draw_preview(composites: Frames, refined: Frames, path: Path, *, frames: int = FRAMES) -> list[int]:
    """Write a PNG: evenly spread `composites` in the first row, the `refined` ones in the second.

    Parameters
    ----------
    composites, refined : T pictures (H, W, 3) uint8 RGB each
    frames : columns (fewer if there are fewer)

    Returns
    -------
    list of int, the frames shown

    Raises
    ------
    UserInputError
        If `path` can't be written.
    """
    chosen = np.unique(np.linspace(0, len(composites) - 1, min(frames, len(composites))).round().astype(int)).tolist()
    rows = []
    for title, source in (("rendered", composites), ("refined", refined)):
        tiles = [_tile(np.asarray(source[t]), f"{title}, frame {t}") for t in chosen]
        rows.append(np.concatenate(tiles, 1))
    write_whole(path, encode_png(np.concatenate(rows)))
    return chosen


def _tile(picture: np.ndarray, title: str) -> np.ndarray:
    tile = np.full((TILE + BAND + GAP, TILE + GAP, 3), 24, np.uint8)
    shrink = picture.shape[0] > TILE
    tile[BAND:BAND + TILE, :TILE] = cv2.resize(picture[..., :3], (TILE, TILE),
                                               interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)
    cv2.putText(tile, title, (4, BAND - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA)
    return tile
