"""A folder of numbered PNG frames, ``000000.png`` onwards, read as a sequence of arrays."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import overload

import cv2
import numpy as np

from ml_backend.errors import ArtefactError, UserInputError

SCHEMA, VERSION = "parley.frames", 1
INDEX = "frames.json"
PNG_LEVEL = 1


def frame_path(folder: Path, index: int) -> Path:
    """Path of frame `index`."""
    return Path(folder) / f"{index:06d}.png"


def encode_png(image: np.ndarray) -> bytes:
    """Lossless PNG of (H, W, 3) or (H, W, 4) uint8 RGB(A), compressed lightly: frames are many and soon read back."""
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".png", cv2.cvtColor(image, order), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise ArtefactError(f"A frame of shape {image.shape} can't be written as PNG; extract the frames again.")
    return data.tobytes()


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader never meets half a file.

    Raises
    ------
    UserInputError
        If the folder can't be written or the disk is full.
    """
    part = Path(f"{path}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserInputError(f"Can't write {path} ({error.strerror}); free some space or choose "
                             "another folder.") from error


def read_png(path: Path) -> np.ndarray:
    """(H, W, 3) or, where the file has alpha, (H, W, 4) uint8 RGB(A).

    Raises
    ------
    ArtefactError
        If the file is missing or no picture.
    """
    try:
        # Through memory, because OpenCV can't open every path that the system can (umlauts on Windows).
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise ArtefactError(f"The frame {path} can't be read ({error.strerror}); extract the frames again.") from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None or image.dtype != np.uint8:
        raise ArtefactError(f"The frame {path} is damaged; delete it and run the same command again.")
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


class FrameFolder(Sequence[np.ndarray]):
    """The frames of `folder`, each (H, W, 3) uint8 RGB, read when asked for; the last few are kept in memory.

    Several threads may read at once.

    Attributes
    ----------
    folder : Path
    fps : float, frames a second
    notes : tuple of str, one sentence each: what the user should know about these frames
    """

    def __init__(self, folder: Path, count: int, *, fps: float = 25.0, notes: Sequence[str] = (),
                 keep: int = 4) -> None:
        self.folder = Path(folder)
        self.fps = fps
        self.notes = tuple(notes)
        self._count = count
        self._keep = keep
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, folder: Path) -> FrameFolder:
        """The complete frame folder at `folder`; raises `ArtefactError` if there is none."""
        index = read_index(folder)
        if not index.get("complete"):
            raise ArtefactError(f"{folder} holds no complete sequence of frames; extract them again.")
        return cls(folder, int(index["count"]), fps=float(index["fps"]), notes=index["notes"])

    @property
    def pattern(self) -> str:
        """printf pattern of the files, for tools that read image sequences."""
        return str(self.folder).replace("%", "%%") + f"{os.sep}%06d.png"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        height, width = self._read(0).shape[:2]
        return width, height

    def path(self, index: int) -> Path:
        """File of frame `index`."""
        return frame_path(self.folder, index)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """A copy of the frame(s), so that drawing on one changes nobody else's."""
        if isinstance(index, slice):
            return [self._read(i).copy() for i in range(*index.indices(self._count))]
        index = int(index)
        if not -self._count <= index < self._count:
            raise IndexError(f"frame {index} of {self._count}")
        return self._read(index % self._count).copy()

    def __iter__(self) -> Iterator[np.ndarray]:
        for index in range(self._count):
            yield self[index]

    def _read(self, index: int) -> np.ndarray:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        # Decoded without the lock, so that threads decode beside each other.
        image = np.ascontiguousarray(read_png(self.path(index))[..., :3])
        with self._lock:
            self._cache[index] = image
            if len(self._cache) > self._keep:
                self._cache.popitem(last=False)
        return image


def read_index(folder: Path) -> dict:
    """What ``frames.json`` says, {} where there is none of this version."""
    try:
        index = json.loads((Path(folder) / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(index, dict) and index.get("schema") == SCHEMA and index.get("version") == VERSION
    return index if ours else {}


def write_index(folder: Path, **facts: object) -> None:
    """Write ``frames.json``; raises `UserInputError` where that is impossible."""
    text = json.dumps({"schema": SCHEMA, "version": VERSION, **facts}, indent=1)
    write_whole(Path(folder) / INDEX, text.encode())
