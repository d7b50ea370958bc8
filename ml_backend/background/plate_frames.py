"""The pictures behind the rendered face: frames of the clip with what was changed in them laid over."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from ml_backend.data.frames import encode_png, frame_path, read_png, write_whole
from ml_backend.errors import ArtefactError

KEEP = 3


class PlateFrames(Sequence[np.ndarray]):
    """One full frame (H, W, 3) uint8 RGB for every output frame.

    Parameters
    ----------
    frames : of the clip
    source : (T,) which of them is behind each output frame
    overlays : folder of RGBA pictures, as large as the frames, opaque where a plate differs from its source frame; None
        where the plates are the clip's own
    """

    def __init__(self, frames: Sequence[np.ndarray], source: np.ndarray, overlays: Path | None = None) -> None:
        self._frames, self._source, self._overlays = frames, source, overlays
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()

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
        if number not in self._cache:
            self._cache[number] = self._made(number)
            if len(self._cache) > KEEP:
                self._cache.popitem(last=False)
        return self._cache[number].copy()

    def _made(self, number: int) -> np.ndarray:
        frame = self._frames[int(self._source[number])]
        if self._overlays is None:
            return frame
        over = read_png(frame_path(self._overlays, number))
        if over.shape != (*frame.shape[:2], 4):
            raise ArtefactError(f"{frame_path(self._overlays, number)} is not of the clip's size; delete its folder "
                                "and run the same command again.")
        return np.where(over[..., 3:] > 0, over[..., :3], frame)


def write_overlay(path: Path, frame: np.ndarray, shown: np.ndarray) -> None:
    """Write what `shown` (H, W, 3) uint8 changes in `frame`, for `PlateFrames`."""
    changed = (shown != frame).any(2)
    over = np.dstack([np.where(changed[..., None], shown, 0), changed.astype(np.uint8) * 255])
    write_whole(path, encode_png(over))


