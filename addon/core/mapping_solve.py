"""Box-constrained least squares with sparsity, smoothness over time and symmetry: the one solver of retargeting.

Minimises, over X (N, K) with 0 ≤ X ≤ upper,

    Σ_n x_n G x_nᵀ − 2 c_n x_nᵀ  +  l2 ‖X‖²  +  l1 Σ X  +  exclusive Σ_n (Σ_k x_nk)²
    +  temporal Σ_n ‖x_{n+1} − x_n‖²  +  mirror Σ_n ‖x_{m(n)} P − x_n‖² / 2  +  Σ_nk pull_nk (x_nk − towards_nk)²

by accelerated projected gradient steps (Beck & Teboulle 2009, FISTA, with O'Donoghue & Candès' restart), each variable
with a step of its own. G is normalised to a mean diagonal of 1 inside, so that the weights of the terms mean the same
for millimetres and for metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Terms:
    """Weights of the terms beside the data's, where the data's has a mean curvature of 1.

    Attributes
    ----------
    l2, l1 : small weights everywhere; few weights (l1 may be (N, K), in the units of `cross`' mean curvature)
    exclusive : one variable at a time
    temporal : rows are consecutive samples and change little
    mirror : rows come in pairs, `rows` (N,) giving each row's partner; variable k of one should be `columns`[k] (K,) of
        the other, -1 = variable k has no counterpart
    pull, towards : (N, K) or None: weights `towards` that are likely beforehand, and how likely, as a share of each
        variable's own curvature
    """

    l2: float = 1e-4
    l1: float | np.ndarray = 0.0
    exclusive: float = 0.0
    temporal: float = 0.0
    mirror: float = 0.0
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    pull: np.ndarray | None = None
    towards: np.ndarray | None = None


def box_least_squares(gram: np.ndarray, cross: np.ndarray, terms: Terms, *, upper: np.ndarray | float = 1.0,
                      steps: int = 3000, tolerance: float = 1e-6) -> np.ndarray:
    """The weights X.

    Parameters
    ----------
    gram : (K, K) G = B Bᵀ of K basis vectors
    cross : (N, K) C = Y Bᵀ of N wanted vectors
    terms : the other terms
    upper : bound, scalar or (N, K); 0 switches a variable off
    steps, tolerance : at most so many steps; ends when no weight moves by more than `tolerance` in a step

    Returns
    -------
    (N, K) float64 in [0, upper]
    """
    scale = float(np.trace(gram)) / max(len(gram), 1) or 1.0
    gram, cross = gram / scale, cross / scale
    step = 1 / _curvature(gram, terms)
    x = np.clip(cross * step, 0, upper)
    ahead, momentum = x, 1.0
    for _ in range(steps):
        following = np.clip(ahead - step * _gradient(ahead, gram, cross, terms), 0, upper)
        change = following - x
        if float(np.abs(change).max(initial=0.0)) < tolerance:
            return following
        # Where the step and the momentum disagree the momentum starts anew.
        if float(((ahead - following) * change).sum()) > 0:
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
        ahead = following + (momentum - 1) / grown * change
        x, momentum = following, grown
    return x


def _gradient(x: np.ndarray, gram: np.ndarray, cross: np.ndarray, terms: Terms) -> np.ndarray:
    """(N, K) half the gradient."""
    slope = x @ gram - cross + terms.l2 * x + terms.l1 / 2
    if terms.exclusive:
        slope = slope + terms.exclusive * x.sum(1, keepdims=True)
    if terms.temporal and len(x) > 1:
        jumps = terms.temporal * np.diff(x, axis=0)
        slope[:-1] -= jumps
        slope[1:] += jumps
    if terms.pull is not None and terms.towards is not None:
        slope = slope + np.diag(gram) * terms.pull * (x - terms.towards)
    if terms.mirror:
        # Columns without a partner (-1) are left alone.
        slope = slope + terms.mirror * (terms.columns >= 0) * (x - x[terms.rows][:, terms.columns])
    return slope


def _curvature(gram: np.ndarray, terms: Terms) -> np.ndarray:
    """(K,) an upper bound of half the Hessian, one value for each variable.

    The Laplacian of a chain has no eigenvalue above 4, that of a matching none above 2; the rest is bounded after
    scaling each variable to a diagonal of 1.
    """
    count = len(gram)
    extra = terms.l2 + 4 * terms.temporal + 2 * terms.mirror
    pull = np.diag(gram) * (terms.pull.max(0) if terms.pull is not None else 0.0)
    bound = gram + terms.exclusive + np.diag(extra + pull)
    size = np.maximum(np.diag(bound), 1e-9)
    root = np.sqrt(size)
    return size * max(float(np.linalg.eigvalsh(bound / np.outer(root, root))[-1]), 1e-9) if count else size
