"""Moving a mouth by what an onlooker sees of it, as the backend's ``motion.lips``."""

from __future__ import annotations

import numpy as np

from .statistics import PARTING, PERCENTILES, Statistics, mouth_channels

SILENT_WIDTH = 75
"""Percentile of the mouth's width in speech to which it goes back in silence."""


def reach(weights: np.ndarray, wanted: np.ndarray, column: np.ndarray, variance: np.ndarray, keep: np.ndarray
          ) -> np.ndarray:
    """`weights` (T, K) in [0, 1] changed, by their usual `variance`, so that `weights` @ `column` comes to `wanted`.

    `weights` @ `keep` stays as far as possible; what one channel can't do the others take over in the next round.
    """
    share = variance * column
    kept = float(keep @ (variance * keep))
    if kept > 1e-9:
        share = share - variance * keep * (keep @ share) / kept
    length = float(share @ column)
    if length < 1e-9:
        return weights
    for _ in range(3):
        weights = np.clip(weights + ((wanted - weights @ column) / length)[:, None] * share, 0, 1)
    return weights


def widened(weights: np.ndarray, width: np.ndarray, statistics: Statistics) -> np.ndarray:
    """`weights` (T, K) whose mouth is `width` (T,) wide, mm; what parts or closes the lips stays as it is."""
    opening, column = statistics.lip_motion.T
    free = mouth_channels(statistics.names) & ~np.isin(statistics.names, (*PARTING, "mouthClose"))
    return reach(weights, width, column, np.where(free, statistics.std ** 2, 0), opening)


def silent(statistics: Statistics) -> np.ndarray:
    """(K,) float32: the expression in silence, lips closed, the mouth as wide as people let it be."""
    shut = np.where(np.isin(statistics.names, PARTING), 0, statistics.rest)[None]
    own = shut @ statistics.lip_motion[:, 1]
    usual = np.interp(SILENT_WIDTH, PERCENTILES, statistics.lip_range[1])
    return widened(shut, np.maximum(own, usual), statistics)[0].astype(np.float32)
