"""Hair of the built-in head: ``python -m blender_assets.head.hair`` grows `parley_hair.npz`.

Locks start on the scalp's triangles and are led along it by each style's rules: away from the whorl, across a
parting, towards a knot, down. The head pushes them off. See `addon/core/hair.py` for the file
and for how ribbons are made of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from addon.core.hair import LASHES, SCHEMA, UNIT, VERSION
from addon.core.shading import vertex_normals
from blender_assets.head import landmarks as lm
from blender_assets.head import surface
from blender_assets.head.build import HERE
from blender_assets.head.part import smoothstep
from ml_backend.artefacts.schema import save_npz
from ml_backend.face_model.model import FaceModel, load

STEPS = 7
SEED = 31
WHORL = np.array([0.006, -0.136, 0.085])
KNOT, KNOT_RADIUS = np.array([0.0, -0.055, 0.172]), 0.026
CENTRE = np.array([0.0, -0.040, 0.055])
Rule = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Style:
    """How locks grow. Lengths in metres.

    Attributes
    ----------
    count : locks
    length : of roots (N, 3), (N,)
    flow : direction (N, 3) of points (N, 3) with head normals (N, 3) and shares (N,) of the way to the tip
    lift : how much a root stands up
    layers : least and greatest height over the skin in the middle of a lock
    width : of a lock at its root
    wild : how much directions scatter
    cling : share of the way back to its height that a lock takes at each step
    """

    count: int
    length: Callable[[np.ndarray], np.ndarray]
    flow: Rule
    lift: float
    layers: tuple[float, float]
    width: float
    wild: float
    cling: float


def _whorl(points: np.ndarray) -> np.ndarray:
    away = points - WHORL
    return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)


def _crop_flow(points: np.ndarray, normals: np.ndarray, share: np.ndarray) -> np.ndarray:
    return _whorl(points) + np.array((0, 0.25, 0))


def _top(points: np.ndarray) -> np.ndarray:
    """(N, 1) 1 on top of the head in front of the whorl, 0 at its sides and back."""
    return (smoothstep(points[:, 1], -0.074, -0.092) * smoothstep(points[:, 2], 0.085, 0.04))[:, None]


def _short_flow(points: np.ndarray, normals: np.ndarray, share: np.ndarray) -> np.ndarray:
    # Combed over from a parting on the person's left, rising at the forehead; sides and back fall.
    beyond = smoothstep(points[:, 0], 0.034, 0.044)[:, None]
    over = np.array([-0.95, -0.10, 0.20]) + smoothstep(points[:, 2], 0.02, -0.03)[:, None] * [0.15, -0.55, 0.15]
    side = np.array([0.75, 0.5, 0.25])
    top = over + beyond * (side - over)
    fall = _whorl(points) + np.array((0, 0.5, 0.25))
    return fall + _top(points) * (top - fall)


def _short_length(roots: np.ndarray) -> np.ndarray:
    return 0.016 + 0.036 * smoothstep(roots[:, 1], -0.082, -0.112) * (0.55 + 0.45 * smoothstep(roots[:, 2], 0.12, 0.05))


def _bob_flow(points: np.ndarray, normals: np.ndarray, share: np.ndarray) -> np.ndarray:
    side = np.where(points[:, 0] > 0.012, 1.0, -1.0)
    across = np.stack([side * 0.9, np.full(len(points), 0.25), np.full(len(points), 0.45)], 1)
    fall = np.stack([-0.10 * side * smoothstep(points[:, 1], 0.03, 0.08), np.full(len(points), 1.0),
                     np.full(len(points), 0.04)], 1)
    high = smoothstep(points[:, 1], -0.085, -0.112)[:, None]
    flow = fall + high * (across - fall)
    # It frames the face and does not hang into it.
    into = smoothstep(points[:, 2], 0.030, 0.012) * smoothstep(points[:, 1], -0.100, -0.080)
    flow[:, 2] += 1.1 * into
    flow[:, 0] += 0.35 * into * side
    rear = smoothstep(points[:, 2], 0.09, 0.13)[:, None]
    return flow + rear * ((_whorl(points) * 0.5 + [0, 0.8, 0]) - flow)


def _bob_length(roots: np.ndarray) -> np.ndarray:
    return np.clip((0.078 - roots[:, 1]) * 1.02 + 0.5 * np.maximum(0.05 - np.abs(roots[:, 0]), 0), 0.03, 0.29)


def _tied_flow(points: np.ndarray, normals: np.ndarray, share: np.ndarray) -> np.ndarray:
    towards = KNOT - points
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-6)
    return towards + 0.25 * _top(points) * [0, -0.3, 1.0]


def _tied_length(roots: np.ndarray) -> np.ndarray:
    return 1.18 * np.linalg.norm(KNOT - roots, axis=1) - 0.012


STYLES = {
    "crop": Style(2900, lambda roots: np.full(len(roots), 0.011), _crop_flow, 0.9, (0.0006, 0.004), 0.0015, 0.35, 0.0),
    "short": Style(3200, _short_length, _short_flow, 0.50, (0.0012, 0.0090), 0.0021, 0.17, 0.12),
    "bob": Style(2700, _bob_length, _bob_flow, 0.55, (0.0085, 0.0200), 0.0032, 0.07, 0.45),
    "tied": Style(2600, _tied_length, _tied_flow, 0.45, (0.0042, 0.0085), 0.0026, 0.05, 0.8),
}
FACE = ((-0.067, 0.067), (-0.083, 0.1), (-1.0, 0.018))
"""x, y and z, m, of where no lock may hang."""


@dataclass(frozen=True)
class Ground:
    """The head that locks lie on: its points and normals, found by nearness."""

    points: np.ndarray
    normals: np.ndarray
    tree: cKDTree

    def near(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights (N,) of `points` (N, 3) over the skin and its normals (N, 3) there."""
        distance, nearest = self.tree.query(points, k=4)
        share = 1 / np.maximum(distance, 1e-5) ** 2
        share /= share.sum(1, keepdims=True)
        normal = (share[..., None] * self.normals[nearest]).sum(1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        foot = (share[..., None] * self.points[nearest]).sum(1)
        return ((points - foot) * normal).sum(1), normal


def grow(model: FaceModel, style: Style, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays of the locks of `style` on `model`, as `addon.core.hair.Wig` names them, without styles and starts."""
    points = model.mean_shape.astype(np.float64)
    own = model.part("skin")
    normals = vertex_normals(points, model.triangles())
    ground = Ground(points[own], normals[own], cKDTree(points[own]))
    triangles, shares = _roots(model, style.count, random)
    line = np.zeros((style.count, STEPS, 3))
    root = (points[triangles] * shares[..., None]).sum(1)
    line[:, 0] = root - 0.0005 * ground.near(root)[1]
    length = style.length(line[:, 0]) * random.uniform(0.86, 1.06, style.count)
    layer = style.layers[0] + random.beta(1.3, 1.3, style.count) * (style.layers[1] - style.layers[0])
    scatter = random.normal(size=(style.count, 3)) * style.wild
    for step in range(1, STEPS):
        share = np.full(style.count, step / (STEPS - 1))
        _, normal = ground.near(line[:, step - 1])
        flow = style.flow(line[:, step - 1], normal, share)
        flow = flow - 0.9 * (flow * normal).sum(1, keepdims=True) * normal
        flow /= np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-6)
        flow = flow + scatter + style.lift * ((1 - share) ** 2)[:, None] * normal
        flow /= np.linalg.norm(flow, axis=1, keepdims=True)
        there = line[:, step - 1] + flow * (length / (STEPS - 1))[:, None]
        height, normal = ground.near(there)
        least = layer * np.minimum(share * 3, 1)
        # The head pushes a lock off; a lock that strays is drawn back by its neighbours.
        push = np.where(height < least, least - height, style.cling * (least - height))
        line[:, step] = there + push[:, None] * normal
    smooth = gaussian_filter1d(line, 0.8, axis=1, mode="nearest")
    smooth[:, 0] = line[:, 0]
    # Smoothing pulls long locks into the head again.
    height, normal = ground.near(smooth[:, 1:].reshape(-1, 3))
    least = (layer[:, None] * np.minimum(3 * np.arange(1, STEPS) / (STEPS - 1), 1)).ravel()
    smooth[:, 1:] += (np.maximum(least - height, 0)[:, None] * normal).reshape(-1, STEPS - 1, 3)
    made = {"points": smooth, "anchors": triangles, "weights": shares,
            "widths": style.width * random.uniform(0.75, 1.25, style.count),
            "tones": _tones(layer, style, random), "outward": _outward(smooth, ground)}
    low, high = np.array(FACE).T
    clear = ~((smooth > low) & (smooth < high)).all(2).any(1)
    return {key: values[clear] for key, values in made.items()}


def _roots(model: FaceModel, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (count, 3) of the triangles that roots lie in, and barycentric shares (count, 3)."""
    triangles = model.triangles()
    triangles = triangles[model.part("skin")[triangles[:, 0]]]
    a, b, c = (model.mean_shape[triangles[:, index]] for index in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    area *= surface.scalp((a + b + c) / 3) > 0.02
    # Evenly by quantiles, so that no patch stays bare; the line in front is denser.
    front = 1 + 1.2 * smoothstep(((a + b + c) / 3)[:, 2], 0.02, -0.01)
    total = np.cumsum(area * front)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    left = count
    while left > 0:
        chosen = triangles[np.searchsorted(total, random.random(2 * left) * total[-1])]
        shares = random.dirichlet((1, 1, 1), len(chosen))
        places = (model.mean_shape[chosen] * shares[..., None]).sum(1)
        kept = np.flatnonzero(surface.scalp(places) > random.uniform(0.25, 0.9, len(places)))[:left]
        found.append((chosen[kept], shares[kept]))
        left -= len(kept)
    return np.concatenate([item[0] for item in found]), np.concatenate([item[1] for item in found])


def _tones(layer: np.ndarray, style: Style, random: np.random.Generator) -> np.ndarray:
    """(L,) brightness of locks: deeper ones are darker, and no two are the same."""
    high = (layer - style.layers[0]) / (style.layers[1] - style.layers[0])
    return np.clip((0.72 + 0.40 * high) * (1 + 0.13 * random.normal(size=len(layer))), 0.4, 1.5)


def _outward(line: np.ndarray, ground: Ground) -> np.ndarray:
    """(L, P, 3) unit vectors away from the head at the points of the locks."""
    _, normal = ground.near(line.reshape(-1, 3))
    away = line - CENTRE
    away /= np.linalg.norm(away, axis=2, keepdims=True)
    away = away + 0.8 * normal.reshape(line.shape)
    return away / np.linalg.norm(away, axis=2, keepdims=True)


def knot(model: FaceModel, count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Locks wound into a knot at `KNOT`, arrays like `grow`'s."""
    carrier = int(np.argmin(((model.mean_shape - KNOT) ** 2).sum(1) + 10 * ~model.part("skin")))
    turn = random.uniform(0, 2 * np.pi, count)[:, None] + np.linspace(0, 1.9, STEPS)
    tilt = random.uniform(-0.5, 0.5, count)[:, None]
    band = random.uniform(-0.85, 0.85, count)[:, None]
    radius = KNOT_RADIUS * np.sqrt(1 - 0.75 * band**2) * random.uniform(0.90, 1.08, (count, 1))
    ring = np.stack([radius * np.cos(turn), radius * np.sin(turn) * np.cos(tilt) - 0.3 * band * KNOT_RADIUS,
                     KNOT_RADIUS * 0.8 * band + radius * np.sin(turn) * np.sin(tilt)], 2)
    away = ring / np.linalg.norm(ring, axis=2, keepdims=True)
    return {"points": KNOT + ring, "anchors": np.full((count, 3), carrier), "weights": np.tile([1.0, 0, 0], (count, 1)),
            "widths": np.full(count, 0.0030), "tones": np.clip(0.95 + 0.16 * random.normal(size=count), 0.5, 1.4),
            "outward": away}


def lashes(model: FaceModel, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Lashes on the lids' margins, arrays like `grow`'s."""
    rows = []
    for side, loop in (("left", lm.EYE_LEFT), ("right", lm.EYE_RIGHT)):
        middle = model.joint(f"eye_{side}")
        rows.append(_lash_row(model, middle, loop[:9], 54, -1.0, (0.0030, 0.0050), random))
        rows.append(_lash_row(model, middle, (loop[0], *loop[:7:-1]), 24, 1.0, (0.0014, 0.0022), random))
    points, anchors, weights = (np.concatenate(items) for items in zip(*rows, strict=True))
    count = len(points)
    return {"points": points, "anchors": anchors, "weights": weights, "widths": np.full(count, 0.00023),
            "tones": np.ones(count), "outward": np.tile([0.0, -0.3, -0.95], (count, STEPS, 1))}


def _lash_row(model: FaceModel, middle: np.ndarray, chain: tuple[int, ...], count: int, rise: float,
              reach: tuple[float, float], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, anchors and weights of `count` lashes along the landmarks `chain`, outer corner first, of the eye at
    `middle`; `rise` -1 on an upper lid, 1 on a lower one; `reach` least and greatest length, m."""
    own = model.landmark_vertex[list(chain)]
    at = np.clip(np.linspace(0.35, len(chain) - 1.5, count) + random.uniform(-0.07, 0.07, count), 0, len(chain) - 1.01)
    first, part = at.astype(int), at % 1
    ends = model.mean_shape[own[first]], model.mean_shape[own[first + 1]]
    root = ends[0] + part[:, None] * (ends[1] - ends[0])
    out = (root - middle) / np.linalg.norm(root - middle, axis=1, keepdims=True)
    # Longer towards the outer corner, fanned out, curled away from the eye.
    aside = 0.45 * (root[:, 0] - middle[0]) / 0.013
    heading = out + np.stack([aside, np.full(count, 0.28 * rise), np.full(count, -0.25)], 1)
    heading += 0.10 * random.normal(size=(count, 3))
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    length = reach[0] + (reach[1] - reach[0]) * np.sin(np.pi * np.clip(0.85 - 0.75 * at / len(chain), 0, 1))
    length *= random.uniform(0.75, 1.05, count)
    way = np.linspace(0, 1, STEPS)[None, :, None]
    curl = np.array([0, 0.75 * rise, 0.10])
    line = root[:, None] + length[:, None, None] * (way * heading[:, None] + 0.5 * way**2 * curl)
    return line, np.stack([own[first], own[first + 1], own[first]], 1), np.stack([1 - part, part, 0 * part], 1)


def wig(model: FaceModel, seed: int = SEED) -> dict[str, np.ndarray]:
    """All arrays of the hair file of `model`."""
    random = np.random.default_rng(seed)
    parts, starts = [], [0]
    for name, style in STYLES.items():
        grown = [grow(model, style, random)]
        if name == "tied":
            grown.append(knot(model, 420, random))
        parts += grown
        starts.append(starts[-1] + sum(len(item["points"]) for item in grown))
    parts.append(lashes(model, random))
    starts.append(starts[-1] + len(parts[-1]["points"]))
    joined = {key: np.concatenate([item[key] for item in parts]) for key in parts[0]}
    kinds = {"anchors": np.int32, "weights": np.float16, "widths": np.float16, "tones": np.float16}
    return {"styles": np.array([*STYLES, LASHES]), "starts": np.array(starts, np.int32),
            "points": np.round(joined["points"] / UNIT).astype(np.int16),
            "outward": np.round(joined["outward"] * 127).astype(np.int8),
            **{key: joined[key].astype(kind) for key, kind in kinds.items()}}


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HERE / "parley_head.npz")
    parser.add_argument("--out", type=Path, default=HERE / "parley_hair.npz")
    options = parser.parse_args()
    save_npz(options.out, SCHEMA, VERSION, wig(load(options.model)))


if __name__ == "__main__":
    main()
