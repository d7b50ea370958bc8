"""Box-constrained least squares for many frames at once, with a temporal term.

A primal-dual active set (Hintermüller, Ito and Kunisch 2002) guesses what is at a bound and solves for the rest, which
mostly settles within a few turns. What doesn't is brought on by projected Newton steps (Bertsekas 1982), with sweeps of
coordinate descent between them, neither of which can make it worse.
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
COLD_SWEEPS = 2
"""Sweeps beforehand where nothing is known, so that there is a guess of what is at a bound."""
SAME = 1e-3
"""Bounds that move by less stay where they are."""
TURNS, CHAIN_TURNS = 8, 5
"""Guesses of the active set at most, where frames are independent and where they aren't."""


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
    if start is None:
        _descend(x, gram, _rows(gram), right, chain, caps, COLD_SWEEPS, tolerance)
    if not chain.loose:
        guess = _chained(x, gram, right, chain, caps)
        if _value(guess, gram, right, chain) <= _value(x, gram, right, chain):
            x = guess
        return _improved(x, gram, right, chain, caps, sweeps, tolerance)
    x, open_ = _settled(x, gram, right, caps)
    if len(open_):
        x[open_] = _improved(x[open_], gram[open_], right[open_], Chain(chain.temporal, np.zeros(len(open_) - 1, bool)),
                             caps, sweeps, tolerance)
    return x


def _improved(x: np.ndarray, gram: np.ndarray, right: np.ndarray, chain: Chain, caps: dict[int, int], sweeps: int,
              tolerance: float) -> np.ndarray:
    """`x` after sweeps of coordinate descent and Newton steps in turns, until nothing changes by more than allowed."""
    rows = _rows(gram)
    while _descend(x, gram, rows, right, chain, caps, min(SWEEPS, sweeps), tolerance) >= tolerance:
        sweeps -= SWEEPS
        if sweeps <= 0:
            break
        x = _newton(x, gram, right, chain, caps)
    return x


def _rows(gram: np.ndarray) -> np.ndarray:
    """(K, T, K): the row of each channel in all frames, side by side in memory."""
    return np.ascontiguousarray(gram.transpose(1, 0, 2))


def _settled(x: np.ndarray, gram: np.ndarray, right: np.ndarray, caps: dict[int, int]
             ) -> tuple[np.ndarray, np.ndarray]:
    """`x` solved frame by frame, and the frames whose active set did not settle, which stay as they were."""
    out, diagonal = x.copy(), np.arange(x.shape[1])
    left, stiff = np.arange(len(x)), gram[:, diagonal, diagonal]
    free, fixed = _active(x, gram, right, stiff, caps)
    for _ in range(TURNS):
        held = gram * (free[:, :, None] & free[:, None, :])
        held[:, diagonal, diagonal] = np.where(free, stiff, 1.0)
        pull = np.where(free, right - (gram @ fixed[..., None])[..., 0], fixed)
        _follow(held, pull, gram, free, fixed, caps)
        new = np.linalg.solve(held, pull[..., None])[..., 0]
        again, bounds = _active(new, gram, right, stiff, caps)
        done = (again == free).all(1) & (np.abs(bounds - fixed).max(1) < SAME)
        out[left[done]] = new[done]
        rest = ~done
        left, gram, right, stiff, free, fixed = (part[rest] for part in (left, gram, right, stiff, again, bounds))
        if not len(left):
            break
    return out, left


def _follow(held: np.ndarray, pull: np.ndarray, gram: np.ndarray, free: np.ndarray, fixed: np.ndarray,
            caps: dict[int, int]) -> None:
    """Let channels at a cap that is itself free go along with it, in place, instead of staying where it was."""
    for channel, cap in caps.items():
        tied = np.flatnonzero((fixed[:, channel] > 0) & free[:, cap])
        pull[tied] += np.where(free[tied], gram[tied, :, channel] * fixed[tied, channel, None], 0.0)
        held[tied, :, channel] = np.where(free[tied], gram[tied, :, channel], 0.0)
        held[tied, channel, channel], held[tied, channel, cap], pull[tied, channel] = 1.0, -1.0, 0.0


def _chained(x: np.ndarray, gram: np.ndarray, right: np.ndarray, chain: Chain, caps: dict[int, int]) -> np.ndarray:
    """`x` after a few turns over all frames together, within its bounds."""
    diagonal = np.arange(x.shape[1])
    link = np.concatenate([[0.0], chain.joined, [0.0]])
    stiff = gram[:, diagonal, diagonal] + chain.temporal * (link[1:] + link[:-1])[:, None]
    before: np.ndarray | None = None
    for _ in range(CHAIN_TURNS):
        free, fixed = _active(x, gram, right, stiff, caps, chain)
        if before is not None and bool((before == free).all()):
            break
        pull = np.where(free, right - _product(gram, chain, fixed), fixed)
        try:
            # What single precision leaves out, the sweeps that follow put right.
            found = solveh_banded(_banded(gram, chain, free, np.float32), pull.astype(np.float32).ravel(), lower=True,
                                  overwrite_ab=True, overwrite_b=True, check_finite=False)
        except np.linalg.LinAlgError:
            break  # too ill-conditioned for it: the Newton steps go on in double precision
        x, before = found.reshape(x.shape).astype(float), free
    x = np.clip(x, 0, 1)
    return np.minimum(x, _ceiling(x, caps))


def _active(x: np.ndarray, gram: np.ndarray, right: np.ndarray, stiff: np.ndarray, caps: dict[int, int],
            chain: Chain | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(T, K) what is free at `x`, and the bounds that the rest is held at, 0 where free."""
    slope = (gram @ x[..., None])[..., 0] if chain is None else _product(gram, chain, x)
    high = _ceiling(np.clip(x, 0, 1), caps)
    goal = x - (slope - right) / stiff
    over = goal >= high
    return (goal > 0) & ~over, np.where(over & (goal > 0), high, 0.0)


def _value(x: np.ndarray, gram: np.ndarray, right: np.ndarray, chain: Chain) -> float:
    """The sum that is minimised, at `x`."""
    return float(((_product(gram, chain, x) - 2 * right) * x).sum())


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


def _banded(gram: np.ndarray, chain: Chain, free: np.ndarray, kind: type = np.float64) -> np.ndarray:
    """(K + 1, T·K) lower bands of the whole system, held coordinates replaced by ones on the diagonal."""
    frames, channels = free.shape
    link = np.concatenate([[0.0], chain.joined, [0.0]])
    out = np.zeros((channels + 1, frames, channels), kind)
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
