"""Lips and lids: where MediaPipe says "closed", its points still stand apart; here that becomes touching.

A person's lids rest open by so much, and lips that touch measure 0.5–2 mm: both are learned per clip and taken out,
so that the fitted mesh really closes and its neutral mouth is shut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.reconstruct.points import (
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LID_PAIRS_LEFT,
    LID_PAIRS_RIGHT,
    LIP_PAIRS,
    Rig,
)

LIP_BIAS_LIMIT = 0.0020
LIP_BIAS_TYPICAL = 0.0008
CLOSED_SHARE = 0.25
GAZE_BIAS_LIMIT = 0.0018
ENOUGH_FRAMES = 25
NEUTRAL_LIDS = (0.8, 1.05)
"""How far a person's neutral lid gap may leave the model's, so that eyeBlink at 1 still closes it."""


@dataclass(frozen=True)
class Levels:
    """Measured on a clip, metres in model space. P lip pairs; three lid pairs on each side.

    Attributes
    ----------
    lip_closed : (P,) distance of the inner lips' points when they touch
    lid_open, lid_closed : (6,) right three, left three
    lip_rest, lid_rest : (P,), (6,) distances in the fitted neutral face
    gaze_rest : (2, 2) x and y of the right and left iris beside the model's when the person looks ahead
    lid_shut : (6,) distance to aim at for a shut eye (slightly negative where eyeBlink closes more than the gap)
    """

    lip_closed: np.ndarray
    lid_open: np.ndarray
    lid_closed: np.ndarray
    lip_rest: np.ndarray
    lid_rest: np.ndarray
    lid_shut: np.ndarray
    gaze_rest: np.ndarray


def gap(points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(…, P) downward distance from the first to the second of `pairs` (P, 2) in `points` (…, L, 3), model space."""
    return points[..., pairs[:, 1], 1] - points[..., pairs[:, 0], 1]


def levels(observed: np.ndarray, rig: Rig) -> Levels:
    """Learn a clip's resting and closing distances from `observed` (T, L, 3), model space, metres."""
    lips, lids = rig.pair_rows(LIP_PAIRS), rig.pair_rows(LID_PAIRS_RIGHT + LID_PAIRS_LEFT)
    lip_rest, model_lids = gap(rig.mean, lips), gap(rig.mean, lids)
    lip, lid = gap(observed, lips), gap(observed, lids)
    many = len(observed) >= ENOUGH_FRAMES
    closed = np.percentile(lip, 5, axis=0) if many else np.full(len(lips), LIP_BIAS_TYPICAL)
    wide = np.percentile(lid, 80, axis=0) if many else lid.mean(0)
    wide = np.clip(wide, 0.6 * model_lids, 1.5 * model_lids)
    shut = np.full(len(lids), CLOSED_SHARE)
    if many:
        for side in _sides(lids):
            low = np.percentile(lid[:, side].mean(1), 0.7) / max(float(wide[side].mean()), 1e-6)
            shut[side] = np.clip(low, 0.08, 0.4) if low < 0.5 else CLOSED_SHARE
    rest = np.clip(wide, NEUTRAL_LIDS[0] * model_lids, NEUTRAL_LIDS[1] * model_lids)
    bias = np.clip(np.minimum(closed, lip.mean(0)), -0.001, LIP_BIAS_LIMIT)
    return Levels(bias, wide, shut * wide, lip_rest, rest,
                  np.minimum(rest - model_lids, 0) / 2, _gaze_rest(observed, rig, many))


def _gaze_rest(observed: np.ndarray, rig: Rig, many: bool) -> np.ndarray:
    """(2, 2) bias of the irises: their median in a clip, in a photo only that by which the eyes would squint."""
    out = np.zeros((2, 2))
    for eye, (iris, corners) in enumerate(((IRIS_RIGHT, EYE_CORNERS_RIGHT), (IRIS_LEFT, EYE_CORNERS_LEFT))):
        row, ends = rig.rows((iris,)), rig.rows(corners)
        if len(row) and len(ends) == 2:
            seen = observed[:, row[0]] - observed[:, ends].mean(1) - (rig.mean[row[0]] - rig.mean[ends].mean(0))
            out[eye] = np.median(seen[:, :2], axis=0)
    if not many:
        out = (out - out[::-1]) / 2
    return np.clip(out, -GAZE_BIAS_LIMIT, GAZE_BIAS_LIMIT)


def _sides(lids: np.ndarray) -> list[slice]:
    half = len(lids) // 2
    return [slice(0, half), slice(half, len(lids))] if half else []


def correct(observed: np.ndarray, rig: Rig, at: Levels) -> np.ndarray:
    """`observed` (T, L, 3) with the distances of lips and lids replaced by what they mean on the fitted face."""
    out = observed.copy()
    lips, lids = rig.pair_rows(LIP_PAIRS), rig.pair_rows(LID_PAIRS_RIGHT + LID_PAIRS_LEFT)
    measured = gap(observed, lips)
    respread(out, lips, measured, at.lip_rest + np.maximum(measured - at.lip_closed, 0))
    measured = gap(observed, lids)
    share = (measured - at.lid_closed) / np.maximum(at.lid_open - at.lid_closed, 1e-6)
    wanted = at.lid_shut + np.clip(share, 0, 1) * (at.lid_rest - at.lid_shut)
    respread(out, lids, measured, wanted + np.maximum(measured - at.lid_open, 0))
    for eye, first in enumerate((IRIS_RIGHT, IRIS_LEFT)):
        out[:, rig.rows(tuple(range(first, first + 5))), :2] -= at.gaze_rest[eye]
    return out


def respread(points: np.ndarray, pairs: np.ndarray, measured: np.ndarray, wanted: np.ndarray) -> None:
    """Move both ends of each pair by half of what is missing."""
    half = (wanted - measured) / 2
    points[:, pairs[:, 0], 1] -= half
    points[:, pairs[:, 1], 1] += half
