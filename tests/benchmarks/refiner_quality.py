"""What the refiner's benchmark measures of the test frames, and the bars of the issue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from ml_backend.errors import ParleyError
from ml_backend.metrics.image import Quality, decibels, likeness, measure, ssim_map, to_tensor
from ml_backend.metrics.landmarks import lip_distance
from ml_backend.reconstruct.landmarks import detect
from ml_backend.refine.identity import identity_encoder
from ml_backend.refine.losses import feature_weights
from tests.benchmarks.refiner_clips import RefinerClip
from tests.benchmarks.report import Figure

GAIN, STRUCTURE_GAIN, FLICKER, SHARP = 1.5, 0.03, 1.2, (0.7, 1.3)
ABSOLUTE = {"psnr": 31.0, "ssim": 0.90}
LIPS = 1.4
"""Pixels of a crop of 256."""
SHOWN = 0.02
"""Share of the render in a pixel beyond which it belongs to the face."""


@dataclass(frozen=True)
class Found:
    """Figures of test frames, and the frames.

    Attributes
    ----------
    quality : over the whole crop, as the issue asks
    face_psnr, face_ssim : within the drawn face alone: beside it composites are the plate, bit for bit
    likeness : cosine of the mean identity features of these frames and the real ones
    lips : lip landmark distance, pixels of a 256² crop; NaN where no face was found in the frames
    seconds, cpu : of fitting, on the wall and of the processor
    frames : pictures (H, W, 3) uint8
    """

    quality: Quality
    face_psnr: float
    face_ssim: float
    likeness: float
    lips: float
    seconds: float
    cpu: float
    frames: Sequence[np.ndarray]

    def row(self) -> dict[str, float]:
        """The figures of a table's row."""
        values = {name: round(value, 5) for name, value in asdict(self.quality).items()}
        return values | {"face_psnr": round(self.face_psnr, 3), "face_ssim": round(self.face_ssim, 5),
                         "likeness": round(self.likeness, 4), "lips_px": round(self.lips, 3),
                         "seconds": round(self.seconds, 1), "cpu_seconds": round(self.cpu, 1)}


def found(clip: RefinerClip, frames: Sequence[np.ndarray], seconds: float = 0.0, cpu: float = 0.0) -> Found:
    """All figures of `frames`, one for each of the clip's test part."""
    _, real, points = clip.split(False)
    weights = [feature_weights(one, (real.shape[1], real.shape[2]), mouth=4, eyes=2) for one in points]
    encoder = identity_encoder("embedded")
    with torch.no_grad():
        quality = measure(frames, real, weights, points, consecutive=True)
        psnr, ssim = within(frames, real, clip.masks[clip.fit:] > SHOWN * 255)
        same = likeness(encoder.encode(list(frames), points), encoder.encode(real, points))
    return Found(quality, psnr, ssim, same, lips(frames, real), seconds, cpu, frames)


def within(frames: Sequence[np.ndarray], real: np.ndarray, shown: np.ndarray) -> tuple[float, float]:
    """PSNR (dB) and SSIM of the pixels `shown` (T, H, W) bool."""
    squares, structure, area, inner_area = 0.0, 0.0, 0, 0
    for made, truth, mask in zip(frames, real, shown, strict=True):
        a, b = to_tensor(made), to_tensor(truth)
        squares += float(((a - b).square().mean(1)[0].numpy() * mask).sum())
        inner = mask[5:-5, 5:-5]
        structure += float((ssim_map(a, b, span=1.0).mean(1)[0].numpy() * inner).sum())
        area, inner_area = area + int(mask.sum()), inner_area + int(inner.sum())
    return decibels(squares / max(area, 1)), structure / max(inner_area, 1)


def lips(frames: Sequence[np.ndarray], real: np.ndarray) -> float:
    """Lip landmark distance in pixels of a 256² crop: the same detector on both."""
    try:
        made, truth = (detect(list(pictures)).landmarks for pictures in (frames, real))
    except ParleyError:
        return float("nan")
    return lip_distance(truth, made)[1] * 256 / real.shape[1]


def judge(name: str, before: Found, after: Found) -> list[Figure]:
    """The bars of the issue."""
    a, b = after.quality, before.quality
    sharp = f"{b.mouth_sharpness:.2f} to {a.mouth_sharpness:.2f}"
    rows = [("PSNR gain", a.psnr - b.psnr, "dB", GAIN, True, f"{b.psnr:.2f} to {a.psnr:.2f}"),
            ("PSNR", a.psnr, "dB", ABSOLUTE["psnr"], True, ""),
            ("PSNR gain in the face", after.face_psnr - before.face_psnr, "dB", None, True,
             f"{before.face_psnr:.2f} to {after.face_psnr:.2f}"),
            ("SSIM gain", a.ssim - b.ssim, "", STRUCTURE_GAIN, True, f"{b.ssim:.4f} to {a.ssim:.4f}"),
            ("SSIM", a.ssim, "", ABSOLUTE["ssim"], True, ""),
            ("SSIM gain in the face", after.face_ssim - before.face_ssim, "", None, True,
             f"{before.face_ssim:.3f} to {after.face_ssim:.3f}"),
            ("identity similarity gain", after.likeness - before.likeness, "", 0.0, True,
             f"{before.likeness:.3f} to {after.likeness:.3f}"),
            ("mouth sharpness", a.mouth_sharpness, "", SHARP[0], True, sharp),
            ("mouth sharpness", a.mouth_sharpness, "", SHARP[1], False, sharp),
            ("flicker", a.flicker, "", FLICKER, False, f"{b.flicker:.2f} to {a.flicker:.2f}"),
            ("lip distance", after.lips, "px", LIPS, False, f"{before.lips:.2f} to {after.lips:.2f}")]
    return [Figure("refiner", f"{name} {what}", float(value), unit, bar, at_least, note)
            for what, value, unit, bar, at_least, note in rows]


def beside(name: str, published: Found | None, after: Found) -> list[Figure]:
    """What is gained on the rendering as published, with one texture and the poses of landmarks: no bars."""
    if published is None:
        return []
    a, b = after, published
    rows = [("PSNR gain on one texture", a.quality.psnr - b.quality.psnr, "dB", f"from {b.quality.psnr:.2f}"),
            ("PSNR gain on it in the face", a.face_psnr - b.face_psnr, "dB", f"from {b.face_psnr:.2f}"),
            ("SSIM gain on one texture", a.quality.ssim - b.quality.ssim, "", f"from {b.quality.ssim:.4f}"),
            ("SSIM gain on it in the face", a.face_ssim - b.face_ssim, "", f"from {b.face_ssim:.3f}")]
    return [Figure("refiner", f"{name} {what}", float(value), unit, note=note) for what, value, unit, note in rows]
