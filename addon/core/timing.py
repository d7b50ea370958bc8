"""Seconds ↔ scene frames. The only place that knows how Blender counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import numpy as np

from .errors import UserInputError


@dataclass(frozen=True)
class FrameClock:
    """The scene's clock: time 0 lies at `start_frame`, and a second lasts `fps / fps_base` frames.

    Attributes
    ----------
    fps : the scene's nominal rate, as in Blender's render settings
    fps_base : its divisor (1.001 for 29.97 = 30 / 1.001)
    start_frame : the frame at which the speech starts
    """

    fps: float = 25.0
    fps_base: float = 1.0
    start_frame: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and math.isfinite(self.fps_base) and self.fps > 0 and self.fps_base > 0):
            raise UserInputError(f"A frame rate of {self.fps} / {self.fps_base} can't be used; set one above 0.")

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.fps / self.fps_base

    @overload
    def frame(self, seconds: float) -> float: ...
    @overload
    def frame(self, seconds: np.ndarray) -> np.ndarray: ...
    def frame(self, seconds: float | np.ndarray) -> float | np.ndarray:
        """Scene frame, with its fraction, at `seconds` (float or array) from the start of the speech."""
        return self.start_frame + seconds * self.rate

    @overload
    def seconds(self, frame: float) -> float: ...
    @overload
    def seconds(self, frame: np.ndarray) -> np.ndarray: ...
    def seconds(self, frame: float | np.ndarray) -> float | np.ndarray:
        """Seconds from the start of the speech at scene `frame` (float or array)."""
        return (frame - self.start_frame) / self.rate

    def frames_until(self, seconds: float) -> np.ndarray:
        """(N,) int64: every whole scene frame from the first at or after time 0 to the last at or before `seconds`.

        At least one frame. A thousandth of a frame is forgiven, so that times that went through float32 lose no frame.
        """
        first = math.ceil(self.start_frame - 1e-3)
        last = math.floor(self.frame(float(seconds)) + 1e-3)
        return np.arange(first, max(first, last) + 1)
