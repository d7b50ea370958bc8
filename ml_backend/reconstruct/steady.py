"""Poses held steady where a head rests, and left alone where it moves: as far as what measured them allows."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

CALM = np.array([np.radians(0.075)] * 3 + [0.000075] * 2 + [0.00025])
"""Change of speed from frame to frame at 25 a second that passes for rest: rad, m (across the view; along it)."""
TURNS = 5
FREEDOMS = 6


def steady(poses: np.ndarray, information: np.ndarray, runs: list[slice], fps: float) -> np.ndarray:
    """Minimise Σ (x_t − p_t)ᵀ H_t (x_t − p_t) + Σ log(1 + (second difference / calm)²) by reweighting.

    A head mostly rests or glides and now and then nods or starts: what changes its speed has a heavy tail (Cauchy), so
    that noise is taken off a resting head without rounding off a nod.

    Parameters
    ----------
    poses : (T, 6) p, rad and m
    information : (T, 6, 6) H, inverse covariances of their errors
    runs : frames between cuts, see `pose.segments`
    fps : frames a second

    Returns
    -------
    (T, 6) float64
    """
    out = np.asarray(poses, float).copy()
    out[:, :3] = np.unwrap(out[:, :3], axis=0)
    for run in runs:
        if run.stop - run.start > 2:
            out[run] = _run(out[run], information[run], CALM * (25.0 / fps) ** 2)
    return out


def _run(poses: np.ndarray, information: np.ndarray, calm: np.ndarray) -> np.ndarray:
    pull, out = (information @ poses[..., None]).ravel(), poses
    for _ in range(TURNS):
        bend = np.diff(out, n=2, axis=0) / calm
        out = solveh_banded(_banded(information, 1 / (1 + bend**2) / calm**2), pull, lower=True).reshape(poses.shape)
    return out


def _banded(information: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(18, 6 T) lower bands of the system, of second differences with `weight` (T − 2, 6)."""
    frames = len(information)
    out = np.zeros((3 * FREEDOMS, frames * FREEDOMS))
    for row in range(FREEDOMS):
        for column in range(row + 1):
            out[row - column, column::FREEDOMS] = information[:, row, column]
    own, next_, second = (np.zeros((frames, FREEDOMS)) for _ in range(3))
    for shift, share in enumerate((1, 4, 1)):
        own[shift:frames - 2 + shift] += share * weight
    for shift in (0, 1):
        next_[shift:frames - 2 + shift] -= 2 * weight
    second[:-2] = weight
    out[0] += own.ravel()
    out[FREEDOMS] += next_.ravel()
    out[2 * FREEDOMS] += second.ravel()
    return out
