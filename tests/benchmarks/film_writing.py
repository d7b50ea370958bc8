"""Milliseconds a frame of everything after Blender: compositing, pasting back, encoding."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from ml_backend.background.composite import composite, face_mask
from ml_backend.background.warp import crop_resize
from ml_backend.film.mux import write_film
from ml_backend.film.paste_back import paste_back
from tests.benchmarks.report import Figure

PART = "writing"
BAR, SIZE, FRAMES = 15.0, 512, 50
CROP = (96.0, 60.0, 320.0)


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A plate (512, 512, 3) and a rendered crop (320, 320, 4) that move like film: soft shapes and grain."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    base = 0.5 + 0.3 * np.sin(9 * x + index / 9)[..., None] * np.array([1.0, 0.8, 0.6]) * np.cos(7 * y)[..., None]
    grain = np.random.default_rng(index).normal(0, 0.01, (SIZE, SIZE, 1))
    plate = (np.clip(base + grain, 0, 1) * 255).astype(np.uint8)
    side = int(CROP[2])
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = crop_resize(plate, CROP, side)
    cv2.ellipse(rgba, (side // 2, side // 2), (side // 3, side // 2 - 30), 0, 0, 360, (190, 150, 130, 255), -1)
    return plate, rgba


def measure(options: argparse.Namespace) -> list[Figure]:
    """The part by itself and in all."""
    made = [scene(index) for index in range(FRAMES)]

    def frames() -> Iterator[np.ndarray]:
        for plate, rgba in made:
            patch = composite(rgba, crop_resize(plate, CROP, len(rgba)))
            yield paste_back(plate, patch, CROP, face_mask(rgba[..., 3], 0.03 * len(rgba)))

    work = options.cache / "film_writing"
    work.mkdir(parents=True, exist_ok=True)
    film = work / "film.mp4"

    def write() -> None:
        write_film(frames(), None, film, size=(SIZE, SIZE), seconds=FRAMES / 25)

    def compose() -> None:
        for _ in frames():
            pass

    cv2.setNumThreads(1)
    both, only = least(write) / FRAMES * 1e3, least(compose) / FRAMES * 1e3
    note = f"{SIZE}², crop of {CROP[2]:.0f}²; the clock's or the processor's time, whichever is less"
    return [Figure(PART, "compositing and writing", both, "ms a frame", BAR, False, note),
            Figure(PART, "  of it compositing", only, "ms a frame")]


def least(action: Callable[[], object], repeats: int = 3) -> float:
    """Seconds on the clock, or of the processor where others keep it busy; best of several."""
    best = float("inf")
    for _ in range(repeats):
        clock, processor = time.perf_counter(), time.process_time()
        action()
        best = min(best, time.perf_counter() - clock, time.process_time() - processor)
    return best
