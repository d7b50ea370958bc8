"""The pictures behind the rendered face: frames of the clip with what was changed in them laid over."""

from __future__ import annotations

import re
import struct
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import overload

import cv2
import numpy as np

from ml_backend.data.frames import encode_png, frame_path, read_png, write_whole
from ml_backend.errors import ArtefactError

KEEP = 3
HEADER = 33
"""Bytes of a PNG's signature and its IHDR chunk, behind which other chunks may stand."""
SIZE_KEY = b"Frame size"
OFFSET, FRAME_SIZE = re.compile(rb"oFFs(.{8})", re.DOTALL), re.compile(SIZE_KEY + rb"\0(\d+)x(\d+)")


class PlateFrames(Sequence[np.ndarray]):
    """One full frame (H, W, 3) uint8 RGB for every output frame; several threads may read at once.

    Parameters
    ----------
    frames : of the clip
    source : (T,) which of them is behind each output frame
    overlays : folder of the pictures that `write_overlay` made, one for each output frame; None where the plates are
        the clip's own
    """

    def __init__(self, frames: Sequence[np.ndarray], source: np.ndarray, overlays: Path | None = None) -> None:
        self._frames, self._source, self._overlays = frames, source, overlays
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """A copy of the frame(s)."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        with self._lock:
            made = self._cache.get(number)
        if made is None:
            made = self._made(number)
            with self._lock:
                self._cache[number] = made
                if len(self._cache) > KEEP:
                    self._cache.popitem(last=False)
        return made.copy()

    def _made(self, number: int) -> np.ndarray:
        frame = self._frames[int(self._source[number])]
        if self._overlays is None:
            return frame
        path = frame_path(self._overlays, number)
        (x, y, *whole), over = _read_offset(path), read_png(path)
        if tuple(whole) != frame.shape[1::-1]:
            raise ArtefactError(f"{path} is not of the clip's size; delete its folder and run the same command again.")
        place = (slice(y, y + over.shape[0]), slice(x, x + over.shape[1]))
        if over.shape != frame[place].shape:
            raise ArtefactError(f"{path} is damaged; delete it and run the same command again.")
        made = frame.copy()
        made[place] = over
        return made


def write_overlay(path: Path, frame: np.ndarray, shown: np.ndarray) -> None:
    """Write what `shown` (H, W, 3) uint8 changes in `frame`, for `PlateFrames`: a PNG that says where it belongs.

    It holds the smallest rectangle of `shown` with all changes, its place in PNG's oFFs chunk and the frame's size in
    a text chunk.
    """
    apart = cv2.absdiff(shown, frame).reshape(frame.shape[0], -1)
    left, top, wide, tall = cv2.boundingRect(apart)
    x0, x1, y0, y1 = left // 3, max(1, -(-(left + wide) // 3)), top, top + max(1, tall)
    data = encode_png(shown[y0:y1, x0:x1])
    place = struct.pack(">iiB", x0, y0, 0)
    size = SIZE_KEY + b"\0" + f"{frame.shape[1]}x{frame.shape[0]}".encode()
    write_whole(path, data[:HEADER] + _chunk(b"oFFs", place) + _chunk(b"tEXt", size) + data[HEADER:])


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _read_offset(path: Path) -> tuple[int, int, int, int]:
    """x, y of an overlay's upper left corner, and width and height of its frame; raises `ArtefactError`."""
    try:
        with path.open("rb") as file:
            begin = file.read(HEADER + 128)
    except OSError as error:
        raise ArtefactError(f"The plate {path} can't be read ({error.strerror}); run the same command "
                            "again.") from error
    place, size = OFFSET.search(begin), FRAME_SIZE.search(begin)
    if place is None or size is None:
        raise ArtefactError(f"{path} is no plate of this version; delete its folder and run the same command again.")
    x, y = struct.unpack(">ii", place[1])
    return x, y, int(size[1]), int(size[2])
