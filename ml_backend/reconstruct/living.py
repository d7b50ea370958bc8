"""A texture that lives: a few pictures that are added to the albedo as expression, gaze and pose have it.

Wrinkles, the flush of pressed lips, shadows of a turned head, and lids and lips that are never quite where the mesh has
them: what a clip's frames show beside the rig's own drawing of them is explained by its expressions and pose, linearly
and with few modes (reduced-rank ridge regression: Izenman 1975; a texture regressed on what moves it: Cootes et al.,
Active Appearance Models, 1998). The number of modes is what explains stretches of the clip best that were held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.reconstruct.observed import Seen

MOST_MODES = 6
MOST_FEATURES = 24
"""So many terms fit into the expression of one driver in Blender (255 characters)."""
TURN = np.radians(15.0)
"""A turn that counts as much as an expression at weight 1."""
POSE_NAMES = ("pitch", "yaw", "roll")
FIT_FRAMES, LEAST_FRAMES = 60, 24
"""Frames that are looked at, and below how many there is nothing to be learned."""
FEATURE_RIDGE, SLOPE_RIDGE, MIDDLE_RIDGE = 16.0, 8.0, 2.0
"""Of the modes' weights on expressions; frames that a texel's neighbourhood counts as, for modes and for the mean."""
THINNED = 9
"""One of so many texels says what the modes are and how many."""
STRETCHES = 4
"""The clip's parts that are held out in turn."""
WORTH = 0.01
"""Share of the error that more modes must take away."""
CHUNK = 8192
Spread = Callable[[np.ndarray], np.ndarray]
"""Of values (N, …) of texels to their means over the neighbourhood of each."""


@dataclass(frozen=True)
class Drive:
    """How expression and pose set the weights of M modes: clip(offset + gains · features, low, high).

    Attributes
    ----------
    names : (P,) expressions, and "pitch", "yaw", "roll" in radians
    gains : (M, P) float32
    offset : (M,) float32
    limits : (M, 2) float32, lowest and highest weight, as seen in the clip
    """

    names: np.ndarray
    gains: np.ndarray
    offset: np.ndarray
    limits: np.ndarray


@dataclass(frozen=True)
class Living:
    """Additions to the albedo of N texels: `middle` (N, 3), always, and `modes` (M, N, 3), as `drive` says."""

    middle: np.ndarray
    modes: np.ndarray
    drive: Drive


def features(track: FaceTrack) -> tuple[np.ndarray, np.ndarray]:
    """(P,) names and (T, P) values: expression weights, and the head's rotation in radians."""
    names = np.array([*map(str, track.expression_names), *POSE_NAMES])
    return names, np.concatenate([np.clip(track.expression, 0, 1), track.rotation], 1).astype(float)


def fit_frames(track: FaceTrack) -> list[int]:
    """Evenly spaced frames in which the face was found."""
    known = np.flatnonzero(track.confidence > 0)
    picks = np.linspace(0, len(known) - 1, min(FIT_FRAMES, len(known))).round().astype(int)
    return [int(number) for number in known[np.unique(picks)]]


def fit(seen: Seen, thin: Seen, names: np.ndarray, values: np.ndarray, spread: Spread | None = None) -> Living | None:
    """What explains `seen`, None where stretches of the clip don't explain one another.

    Parameters
    ----------
    seen : F frames
    thin : the same frames, fewer texels
    names, values : of `features`, (P,) and (F, P)
    spread : where the texels of `seen` lie
    """
    if len(values) < LEAST_FRAMES:
        return None
    scale = np.where(np.isin(names, POSE_NAMES), 1 / TURN, 1.0)
    count = _held_out(thin, values * scale)
    if not count:
        return None
    middle = (values * scale).mean(0)
    map_ = _latent(thin, values * scale - middle, count)
    score = (values * scale - middle) @ map_
    size = np.maximum(score.std(0), 1e-9)
    solved = _solve(seen, _design(score / size), spread)
    used = np.flatnonzero(np.abs(map_).max(1) > 0)
    gains = (map_ / size * scale[:, None]).T
    limits = np.stack([(score / size).min(0), (score / size).max(0)], 1)
    drive = Drive(names[used], gains[:, used].astype(np.float32), (-(map_ / size).T @ middle).astype(np.float32),
                  limits.astype(np.float32))
    return Living(solved[0], solved[1:], drive)


