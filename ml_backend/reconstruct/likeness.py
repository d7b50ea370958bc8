"""How like frames of a clip are to one another, and the few directions in which they differ: what memories share."""

from __future__ import annotations

import numpy as np

REACH, NOISE = 2.0, 0.15
"""How far frames are like one another, in units of an expression's weight, and how much of what a frame lacks is its
own: measured; a kernel with a point, which takes what is nearest most seriously, is better than a round one."""
LEAST_FRAMES = 24
"""Below this there is nothing to be learned."""
MOST_SHEETS = 64


def likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(T, F) float32 in [0, 1] of features `a` (T, P) to `b` (F, P)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-np.sqrt(np.maximum(squares, 0)) / REACH).astype(np.float32)


def sheet_axes(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ridge regression of what F frames of features `known` (F, P) show, in M ≤ `MOST_SHEETS` sheets.

    Returns
    -------
    (F, M) float32, from what frames show to sheets; (F, M) float32, from likeness to the frames to amounts of these
    """
    size, axes = np.linalg.eigh(likeness(known, known).astype(float))
    most = np.argsort(-size, kind="stable")[:MOST_SHEETS]
    axes, size = axes[:, most], np.maximum(size[most], 0)
    return axes.astype(np.float32), (axes / (size + NOISE)).astype(np.float32)
