"""A piece of the head before assembly, and grids of quads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """One piece of the mesh. V vertices, F faces.

    Attributes
    ----------
    name : the part's name in the FaceModel
    vertices : (V, 3) float, metres
    faces : (F, 4) int, outward counter-clockwise, −1 in the fourth place for triangles
    uv : (V, 2) float in [0, 1] of the part's own chart
    materials : (F,) str
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    materials: np.ndarray


def grid_quads(rows: int, columns: int, closed: bool, start: int = 0) -> np.ndarray:
    """(F, 4) quads of a `rows` × `columns` grid of vertices numbered row by row from `start`; `closed`
    joins the columns."""
    last = columns if closed else columns - 1
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(last), indexing="ij")
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    return start + np.stack([a, b, b + columns, a + columns], -1).reshape(-1, 4)


def fan(centre: int, ring: np.ndarray) -> np.ndarray:
    """(N, 4) triangles (fourth −1) from `centre` to the closed `ring` (N,)."""
    return np.stack([np.full(len(ring), centre), ring, np.roll(ring, -1), np.full(len(ring), -1)], 1)


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between; `low` > `high` turns it round."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
