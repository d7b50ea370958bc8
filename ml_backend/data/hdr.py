"""High dynamic range (PQ and HLG, BT.2020) to what an ordinary display shows.

Curves: ITU-R BT.2100-2 (PQ EOTF; HLG inverse OETF and its OOTF with gamma 1.2 at 1000 cd/m²); diffuse white at
203 cd/m² as in BT.2408. Phones record HLG by default, and read as SDR their faces are grey.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

PQ, HLG = 16, 18  # AVColorTransferCharacteristic
WHITE_NITS, PEAK_NITS = 203.0, 1000.0
KNEE = 0.8  # display-linear level up to which tones pass unchanged
DISPLAY_GAMMA = 2.4
STEPS = 1 << 12

# BT.2020 → BT.709 primaries, linear light (ITU-R BT.2087-0).
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
LUMINANCE_2020 = np.array([[0.2627, 0.6780, 0.0593]], np.float32)


def to_sdr(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """Tone-map one picture.

    Parameters
    ----------
    rgb : (H, W, 3) uint16, full range, BT.2020 primaries, encoded with `transfer`
    transfer : `PQ` or `HLG`

    Returns
    -------
    (H, W, 3) uint8 RGB, BT.709 primaries, for a display of gamma 2.4
    """
    linear = _decode_table(transfer)[rgb >> 4]
    if transfer == HLG:
        luminance = cv2.transform(linear, LUMINANCE_2020)
        linear *= (np.maximum(luminance, 1e-6) ** 0.2)[..., None] * np.float32(PEAK_NITS / WHITE_NITS)
    linear = cv2.transform(linear, TO_709)
    # Cube-root spacing of the table keeps shadows as finely stepped as the eye needs.
    index = np.cbrt(np.clip(linear / np.float32(PEAK_NITS / WHITE_NITS), 0, 1)) * np.float32(STEPS - 1)
    return _encode_table()[(index + np.float32(0.5)).astype(np.uint16)]


@lru_cache(2)
def _decode_table(transfer: int) -> np.ndarray:
    """(4096,) float32: PQ to multiples of diffuse white, HLG to scene light in [0, 1]."""
    code = np.linspace(0, 1, STEPS)
    if transfer == PQ:
        root = code ** (1 / 78.84375)
        nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return (nits / WHITE_NITS).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


@lru_cache(1)
def _encode_table() -> np.ndarray:
    """(4096,) uint8: cube root of light over peak → roll-off above the knee → display code."""
    peak = PEAK_NITS / WHITE_NITS
    light = np.linspace(0, 1, STEPS) ** 3 * peak
    room = 1 - KNEE
    # An exponential shoulder: slope 1 at the knee, nearly 1 at the peak.
    shoulder = KNEE + room * (1 - np.exp(-(light - KNEE) / room))
    shown = np.where(light <= KNEE, light, shoulder)
    return (shown ** (1 / DISPLAY_GAMMA) * 255 + 0.5).clip(0, 255).astype(np.uint8)
