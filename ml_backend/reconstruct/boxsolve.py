"""Box-constrained least squares for many frames at once, with a temporal term.

Projected Newton steps (Bertsekas 1982) bring the bulk of the way, sweeps of coordinate descent between them settle what
is at a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

SWEEPS = 6
"""Sweeps of coordinate descent after each Newton step."""
SHARE_SWEEPS = 20
RIPE = 0.5
"""A channel that would change by less than this share of the tolerance is left alone for a sweep."""
COLD_SWEEPS = 12
"""Sweeps before the first one where nothing is known, so that it knows what is at a bound."""


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

    @property
    def loose(self) -> bool:
        """No frame has to do with another one."""
        return not (bool(self.joined.any()) and bool((self.temporal > 0).any()))


def solve(gram: np.ndarray, right: np.ndarray, chain: Chain, *, below: dict[int, int] | None = None,
          start: np.ndarray | None = None, sweeps: int = 48, tolerance: float = 5e-4) -> np.ndarray:
    """Minimise Σ_t (x_tᵀ G_t x_t − 2 b_tᵀ x_t) + Σ_t Σ_k μ_k (x_{t+1,k} − x_{t,k})² over 0 ≤ x ≤ 1.

    Parameters
    ----------
    gram : (T, K, K), positive definite
    right : (T, K)
    chain : temporal weights and cuts
    below : channel → channel that bounds it from above in every frame (mouthClose never exceeds jawOpen)
    start : (T, K), default 0
    sweeps : of coordinate descent at most, some after each Newton step
    tolerance : a sweep that changes nothing by more than this ends the search

    Returns
    -------
    (T, K) float64
    """
    x = np.zeros(right.shape) if start is None else np.clip(start, 0, 1).astype(float)
    caps = below or {}
    rows = np.ascontiguousarray(gram.transpose(1, 0, 2))
    if start is None:
        _descend(x, gram, rows, right, chain, caps, COLD_SWEEPS, tolerance)
    for _ in range(-(-sweeps // SWEEPS)):
        x = _newton(x, gram, right, chain, caps)
        if _descend(x, gram, rows, right, chain, caps, SWEEPS, tolerance) < tolerance:
            break
    return x


def _newton(x: np.ndarray, gram: np.ndarray, right: np.ndarray, chain: Chain, caps: dict[int, int]) -> np.ndarray:
    """`x` after one step over what is not held at a bound, as far along it as the sum falls."""
    high = _ceiling(x, caps)
    slope = _product(gram, chain, x) - right
    free = ~(((x <= 0) & (slope > 0)) | ((x >= high) & (slope < 0)))
    pull = np.where(free, -slope, 0.0)
    if chain.loose:
        diagonal = np.arange(x.shape[1])
        held = gram * (free[:, :, None] & free[:, None, :])
        held[:, diagonal, diagonal] = np.where(free, gram[:, diagonal, diagonal], 1.0)
        step = np.linalg.solve(held, pull[..., None])[..., 0]
    else:
        step = solveh_banded(_banded(gram, chain, free), pull.ravel(), overwrite_ab=True, overwrite_b=True, lower=True,
                             check_finite=False).reshape(x.shape)
    step = np.clip(x + step, 0, high) - x
    return x + _shares(step, slope, gram, chain)[:, None] * step


def _shares(step: np.ndarray, slope: np.ndarray, gram: np.ndarray, chain: Chain) -> np.ndarray:
    """(T,) in [0, 1]: how much of its own `step` each frame takes, so that the sum never rises."""
    frames = len(step)
    fall, bend = -(step * slope).sum(1), (step * (gram @ step[..., None])[..., 0]).sum(1)
    if chain.loose:
        return np.clip(fall / np.maximum(bend, 1e-12), 0, 1)
    moved = (step**2) @ chain.temporal
    link = np.concatenate([[0.0], chain.joined * ((step[1:] * step[:-1]) @ chain.temporal), [0.0]])
    joined = np.concatenate([[0.0], chain.joined, [0.0]])
    bend = np.maximum(bend + moved * (joined[1:] + joined[:-1]), 1e-12)
    padded = np.zeros(frames + 2)
    for _ in range(SHARE_SWEEPS):
        for first in (0, 1):
            part = slice(first, None, 2)
            pull = fall + link[:-1] * padded[:-2] + link[1:] * padded[2:]
            padded[1:-1][part] = np.clip(pull / bend, 0, 1)[part]
    return padded[1:-1]


def _product(gram: np.ndarray, chain: Chain, x: np.ndarray) -> np.ndarray:
    """(T, K) half the gradient of the quadratic part at `x`."""
    out = (gram @ x[..., None])[..., 0]
    if not chain.loose:
        pull = np.diff(x, axis=0) * chain.temporal * chain.joined[:, None]
        out[1:] += pull
        out[:-1] -= pull
    return out


def _banded(gram: np.ndarray, chain: Chain, free: np.ndarray) -> np.ndarray:
    """(K + 1, T·K) lower bands of the whole system, held coordinates replaced by ones on the diagonal."""
    frames, channels = free.shape
    link = np.concatenate([[0.0], chain.joined, [0.0]])
    out = np.zeros((channels + 1, frames, channels))
    diagonal = np.arange(channels)
    for band in range(channels):
        first, second = diagonal[: channels - band], diagonal[band:]
        out[band, :, first] = (gram[:, second, first] * (free[:, first] & free[:, second])).T
    own = gram[:, diagonal, diagonal] + chain.temporal * (link[1:] + link[:-1])[:, None]
    out[0] = np.where(free, own, 1.0)
    out[channels, :-1] = -chain.temporal * (chain.joined[:, None] & free[1:] & free[:-1])
    return out.reshape(channels + 1, -1)


def _descend(x: np.ndarray, gram: np.ndarray, rows: np.ndarray, right: np.ndarray, chain: Chain, caps: dict[int, int],
             sweeps: int, tolerance: float) -> float:
    """Minimise coordinates exactly in turn, for all even, then all odd frames; the last sweep's largest change.

    Channels that are at their minimum in all frames are passed over: what else changes moves them only a little, and
    the next sweep looks at them again.
    """
    channels = np.arange(x.shape[1])
    link = np.concatenate([[0.0], chain.joined, [0.0]])
    parts = [slice(None)] if chain.loose else [slice(0, None, 2), slice(1, None, 2)]
    stiff = gram[:, channels, channels] + chain.temporal * (link[1:] + link[:-1])[:, None]
    change = 0.0
    for _ in range(sweeps):
        high = _ceiling(x, caps)
        wanted = np.clip(x - (_product(gram, chain, x) - right) / stiff, 0, high) - x
        busy = np.flatnonzero(np.abs(wanted).max(0) > RIPE * tolerance)
        change = 0.0
        for k in busy:
            top = x[:, caps[k]] if k in caps else None
            for part in parts:
                change = max(change, _minimise(x, rows[k], right, chain.temporal[k], link, k, part, top))
        if change < tolerance:
            break
    return change


def _ceiling(x: np.ndarray, caps: dict[int, int]) -> np.ndarray:
    """(T, K) upper bounds."""
    high = np.ones_like(x)
    for channel, cap in caps.items():
        high[:, channel] = x[:, cap]
    return high


def _minimise(x: np.ndarray, row: np.ndarray, right: np.ndarray, mu: float, link: np.ndarray, k: int, part: slice,
              top: np.ndarray | None) -> float:
    """Set coordinate `k` of the frames in `part` to its minimiser, at most `top`; the largest change."""
    old = x[part, k].copy()
    diagonal = row[part, k]
    pull = right[part, k] - np.einsum("tk,tk->t", row[part], x[part]) + diagonal * old
    if mu > 0 and len(link) > 2:
        padded = np.concatenate([[0.0], x[:, k], [0.0]])
        pull = pull + mu * (link[:-1] * padded[:-2] + link[1:] * padded[2:])[part]
        diagonal = diagonal + mu * (link[:-1] + link[1:])[part]
    new = np.minimum(np.maximum(pull / diagonal, 0), 1.0 if top is None else top[part])
    x[part, k] = new
    return float(np.abs(new - old).max(initial=0))
