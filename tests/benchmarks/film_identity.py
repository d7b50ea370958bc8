"""The identity test: a clip's own tracked performance drawn over its own plates, without the refiner."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.performance import Performance
from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS
from ml_backend.data.frames import encode_png, frame_path, read_png
from ml_backend.film.paste_back import paste_back
from ml_backend.metrics.image import decibels, ssim_map, to_tensor
from ml_backend.talk.picture import crop_size, job
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target, load_target
from tests.benchmarks.film_takes import clips, session
from tests.benchmarks.report import Figure

PART = "identity"
TESTED = 10
"""Frames of each clip, evenly spaced."""
INSIDE = 0.5
BORDER = 11 // 2
"""Pixels that SSIM's window takes from each side."""


def measure(options: argparse.Namespace) -> list[Figure]:
    """PSNR, SSIM, equality outside and the seam of every clip."""
    figures: list[Figure] = []
    for clip in clips(options):
        with session(clip, options) as run:
            target = load_target(run)
            rows = _compare(run, target, _rendered(run, target))
        means = np.nanmean([row[:3] for row in rows], 0)
        figures += [
            Figure(PART, f"{clip.stem}: PSNR in the mask", float(means[0]), "dB", 27.0, note=f"{len(rows)} frames"),
            Figure(PART, f"{clip.stem}: SSIM in the mask", float(means[1]), "", 0.85),
            Figure(PART, f"{clip.stem}: gradient across the edge", float(means[2]), "× real", 1.25, at_least=False),
            Figure(PART, f"{clip.stem}: pixels changed outside", float(sum(row[3] for row in rows)), "", 0.0,
                   at_least=False),
        ]
    return figures


def _rendered(run: Session, target: Target) -> list[tuple[int, np.ndarray]]:
    track, folder = target.track, run.take.path("identity")
    good = np.flatnonzero(track.confidence > 0)
    picks = [int(number) for number in good[np.unique(np.linspace(0, len(good) - 1, TESTED).round().astype(int))]]
    act = Performance(np.arange(len(track)) / FPS, np.clip(track.expression, 0, 1),
                      list(map(str, track.expression_names)), track.pose(), {"made_from": "track"})
    path = run.take.path("identity.npz")
    performance_file.save(act, path)
    size = crop_size(run, target)
    for old in folder.glob("*.png"):
        old.unlink()
    run.crew.run(job(run, output=str(folder.resolve()), performance=str(path.resolve()), size=size, face_only=True,
                     frames=picks), "identity", frames=len(picks))
    return [(number, read_png(frame_path(folder, number))) for number in picks]


def _compare(run: Session, target: Target, drawn: list[tuple[int, np.ndarray]]) -> list[tuple[float, ...]]:
    rows, pictures = [], []
    for number, rgba in drawn:
        size, frame = rgba.shape[0], target.frames[number]
        real, mask = crop_resize(frame, target.track.crop, size), face_mask(rgba[..., 3], FEATHER * rgba.shape[0])
        shown = composite(rgba, real)
        full = paste_back(frame, shown, target.track.crop, mask)
        # The seam is judged where viewers look: in the full frame.
        rows.append((*_inside(shown, real, mask), seam(full, frame, target.track.crop, mask),
                     float((shown != real).any(2)[mask == 0].sum()) + _outside(full, frame, target.track.crop)))
        pictures.append(np.concatenate([real, shown, np.repeat((mask[..., None] * 255).astype(np.uint8), 3, 2)], 1))
    sheet = np.concatenate(pictures[:: max(1, len(pictures) // 3)][:3])
    Path(run.take.path("identity_sheet.png")).write_bytes(encode_png(sheet))
    return rows


def _inside(shown: np.ndarray, real: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    inside = mask > INSIDE
    error = (shown[inside].astype(float) - real[inside]) / 255
    similar = ssim_map(to_tensor(shown), to_tensor(real), span=1.0).numpy()[0].mean(0)
    core = inside[BORDER:-BORDER, BORDER:-BORDER]
    return decibels(float((error**2).mean())), float(similar[core].mean())


def seam(shown: np.ndarray, real: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> float:
    """Mean gradient across the mask's edge in `shown` over that in `real`, both (H, W, 3) full frames."""
    x, y, side = (float(value) for value in crop)
    scale = side / mask.shape[0]
    matrix = np.array([[scale, 0, x + 0.5 * scale - 0.5], [0, scale, y + 0.5 * scale - 0.5]])
    placed = cv2.warpAffine(mask, matrix, real.shape[1::-1])
    soft = cv2.GaussianBlur(placed, (0, 0), 1.5)
    across = np.dstack([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)])
    across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-6)
    edge = (placed > 0.02) & (placed < 0.98)
    gradients = []
    for picture in (shown, real):
        grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 0.7).astype(np.float32)
        along = cv2.Sobel(grey, cv2.CV_32F, 1, 0) * across[..., 0] + cv2.Sobel(grey, cv2.CV_32F, 0, 1) * across[..., 1]
        gradients.append(float(np.abs(along[edge]).mean()))
    return gradients[0] / max(gradients[1], 1e-6)


def _outside(full: np.ndarray, frame: np.ndarray, crop: np.ndarray) -> float:
    """Changed pixels of the frame beyond the crop."""
    x, y, side = (round(float(value)) for value in crop)
    changed = (full != frame).any(2)
    changed[max(0, y - 1): y + side + 2, max(0, x - 1): x + side + 2] = False
    return float(changed.sum())
