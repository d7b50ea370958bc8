"""What may differ between two pictures of a person: framing, light, colour, focus, compression, things in front."""

from __future__ import annotations

import cv2
import numpy as np

from ml_backend.refine.encoder import SIDE

SHIFT, SCALE, TURN = 4.0, 0.08, 6.0
"""Largest shift in pixels and change of scale, and degrees of turn."""


def vary(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(112, 112, 3) uint8: a stored face (144, 144, 3) as another camera in another place might have shown it."""
    out = _framed(picture, random).astype(np.float32) / 255
    out = _blurred(_lit(_coloured(out, random), random), random)
    if random.random() < 0.3:
        out = out + random.normal(0, random.uniform(0.005, 0.05), out.shape).astype(np.float32)
    coded = (255 * np.clip(out, 0, 1)).astype(np.uint8)
    if random.random() < 0.5:
        quality = int(random.integers(20, 90))
        coded = cv2.imdecode(cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return _covered(coded, random) if random.random() < 0.3 else coded


def plain(picture: np.ndarray) -> np.ndarray:
    """(112, 112, 3) uint8: the stored face as the encoder is shown it in use."""
    edge = (picture.shape[0] - SIDE) // 2
    return np.ascontiguousarray(picture[edge:edge + SIDE, edge:edge + SIDE])


def _framed(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = picture.shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), float(random.uniform(-TURN, TURN)),
                                     float(1 + random.uniform(-SCALE, SCALE)))
    matrix[:, 2] += random.uniform(-SHIFT, SHIFT, 2) - (size - SIDE) / 2
    if random.random() < 0.5:
        matrix = np.array([[-1.0, 0, SIDE - 1], [0, 1, 0]]) @ np.vstack([matrix, [0, 0, 1]])
    return cv2.warpAffine(picture, np.asarray(matrix, np.float64), (SIDE, SIDE), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def _coloured(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    if random.random() < 0.1:
        picture = np.repeat(grey[..., None], 3, 2)
    elif random.random() < 0.7:
        picture = grey[..., None] + (picture - grey[..., None]) * np.float32(random.uniform(0.4, 1.4))
    gain = random.uniform(0.6, 1.4) * (1 + random.normal(0, 0.08, 3))
    middle = float(grey.mean())
    picture = middle + (picture - middle) * np.float32(random.uniform(0.6, 1.3))
    return np.clip(picture * gain.astype(np.float32), 0, 1) ** np.float32(np.exp(random.normal(0, 0.25)))


def _lit(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A lamp at one side: brightness that changes across the picture."""
    if random.random() < 0.4:
        return picture
    x, y = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 2)
    angle, strength = random.uniform(0, 2 * np.pi), random.uniform(0, 0.6)
    return picture * (1 + np.float32(strength) * np.tanh(2 * (np.cos(angle) * x + np.sin(angle) * y)))[..., None]


def _blurred(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    kind = random.random()
    if kind < 0.3:
        return cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.3, 2.2)))
    if kind < 0.5:
        small = int(SIDE * random.uniform(0.25, 0.8))
        return cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    return picture


def _covered(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = (int(value) for value in random.integers(10, 45, 2))
    top, left = (int(value) for value in random.integers(0, SIDE - 10, 2))
    picture = picture.copy()
    picture[top:top + height, left:left + width] = random.integers(0, 255, 3)
    return picture
