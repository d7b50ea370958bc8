"""Putting the rendered face on its plate: where (mask), in which colours, and the blend."""

from __future__ import annotations

import cv2
import numpy as np

from ml_backend.background.warp import crop_resize

__all__ = ["composite", "crop_resize", "diffuse", "face_mask", "match_colour"]

OPAQUE = 0.5
FEATHER = 0.03  # of the crop's side: width of the face's soft edge
ERODE_SHARE = 0.2  # of the feather: the outermost rendered pixels are partly background
OUTLIER = 3.0  # robust deviations beyond which a border pixel (hair, a hand) doesn't vote
COARSE = 4  # pixels of the render per pixel of the colour field: finer, it would carry pores and hair across the seam
LARGEST_SHIFT = 0.35  # of the colour range: more is no matter of light but of another object


def face_mask(alpha: np.ndarray, feather: float) -> np.ndarray:
    """How much of the render shows.

    The largest rendered region, its holes (open mouth, eyes) filled as Yi et al. (2020) do, shrunk a little and faded
    in over `feather` pixels inside its border. Nothing outside the rendered alpha is ever covered.

    Parameters
    ----------
    alpha : (H, W), uint8 or float in [0, 1]
    feather : width of the fade, pixels; 0 for a hard edge

    Returns
    -------
    (H, W) float32 in [0, 1]
    """
    solid = alpha > (127 if alpha.dtype == np.uint8 else OPAQUE)
    left, top, width, height = cv2.boundingRect(solid.view(np.uint8))
    result = np.zeros(alpha.shape, np.float32)
    if width:
        box = (slice(top, top + height), slice(left, left + width))
        result[box] = _faded(_largest(solid[box]), feather)
    return result


