"""What the refiner is judged by on held-out frames, without landmark network or other weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch

from ml_backend.refine.config import Frames
from ml_backend.refine.losses import LIPS, ssim_map


@dataclass(frozen=True)
class Quality:
    """Figures of frames against the real ones.

    Attributes
    ----------
    psnr : dB, over all pixels
    ssim : [-1, 1]
    l1 : mean absolute difference in [0, 1]
    feature_l1 : the same under the mouth and eye weights
    mouth_sharpness : variance of the Laplacian around the lips, relative to the real frames; NaN without landmarks
    flicker : mean absolute change from frame to frame, relative to the real frames; NaN for fewer than two frames
    """

    psnr: float
    ssim: float
    l1: float
    feature_l1: float
    mouth_sharpness: float
    flicker: float

    @property
    def error(self) -> float:
        """One number to choose by, lower is better: 10 L1 under the weights + 1 - SSIM."""
        return 10 * self.feature_l1 + 1 - self.ssim

    def as_dict(self) -> dict[str, float | None]:
        """JSON-ready figures; what could not be measured is None."""
        return {key: None if np.isnan(value) else round(value, 5) for key, value in asdict(self).items()}


def measure(
    frames: Frames,
    real: Frames,
    weights: Frames,
    landmarks: np.ndarray | None = None,
    *,
    consecutive: bool = True,
) -> Quality:
    """Quality of `frames` against `real`, T pictures (H, W, 3) uint8 RGB each.

    Parameters
    ----------
    weights : T maps (H, W), see `ml_backend.refine.losses.feature_weights`
    landmarks : (T, 478, 2 or 3), pixels, of the real frames
    consecutive : whether the frames follow each other, so that flicker means something
    """
    squares, structure, plain, weighted = [], [], [], []
    for a, b, w in zip(frames, real, weights, strict=True):
        x, y = (torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float() / 255 for p in (a, b))
        difference = (x - y).abs()
        weight = torch.from_numpy(np.asarray(w, np.float32))
        squares.append(float(difference.square().mean()))
        plain.append(float(difference.mean()))
        weighted.append(float((difference * weight).mean() / weight.mean()))
        structure.append(float(ssim_map(x, y, span=1.0).mean()))
    psnr = 10 * np.log10(1 / max(float(np.mean(squares)), 1e-10))
    sharp = float("nan") if landmarks is None else _sharpness_ratio(frames, real, landmarks)
    flicker = _change(frames) / max(_change(real), 1e-6) if consecutive and len(frames) > 1 else float("nan")
    mean_ssim, mean_l1, mean_feature = (float(np.mean(values)) for values in (structure, plain, weighted))
    return Quality(float(psnr), mean_ssim, mean_l1, mean_feature, sharp, flicker)


def _change(frames: Frames) -> float:
    """Mean absolute change between neighbouring frames, in [0, 255]."""
    pairs = pairwise(list(frames))
    return float(np.mean([np.abs(a.astype(np.int16) - b.astype(np.int16)).mean() for a, b in pairs]))


def _sharpness_ratio(frames: Frames, real: Frames, landmarks: np.ndarray) -> float:
    ratios = []
    for frame, truth, points in zip(frames, real, landmarks[..., :2], strict=True):
        if not np.isfinite(points).all():
            continue
        lips = points[list(LIPS)]
        low = np.maximum(lips.min(0) - 4, 0).astype(int)
        high = (lips.max(0) + 5).astype(int)
        box = np.s_[low[1] : high[1], low[0] : high[0]]
        ratios.append(_laplacian(frame[box]) / max(_laplacian(truth[box]), 1e-6))
    return float(np.median(ratios)) if ratios else float("nan")


def _laplacian(picture: np.ndarray) -> float:
    if min(picture.shape[:2]) < 3:
        return 0.0
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
