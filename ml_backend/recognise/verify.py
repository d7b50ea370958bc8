"""How well features verify: same person or not, by the cosine of two pictures' features."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

APART = 4
"""Pictures of one file count as a pair only if they are this far apart in its sequence."""


@dataclass(frozen=True)
class Rates:
    """Verification of N pairs of one person against M pairs of different ones.

    Attributes
    ----------
    same, different : numbers of pairs
    eer : equal error rate: where as many pairs of one person are refused as strangers are let in
    accepted : share of one person's pairs above the threshold that lets in 1 % of the strangers (TAR@FAR 1e-2)
    auc : chance that a pair of one person is nearer than a pair of strangers
    threshold : cosine at the equal error rate
    """

    same: int
    different: int
    eer: float
    accepted: float
    auc: float
    threshold: float

    def as_dict(self) -> dict[str, float]:
        """The figures, rounded, JSON-ready."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def rates(same: np.ndarray, different: np.ndarray, *, far: float = 1e-2) -> Rates:
    """Rates of the cosines `same` (N,) and `different` (M,), both at least one."""
    scores = np.concatenate([same, different])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([np.ones(len(same)), np.zeros(len(different))])[order]
    taken, let_in = np.cumsum(right) / len(same), np.cumsum(1 - right) / len(different)
    # Equal scores can't be told apart: only the last of each counts as a threshold.
    last = np.append(np.diff(scores[order]) != 0, True)
    taken, let_in, at = taken[last], let_in[last], scores[order][last]
    cross = int(np.argmin(np.abs(1 - taken - let_in)))
    allowed = let_in <= far
    before = np.concatenate([[0], taken[:-1]])
    area = (np.diff(let_in, prepend=0) * (taken + before) / 2).sum()
    return Rates(len(same), len(different), float((1 - taken[cross] + let_in[cross]) / 2),
                 float(taken[allowed].max(initial=0)), float(area), float(at[cross]))


def pairs(person: np.ndarray, file: np.ndarray, *, across: bool) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) pairs of one person and (M, 2) pairs of two.

    Parameters
    ----------
    person, file : (T,) who and where from, in the order of the files' pictures
    across : pairs of one person only from different files; else from one file, some pictures apart
    """
    a, b = np.triu_indices(len(person), 1)
    one, shared = person[a] == person[b], file[a] == file[b]
    good = one & ~shared if across else one & shared & (b - a >= APART)
    table = np.stack([a, b], 1)
    return table[good], table[~one]


def verify(features: np.ndarray, person: np.ndarray, file: np.ndarray, *, across: bool) -> Rates | None:
    """Rates of `features` (T, D), L2-normalised; None where there is no pair of either kind."""
    same, different = pairs(person, file, across=across)
    if not len(same) or not len(different):
        return None
    cosines = features @ features.T
    return rates(cosines[tuple(same.T)], cosines[tuple(different.T)])


def per_person(person: np.ndarray, file: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    """Sorted rows with at most `most` pictures of each file, so that nobody outweighs the others."""
    rows: list[np.ndarray] = []
    for name in np.unique(np.char.add(np.char.add(person, "/"), file)):
        own = np.flatnonzero(np.char.add(np.char.add(person, "/"), file) == name)
        rows.append(np.sort(random.permutation(own)[:most]))
    return np.sort(np.concatenate(rows))