def _faded(solid: np.ndarray, feather: float) -> np.ndarray:
    """(H, W) float32: `solid` (H, W) uint8, 0 or 1, faded in over `feather` pixels inside its border."""
    if feather <= 0:
        return solid.astype(np.float32)
    # The frame's edge is a border of the face too where the face runs out of it.
    depth = cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = np.clip((depth - 0.5 - ERODE_SHARE * feather) / feather, 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def match_colour(render: np.ndarray, plate: np.ndarray, mask: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """Shift the render's colours so that they meet the plate's along the mask's border.

    The difference plate − render is read in the band where the mask fades, freed of outliers and of detail, and carried
    smoothly into the interior (a membrane, the low-frequency part of Poisson cloning): light and tint agree at the seam
    while the render's own detail and shading stay.

    Parameters
    ----------
    render : (H, W, 3) float32 RGB in [0, 1]
    plate : (H, W, 3) float32 RGB in [0, 1]
    mask : (H, W) float32 from `face_mask`
    strength : 0 to 1, share of the difference that is made up for

    Returns
    -------
    (H, W, 3) float32 in [0, 1]
    """
    if strength <= 0:
        return render
    weight = 4 * mask * (1 - mask)
    band = np.flatnonzero(weight > 0)
    shift, colour, weight = (values.reshape(mask.size, -1)[band] for values in (plate - render, render, weight))
    weight = weight * _inliers(shift, weight[:, 0] > 0.1)[:, None]
    if weight.sum() < 8:
        return render
    values = np.hstack([np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT) * weight, colour * weight, weight])
    field = diffuse(_gathered(values, band, mask.shape))
    field = cv2.merge([*cv2.split(field[..., :3]), _grey(field[..., 3:])])
    size = (field.shape[1] * COARSE, field.shape[0] * COARSE)
    field = cv2.resize(field, size, interpolation=cv2.INTER_CUBIC)[:mask.shape[0], :mask.shape[1]]
    # What is darker than the skin at the border (mouth, nostrils, pupils) gets its share of the light, not all of it.
    share = np.clip(_grey(render) / np.maximum(field[..., 3], np.float32(0.05)), 0, 1) * np.float32(strength)
    return np.clip(render + cv2.merge([share] * 3) * field[..., :3], 0, 1)


def _gathered(values: np.ndarray, places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(h, w, C) float32 means of `values` (N, C), of pixels `places` (N,) of `shape`, over cells of `COARSE` pixels."""
    rows, columns = (-(-length // COARSE) for length in shape)
    cell = places // shape[1] // COARSE * columns + places % shape[1] // COARSE
    sums = [np.bincount(cell, values[:, k], rows * columns) for k in range(values.shape[1])]
    return (np.stack(sums, -1) / COARSE**2).astype(np.float32).reshape(rows, columns, -1)


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 mean of the channels of (H, W, 3), much quicker than NumPy's over so short an axis."""
    return cv2.transform(np.ascontiguousarray(image), np.full((1, 3), 1 / 3, np.float32))


def composite(rgba: np.ndarray, plate: np.ndarray, *, feather: float | None = None, mask: np.ndarray | None = None,
              colour: float = 1.0) -> np.ndarray:
    """Render over plate.

    Parameters
    ----------
    rgba : (S, S, 4) uint8, straight (not premultiplied) alpha
    plate : (S, S, 3) uint8 RGB
    feather : pixels, by default 3 % of S
    mask : (S, S) float32 to use in place of ``face_mask(alpha, feather)``
    colour : strength of `match_colour`, 0 to leave the render's colours

    Returns
    -------
    (S, S, 3) uint8; where the mask is 0, the plate bit for bit
    """
    if mask is None:
        mask = face_mask(rgba[..., 3], FEATHER * rgba.shape[0] if feather is None else feather)
    result = plate.copy()
    left, top, width, height = cv2.boundingRect((mask > 0).view(np.uint8))
    if not width:
        return result
    box = (slice(top, top + height), slice(left, left + width))
    behind, share = np.ascontiguousarray(plate[box]), np.ascontiguousarray(mask[box])
    render = cv2.cvtColor(rgba[box], cv2.COLOR_RGBA2RGB)
    if colour > 0:
        scale = np.float32(1 / 255)
        matched = match_colour(render * scale, behind * scale, share, strength=colour)
        render = cv2.convertScaleAbs(matched, alpha=255)
    # With a share of 0 the blend is the plate's bytes.
    result[box] = cv2.blendLinear(behind, render, 1 - share, share)
    return result


def _largest(solid: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 0 or 1: the largest region of `solid` (H, W) bool, its holes filled."""
    outlines, _ = cv2.findContours(solid.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(solid.shape, np.uint8)
    return cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, (1,), cv2.FILLED)


def _inliers(difference: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """(N,) float32: 1 where `difference` (N, 3) is like most of those `judged` (N,) bool, falling to 0 for outliers."""
    values = difference[judged]
    if len(values) < 8:
        return judged.astype(np.float32)
    middle = np.median(values, 0)
    spread = 1.4826 * np.median(np.abs(values - middle), 0) + 0.02
    distance = (np.abs(values - middle) / spread).max(1)
    weight = np.zeros(len(judged), np.float32)
    weight[judged] = np.clip(OUTLIER + 1 - distance, 0, 1)
    return weight


def diffuse(total: np.ndarray) -> np.ndarray:
    """Pull and push: weighted averages from coarse to fine, finer ones only where there is weight.

    Parameters
    ----------
    total : (h, w, C + 1) float32, values times weight, then the weight

    Returns
    -------
    (h, w, C) float32
    """
    levels = [total]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))
    field = levels[-1][..., :-1] / np.maximum(levels[-1][..., -1:], 1e-6)
    for level in levels[-2::-1]:
        field = cv2.resize(field, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        share = np.clip(level[..., -1:] * 4, 0, 1)
        field = field + share * (level[..., :-1] / np.maximum(level[..., -1:], 1e-6) - field)
    return cv2.GaussianBlur(field, (0, 0), 1.0)
