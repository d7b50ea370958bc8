"""How close pictures come to the real ones: PSNR, SSIM, MS-SSIM, sharpness of the mouth, likeness, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ml_backend.metrics.flicker import flicker_ratio
from ml_backend.metrics.landmarks import LIPS

Frames = Sequence[np.ndarray] | np.ndarray
"""T pictures (H, W, 3) uint8 RGB: a list, an array (T, H, W, 3), or anything that reads them one at a time."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales (Wang, Simoncelli & Bovik 2003)."""

SATURATED = 0.95
"""Attention beyond which, or within the rest of 1, a pixel is wholly the rendering's or wholly the network's."""


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
    flicker : change from frame to frame beyond motion, relative to the real frames; NaN for fewer than two frames
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
        x, y = to_tensor(a), to_tensor(b)
        difference = (x - y).abs()
        weight = torch.from_numpy(np.asarray(w, np.float32))
        squares.append(float(difference.square().mean()))
        plain.append(float(difference.mean()))
        weighted.append(float((difference * weight).mean() / weight.mean()))
        structure.append(float(ssim_map(x, y, span=1.0).mean()))
    sharp = float("nan") if landmarks is None else sharpness_ratio(frames, landmarks, real, landmarks)
    flicker = flicker_ratio(frames, real) if consecutive and len(frames) > 1 else float("nan")
    mean_ssim, mean_l1, mean_feature = (float(np.mean(values)) for values in (structure, plain, weighted))
    return Quality(decibels(float(np.mean(squares))), mean_ssim, mean_l1, mean_feature, sharp, flicker)


def to_tensor(picture: np.ndarray) -> Tensor:
    """(1, 3, H, W) float32 in [0, 1] of `picture` (H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


def decibels(mean_square: float) -> float:
    """PSNR of a mean squared error on the scale [0, 1]; equal pictures get 100 dB."""
    return float(10 * np.log10(1 / max(mean_square, 1e-10)))


def pair_figures(picture: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """PSNR (dB), SSIM and MS-SSIM of `picture` against `real`, (H, W, 3) uint8, sides of at least 11 pixels."""
    x, y = to_tensor(picture), to_tensor(real)
    return {"psnr": decibels(float((x - y).square().mean())), "ssim": float(ssim_map(x, y, span=1.0).mean()),
            "ms_ssim": float(ms_ssim(x, y))}


def ssim_map(a: Tensor, b: Tensor, *, span: float = 2.0, luminance: bool = True) -> Tensor:
    """Structural similarity per pixel (Wang et al. 2004): Gaussian window of 11 pixels, σ = 1.5, without padding.

    Parameters
    ----------
    a, b : (B, C, H, W) float, H and W at least 11
    span : distance of white from black; 2 for pictures in [-1, 1]
    luminance : False leaves out the term of the mean brightness, as MS-SSIM does on all scales but the last
    """
    c = a.shape[1]
    x = torch.arange(11, device=a.device, dtype=a.dtype) - 5
    kernel = torch.exp(-x.square() / (2 * 1.5**2))
    kernel = (kernel / kernel.sum()).expand(5 * c, 1, 11)
    stack = torch.cat([a, b, a * a, b * b, a * b], 1)
    blurred = F.conv2d(F.conv2d(stack, kernel[:, :, :, None], groups=5 * c), kernel[:, :, None, :], groups=5 * c)
    ma, mb, aa, bb, ab = blurred.split(c, dim=1)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    structure = (2 * (ab - ma * mb) + c2) / (aa - ma * ma + bb - mb * mb + c2)
    return structure * (2 * ma * mb + c1) / (ma * ma + mb * mb + c1) if luminance else structure


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """() multi-scale SSIM (Wang, Simoncelli & Bovik 2003) of pictures (B, C, H, W) in [0, 1].

    Scales too small for the window of 11 pixels are left out and the exponents of the others scaled to sum to one.
    """
    count = max(1, min(len(MS_SSIM_WEIGHTS), int(np.log2(min(a.shape[-2:]) / 11)) + 1))
    exponents = np.array(MS_SSIM_WEIGHTS[:count]) / sum(MS_SSIM_WEIGHTS[:count])
    result = torch.ones((), dtype=a.dtype, device=a.device)
    for scale, exponent in enumerate(exponents):
        last = scale == count - 1
        part = ssim_map(a, b, span=1.0) if last else ssim_map(a, b, span=1.0, luminance=False)
        result = result * part.mean().clamp(min=0) ** float(exponent)
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result


def sharpness_ratio(frames: Frames, landmarks: np.ndarray, real: Frames, real_landmarks: np.ndarray) -> float:
    """Median of the mouth's Laplacian variance in `frames` over that in `real`; NaN where no lips are known.

    Landmarks are (T, 478, 2 or 3), pixels of their own frames; 1 is as sharp as the real mouth.
    """
    ratios = []
    for frame, points, truth, others in zip(frames, landmarks, real, real_landmarks, strict=True):
        if np.isfinite(points).all() and np.isfinite(others).all():
            ratios.append(_laplacian(_mouth(frame, points)) / max(_laplacian(_mouth(truth, others)), 1e-6))
    return float(np.median(ratios)) if ratios else float("nan")


def likeness(features: np.ndarray, real: np.ndarray) -> float:
    """Cosine of the mean identity features (N, D) and (M, D): 1 = the same person to that encoder."""
    a, b = features.mean(0), real.mean(0)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def saturation(attention: np.ndarray) -> float:
    """Share of the entries of `attention`, in [0, 1], that decide wholly for the rendering or wholly against it."""
    return float(((attention > SATURATED) | (attention < 1 - SATURATED)).mean())


def _mouth(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    lips = points[list(LIPS), :2]
    low, high = np.maximum(lips.min(0) - 4, 0).astype(int), (lips.max(0) + 5).astype(int)
    return picture[low[1]:high[1], low[0]:high[0]]


def _laplacian(picture: np.ndarray) -> float:
    if min(picture.shape[:2]) < 3:
        return 0.0
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
