"""The refiner's losses: eq. (4) of Yi et al. 2020, and terms that a few minutes of training need beside it.

Which way round the attention is: o = A · r + (1 - A) · C, so A = 1 keeps the rendering and A = 0 takes the generated
colour. λ2 pulls A towards 0, towards the generated colour: it keeps the network from the easy way out of leaving
every pixel unrefined. Nothing but the L1 term pulls A up, where the rendering (or the plate beside the face) is right.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ml_backend.metrics.image import ssim_map

LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)


def adversarial_loss(logits: Tensor, real: bool) -> Tensor:
    """Vanilla GAN term: binary cross entropy of `logits` against all real or all fake."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Half the sum of both cross entropies, the published scaling of D's step."""
    return 0.5 * (adversarial_loss(real, True) + adversarial_loss(fake, False))


def weighted_l1(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean |output - target|, or its mean under `weight` (B, 1, H, W) divided by the mean weight."""
    difference = (output - target).abs()
    if weight is None:
        return difference.mean()
    return (difference * weight).mean() / weight.mean()


def attention_loss(attention: Tensor) -> Tensor:
    """Root mean square of A over its pixels: the ‖A‖₂ of eq. (4), independent of the picture's size."""
    return attention.square().mean((1, 2, 3)).add(1e-12).sqrt().mean()


def variation_loss(attention: Tensor) -> Tensor:
    """Sum of squared differences of neighbouring A, mean over the batch (eq. (4), third term)."""
    rows = (attention[:, :, 1:] - attention[:, :, :-1]).square().sum((1, 2, 3))
    columns = (attention[..., 1:] - attention[..., :-1]).square().sum((1, 2, 3))
    return (rows + columns).mean()


def edge_loss(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """L1 distance of the horizontal and vertical pixel differences: asks for edges where the target has them."""
    rows = weighted_l1(output.diff(dim=2), target.diff(dim=2), None if weight is None else weight[:, :, 1:])
    columns = weighted_l1(output.diff(dim=3), target.diff(dim=3), None if weight is None else weight[..., 1:])
    return rows + columns


def detail_loss(output: Tensor, target: Tensor, weight: Tensor | None = None, *, block: int = 8) -> Tensor:
    """L1 distance of how much detail there is around each place, in each of `_bands`.

    Where detail can't be foretold to the pixel, all terms that compare pixels are least for a blur; this one is not,
    and asks for as much of it as is real. Several bands, since a single one is satisfied by a chequered pattern
    (measured).

    Parameters
    ----------
    block : pixels, side of the squares in which detail is averaged
    """
    total = output.new_zeros(())
    for ours, real in zip(_bands(output), _bands(target), strict=True):
        size = block * ours.shape[-1] // output.shape[-1]
        found = [F.avg_pool2d(band.square(), size, size // 2).add(1e-5).sqrt() for band in (ours, real)]
        pooled = None if weight is None else F.interpolate(weight, found[0].shape[-2:], mode="area")
        total = total + weighted_l1(found[0], found[1], pooled)
    return total


def _bands(picture: Tensor) -> list[Tensor]:
    """Differences of a picture's brightness across, down and both (which is what a chequered pattern has), at whole
    and half resolution."""
    grey = picture.mean(1, keepdim=True)
    bands = []
    for level in (grey, F.avg_pool2d(grey, 2)):
        padded = F.pad(level, (1, 0, 1, 0), mode="replicate")
        across = padded[..., 1:, 1:] - padded[..., 1:, :-1]
        down = padded[..., 1:, 1:] - padded[..., :-1, 1:]
        both = across - (padded[..., :-1, 1:] - padded[..., :-1, :-1])
        bands += [across, down, both]
    return bands


def structure_loss(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """1 - SSIM, or its mean under `weight` (B, 1, H, W)."""
    distance = 1 - ssim_map(output, target)
    if weight is None:
        return distance.mean()
    inner = weight[:, :, 5:-5, 5:-5]
    return (distance * inner).mean() / inner.mean()


def feature_weights(landmarks: np.ndarray, shape: tuple[int, int], *, mouth: float, eyes: float) -> np.ndarray:
    """Weight of every pixel for the L1 term: 1, rising by `mouth` and `eyes` over the lips' and eyes' outlines.

    Parameters
    ----------
    landmarks : (478, 2) float, MediaPipe's points in the crop, pixels; without finite values all weights are 1
    shape : height, width

    Returns
    -------
    (H, W) float32, at least 1
    """
    weights = np.ones(shape, np.float32)
    if not np.isfinite(landmarks).all():
        return weights
    for outline, extra in ((LIPS, mouth), (RIGHT_EYE, eyes), (LEFT_EYE, eyes)):
        points = landmarks[list(outline)].astype(np.float32)
        width = float(np.ptp(points[:, 0]))
        hull = cv2.convexHull(np.round(points).astype(np.int32))
        blob = np.zeros(shape, np.float32)
        cv2.fillConvexPoly(blob, hull, (1.0,))
        # Skin around the lips moves with them, so the weight reaches a fifth of their width outwards.
        reach = max(int(width * 0.2), 1)
        blob = cv2.dilate(blob, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
        weights += extra * cv2.GaussianBlur(blob, (0, 0), max(width * 0.08, 0.5))
    return weights