def _held_out(thin: Seen, values: np.ndarray) -> int:
    """The number of modes that predicts held-out stretches best; 0 where none does better than the mean."""
    options = list(range(0, MOST_MODES + 1, 2))
    error = np.zeros(len(options))
    for part in np.array_split(np.arange(len(values)), STRETCHES):
        rest = np.setdiff1d(np.arange(len(values)), part)
        learned, tested = (Seen(thin.residual[rows], thin.weight[rows]) for rows in (rest, part))
        middle = values[rest].mean(0)
        for place, count in enumerate(options):
            error[place] += _error(learned, tested, values[rest] - middle, values[part] - middle, count)
    best = 0
    for place in range(1, len(options)):
        if error[place] < error[best] * (1 - WORTH):
            best = place
    return options[best]


def _error(learned: Seen, tested: Seen, known: np.ndarray, asked: np.ndarray, count: int) -> float:
    """Squared error on `tested` at features `asked` of `count` modes from `learned` at features `known`."""
    map_ = _latent(learned, known, count)
    score = known @ map_
    size = np.maximum(score.std(0), 1e-9)
    solved = _solve(learned, _design(score / size))
    weights = np.clip(asked @ map_, score.min(0), score.max(0)) / size if count else np.zeros((len(asked), 0))
    gap = tested.residual - np.einsum("fp,pnc->fnc", _design(weights), solved)
    return float((tested.weight[..., None] * gap**2).sum())


def _design(score: np.ndarray) -> np.ndarray:
    """(F, 1 + M): a column of ones before `score` (F, M)."""
    return np.concatenate([np.ones((len(score), 1)), score], 1)


def _latent(thin: Seen, values: np.ndarray, count: int) -> np.ndarray:
    """(P, count) weights on centred features `values` (F, P) that make the scores of the modes; few rows are not 0."""
    if not count:
        return np.zeros((values.shape[1], 0))
    rows = (thin.residual * np.sqrt(thin.weight.astype(np.float32))[..., None]).reshape(len(values), -1)
    rows = rows - rows.mean(0)
    inner = (rows @ rows.T).astype(float)
    whole = _directions(inner, values, count)
    share = (values.std(0)[:, None] * whole) ** 2 / np.maximum((values @ whole).var(0), 1e-12)
    used = np.sort(np.argsort(-share.sum(1), kind="stable")[:MOST_FEATURES])
    out = np.zeros_like(whole)
    out[used] = _directions(inner, values[:, used], count)
    return out


def _directions(inner: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(P, count) weights on `values` (F, P) whose scores explain rows with inner products `inner` (F, F) best."""
    smooth = np.linalg.solve(values.T @ values + FEATURE_RIDGE * np.eye(values.shape[1]), values.T)
    shown = values @ smooth
    vectors = np.linalg.eigh(shown @ inner @ shown.T)[1][:, ::-1][:, :count]
    gram = values.T @ values
    weights = np.linalg.solve(gram + 1e-4 * (1 + np.trace(gram) / len(gram)) * np.eye(len(gram)), values.T @ vectors)
    # A mode has no sign of its own: the same everywhere for the same clip.
    return weights * np.where(weights.sum(0) < 0, -1, 1)


def _solve(seen: Seen, design: np.ndarray, spread: Spread | None = None) -> np.ndarray:
    """(1 + M, N, 3) float32: weighted ridge regression of each texel's residual on `design` (F, 1 + M).

    With `spread`, what holds a texel back is not zero but what its neighbourhood says, so that texels that are rarely
    seen are like those beside them.
    """
    count, total = design.shape[1], seen.weight.shape[1]
    gram, right = np.zeros((total, count, count), np.float32), np.zeros((total, count, 3), np.float32)
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    for start in range(0, total, CHUNK):
        block = slice(start, start + CHUNK)
        weight = seen.weight[:, block].astype(np.float32)
        gram[block] = (weight.T @ squares).reshape(-1, count, count)
        sums = design.T @ (weight[..., None] * seen.residual[:, block]).reshape(len(design), -1)
        right[block] = sums.reshape(count, -1, 3).transpose(1, 0, 2)
    ridge = np.diag([MIDDLE_RIDGE] + [SLOPE_RIDGE] * (count - 1)).astype(np.float32)
    around = np.zeros_like(right)
    if spread is not None:
        around = _solved(spread(gram) + ridge, spread(right))
    return _solved(gram + ridge, right + ridge @ around).transpose(1, 0, 2)


def _solved(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, P, C) float32 solutions of N systems."""
    return np.concatenate([np.linalg.solve(gram[start:start + CHUNK].astype(float), right[start:start + CHUNK])
                           for start in range(0, len(gram), CHUNK)]).astype(np.float32)
