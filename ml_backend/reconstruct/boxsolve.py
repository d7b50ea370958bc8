"""Box-constrained least squares for many frames at once, with a temporal term: cyclic coordinate descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Chain:
    """How frames hang together over time.

    Attributes
    ----------
    temporal : (K,) weights μ ≥ 0 of (x_{t+1,k} − x_{t,k})²
    joined : (T−1,) bool, False where frames t and t+1 don't belong together (a cut)
    """

    temporal: np.ndarray
    joined: np.ndarray


def solve(gram: np.ndarray, right: np.ndarray, chain: Chain, *, below: dict[int, int] | None = None,
          start: np.ndarray | None = None, sweeps: int = 60, tolerance: float = 5e-4) -> np.ndarray:
    """Minimise Σ_t (x_tᵀ G_t x_t − 2 b_tᵀ x_t) + Σ_t Σ_k μ_k (x_{t+1,k} − x_{t,k})² over 0 ≤ x ≤ 1.

    Each coordinate is minimised exactly in turn, for all even, then all odd frames.

    Parameters
    ----------
    gram : (T, K, K), positive definite
    right : (T, K)
    chain : temporal weights and cuts
    below : channel → channel that bounds it from above in every frame (mouthClose never exceeds jawOpen)
    start : (T, K), default 0

    Returns
    -------
    (T, K) float64
    """
    frames, channels = right.shape
    x = np.zeros((frames, channels)) if start is None else np.clip(start, 0, 1)
    link = np.zeros(frames + 1)
    link[1:-1] = chain.joined
    rows = np.ascontiguousarray(gram.transpose(1, 0, 2))
    parts = [slice(0, None, 2), slice(1, None, 2)] if frames > 1 else [slice(None)]
    caps = below or {}
    for _ in range(sweeps):
        change = 0.0
        for k in range(channels):
            high = x[:, caps[k]] if k in caps else np.ones(frames)
            for part in parts:
                change = max(change, _minimise(x, rows[k], right, chain.temporal[k], link, k, part, high))
        if change < tolerance:
            break
    return x


def _minimise(x: np.ndarray, row: np.ndarray, right: np.ndarray, mu: float, link: np.ndarray, k: int, part: slice,
              high: np.ndarray) -> float:
    """Set coordinate `k` of the frames in `part` to its minimiser; the largest change."""
    old = x[part, k].copy()
    diagonal = row[part, k]
    pull = right[part, k] - np.einsum("tk,tk->t", row[part], x[part]) + diagonal * old
    if mu > 0:
        padded = np.concatenate([[0.0], x[:, k], [0.0]])
        pull = pull + mu * (link[:-1] * padded[:-2] + link[1:] * padded[2:])[part]
        diagonal = diagonal + mu * (link[:-1] + link[1:])[part]
    new = np.clip(pull / diagonal, 0, high[part])
    x[part, k] = new
    return float(np.abs(new - old).max(initial=0))
