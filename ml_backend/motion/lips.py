"""Moving a mouth by what an onlooker sees of it: how far it opens, and how wide it is."""

from __future__ import annotations

import numpy as np

from ml_backend.motion.statistics import PERCENTILES, Statistics, mouth_channels

PARTING = ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
           "mouthFunnel")
"""What parts the lips."""
SILENT_WIDTH = 75
"""Percentile of the mouth's width in speech to which it goes back in silence: vowels purse it, what is left over is
wider (half a standard deviation over the mean in people who were filmed)."""


def reach(expression: np.ndarray, wanted: np.ndarray, column: np.ndarray, variance: np.ndarray,
          keep: np.ndarray) -> np.ndarray:
    """`expression` (T, K) in [0, 1] changed so that `expression` @ `column` (K,) comes to `wanted` (T,).

    The change is shared out over the channels by their usual `variance` (K,), the least change in those terms, and
    leaves `expression` @ `keep` (K,) alone as far as possible. Weights stop at 0 and 1; what one channel can't do the
    others take over in the next round.
    """
    share = variance * column
    kept = float(keep @ (variance * keep))
    if kept > 1e-9:
        share = share - variance * keep * (keep @ share) / kept
    length = float(share @ column)
    if length < 1e-9:
        return expression
    for _ in range(3):
        expression = np.clip(expression + ((wanted - expression @ column) / length)[:, None] * share, 0, 1)
    return expression


def widened(expression: np.ndarray, width: np.ndarray, statistics: Statistics) -> np.ndarray:
    """`expression` (T, K) whose mouth is `width` (T,) wide, mm; what parts or closes the lips stays as it is."""
    names, (opening, column) = statistics.names, statistics.lip_motion.T
    free = mouth_channels(names) & ~np.isin(names, (*PARTING, "mouthClose"))
    return reach(expression, width, column, np.where(free, statistics.std ** 2, 0), opening)


def silent(rest: np.ndarray, lip_range: np.ndarray, statistics: Statistics) -> np.ndarray:
    """(K,) float32 the mouth `rest` (K,) as it is between sentences: lips closed, and as wide as people let it be.

    `lip_range` (2, 21) are the percentiles of opening and width, mm, of the person who speaks.
    """
    # Somebody who talks all the time never shows the lips at rest: they are shut then, whatever the rest does.
    shut = np.where(np.isin(statistics.names, PARTING), 0, rest)[None]
    own = shut @ statistics.lip_motion[:, 1]
    usual = np.interp(SILENT_WIDTH, PERCENTILES, lip_range[1])
    return widened(shut, np.maximum(own, usual), statistics)[0].astype(np.float32)
