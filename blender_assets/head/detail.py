"""What vertices are too coarse to hold: ``python -m blender_assets.head.detail`` paints `parley_detail.png`.

One image over the head's texture coordinates for all people. RGB, halved, multiplies the colours of a person's
vertices; alpha says how much hair (scalp, brows, lashes' roots) covers the skin. Needs the bpy wheel, for its rays.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from blender_assets.head import detail_inner, occlusion, surface
from blender_assets.head import landmarks as lm
from blender_assets.head.build import CHARTS, HERE
from blender_assets.head.part import smoothstep
from ml_backend.face_model.model import FaceModel, load

SIZE = 2048
SEED = 20
BLUSH = ((1.025, 0.955, 0.945), ((205, 0.019), (425, 0.019), (4, 0.011), (152, 0.012)))
"""Factor of the blood's colour, and landmarks with the spread in m of where it shows: cheeks, nose, chin."""
CREASE, PALE = np.array((0.80, 1.06, 1.10)), 0.30
"""Powers of what light is left in a fold by channel: blood makes folds red, not grey. Light that any fold keeps."""
BROW_STRANDS, BROW_LENGTH = 260, 0.0085
STUBBLE = 9000
UPPER_LIDS = lm.EYE_LEFT[:9], lm.EYE_RIGHT[:9]


def paint(model: FaceModel, size: int = SIZE, seed: int = SEED) -> np.ndarray:
    """(size, size, 4) uint8 RGBA, first row on top: the detail of the head `model`."""
    random = np.random.default_rng(seed)
    factor = np.ones((size, size, 3))
    cover = np.zeros((size, size))
    light = occlusion.skin(model)
    for name in CHARTS:
        rows, columns = _window(name, size)
        at = _sampler(model, name, size)
        if name in ("skin", "ear_left", "ear_right"):
            factor[rows, columns] = _skin(model, at, light, random, name == "skin")
        elif name.startswith("eye"):
            factor[rows, columns] = detail_inner.eye(at(model.texture_mean), random, flip=name == "eye_left")
        elif name.startswith("teeth"):
            factor[rows, columns] = detail_inner.teeth(at(model.texture_mean), random, upper=name == "teeth_upper")
        elif name == "mouth_bag":
            factor[rows, columns] = detail_inner.bag(columns.stop - columns.start)
        elif name == "tongue":
            factor[rows, columns] = detail_inner.tongue(at(model.texture_mean), random)
    rows, columns = _window("skin", size)
    cover[rows, columns] = _hair(model, _sampler(model, "skin", size), size, random)
    coded = np.clip(np.dstack([factor / 2, cover]), 0, 1)
    return np.round(255 * coded).astype(np.uint8)


def _window(chart: str, size: int) -> tuple[slice, slice]:
    """Rows and columns of the image, first row on top, that hold `chart`."""
    left, bottom, side = CHARTS[chart]
    top, first, count = round((1 - bottom - side) * size), round(left * size), round(side * size)
    return slice(top, top + count), slice(first, first + count)


def _sampler(model: FaceModel, chart: str, size: int):
    """A function from values (V, …) of the vertices to (rows, columns, …) of the chart's pixels."""
    own = model.part(chart)
    rows, columns = _window(chart, size)
    u = (np.arange(columns.start, columns.stop) + 0.5) / size
    v = 1 - (np.arange(rows.start, rows.stop) + 0.5) / size
    where = np.stack(np.meshgrid(u, v), -1)
    nearest = cKDTree(model.uv[own]).query(where)[1]

    def sample(values: np.ndarray) -> np.ndarray:
        inner = LinearNDInterpolator(model.uv[own], values[own])(where)
        return np.where(np.isfinite(inner), inner, values[own][nearest])

    return sample


def _skin(model: FaceModel, at, light: np.ndarray, random: np.random.Generator, face: bool) -> np.ndarray:
    """Factors (…, 3) of skin: folds, blood, blotches, pores, the lips' lines."""
    left = PALE + (1 - PALE) * np.clip(at(light), 0, 1)[..., None]
    factor = left**CREASE
    shape = left.shape[:2]
    if not face:
        return factor * np.array(BLUSH[0])
    place = at(model.mean_shape)
    for landmark, spread in BLUSH[1]:
        point = model.mean_shape[model.landmark_vertex[landmark]]
        near = np.exp(-0.5 * ((place - point) ** 2).sum(-1) / spread**2)[..., None]
        factor *= 1 + near * (np.array(BLUSH[0]) - 1)
    lips, eyes = at(model.region("lips")), at(model.region("eyes"))
    bare = (1 - lips) * (1 - 0.6 * eyes)
    # Beyond the face the chart is stretched: noise would be drawn out into streaks down the neck.
    bare = bare * smoothstep(np.hypot(*(np.mgrid[0:shape[0], 0:shape[1]] / shape[0] - 0.5)), 0.40, 0.30)
    scale = shape[0] / 1536
    for sigma, height, tint in ((1.0, 0.018, (1, 1, 1)), (2.2, 0.017, (0.7, 1, 1)), (14, 0.010, (0.3, 1.2, 1.3)),
                                (45, 0.012, (-0.2, 1, 0.4))):
        factor *= 1 + height * (bare * _noise(random, shape, sigma * scale))[..., None] * np.array(tint)
    # Pores are dark dots, denser on nose and cheeks than elsewhere.
    nose = model.mean_shape[model.landmark_vertex[4]]
    dense = np.exp(-0.5 * ((np.abs(place - nose) / (0.045, 0.035, 0.04)) ** 2).sum(-1))
    pores = np.clip(_noise(random, shape, 1.3 * scale) - 1.1, 0, 1.4)
    factor *= 1 - (0.07 * bare * (0.3 + dense) * pores)[..., None] * np.array((0.7, 1.0, 1.0))
    lines = gaussian_filter(random.normal(size=shape), (8 * scale, 1.1 * scale))
    lines /= lines.std()
    factor *= 1 + (lips * (0.022 * lines - 0.02))[..., None] * np.array((0.7, 1.3, 1.2))
    return factor * (1 - _seam(model, shape)[..., None] * np.array((0.42, 0.55, 0.52)))


def _seam(model: FaceModel, shape: tuple[int, ...]) -> np.ndarray:
    """(rows, columns) in [0, 1] of the skin's chart: where closed lips touch, which little light reaches."""
    left, bottom, side = CHARTS["skin"]
    drawn = np.zeros(shape, np.float32)
    loop = (model.uv[model.landmark_vertex[list(lm.LIPS_INNER)]] - (left, bottom)) / side
    points = np.round((loop * [1, -1] + [0, 1]) * shape[0]).astype(np.int32)
    cv2.polylines(drawn, [points], True, 1.0, max(1, shape[0] // 500))
    return np.clip(1.6 * gaussian_filter(drawn, shape[0] / 700), 0, 1)


def _noise(random: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Noise `shape` of deviation 1, smooth over `sigma` pixels."""
    values = gaussian_filter(random.normal(size=shape), sigma, mode="wrap")
    return values / values.std()


def _hair(model: FaceModel, at, size: int, random: np.random.Generator) -> np.ndarray:
    """How much hair covers the skin chart's pixels, in [0, 1]: scalp with a ragged line, brows, lashes' roots."""
    grown = surface.scalp(at(model.mean_shape))
    cover = 0.86 * smoothstep(grown, 0.55, 1.0)
    rows, columns = _window("skin", size)
    corner = np.array([columns.start, rows.start])
    pen = _Pen(cover.shape)
    pixel = lambda uv: (uv * [1, -1] + [0, 1]) * size - corner  # noqa: E731
    # The line of the hair: fine strokes, the rarer the further out.
    for seed, fringe in ((0.012, grown), (0.020, surface.scalp(at(model.mean_shape) - (0, 0.005, 0)))):
        points = np.argwhere(random.random(grown.shape) < seed * (fringe > 0.02) * (grown < 0.8))
        chosen = points[random.random(len(points)) < fringe[tuple(points.T)] ** 1.5]
        for y, x in chosen[random.permutation(len(chosen))[:STUBBLE]]:
            away = _backward(x - _middle(model, pixel)) + 0.35 * random.normal(size=2)
            line = np.array([x, y]) + np.linspace(0, 1, 4)[:, None] * away * random.uniform(6, 15)
            pen.stroke(line, random.uniform(0.2, 0.5))
    for side, loop in zip((1, -1), surface.BROW_LOOPS, strict=True):
        for line in brow_strands(pixel(model.uv[list(loop)]), side, size, random):
            pen.stroke(line, random.uniform(0.25, 0.75))
    for chain in UPPER_LIDS:
        line = pixel(model.uv[model.landmark_vertex[list(chain)]])
        pen.line(line, 0.75, 2)
    return np.maximum(cover, pen.drawn())


def _middle(model: FaceModel, pixel) -> float:
    """Column of the forehead's middle in the skin's chart."""
    return float(pixel(model.uv[model.landmark_vertex[10]][None])[0, 0])


def _backward(aside: float) -> np.ndarray:
    """(2,) heading of combed-back hair in pixels at `aside` pixels from the middle: up, and outwards at the sides."""
    heading = np.array([0.8 * np.sign(aside), 0.2]) * min(abs(aside) / 200, 1) + np.array([0, -1.0])
    return heading / np.linalg.norm(heading)


def brow_strands(outline: np.ndarray, side: int, size: int, random: np.random.Generator) -> list[np.ndarray]:
    """Hairs of one brow as (4, 2) pixels, from its `outline` (10, 2): lower edge from the tail to the nose, upper
    edge back; `side` 1 where the tail lies to the right."""
    lower, upper = outline[:5], outline[:4:-1]
    upper = outline[[9, 8, 7, 6, 5]] if len(outline) == 10 else upper
    length = BROW_LENGTH / 0.467 * size
    strands = []
    for _ in range(BROW_STRANDS):
        along, across = random.beta(1.15, 1.0) * 4, random.beta(1.6, 1.6)
        step = min(int(along), 3)
        low, high = (edge[step] + (along - step) * (edge[step + 1] - edge[step]) for edge in (lower, upper))
        root = low + across * (high - low)
        inner = along / 4
        # Upwards by the nose, then outwards; above the middle downwards, below it upwards, so that hairs meet.
        rise = -1.15 * inner**2 - 0.25 + 0.75 * (across - 0.35) * (1 - inner)
        heading = np.array([side * (1.05 - 0.75 * inner**2), rise])
        heading = heading / np.linalg.norm(heading) + 0.16 * random.normal(size=2)
        reach = length * (0.5 + 0.5 * np.sin(np.pi * min(inner * 0.8 + 0.25, 1))) * random.uniform(0.6, 1.05)
        bend = np.array([side * 0.25, 0.16]) * np.linspace(0, 1, 4)[:, None] ** 2 * reach
        strands.append(root + np.linspace(-0.25, 0.75, 4)[:, None] * heading * reach + bend)
    return strands


class _Pen:
    """Thin strokes of hair, drawn finer than the image and averaged."""

    FINE = 2

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.canvas = np.zeros([self.FINE * side for side in shape], np.float32)

    def stroke(self, points: np.ndarray, strength: float) -> None:
        """A hair along `points` (N, 2) pixels that thins out towards its end."""
        for index, (start, end) in enumerate(pairwise(points)):
            fade = strength * (1 - 0.22 * index)
            self._segment(start, end, fade, 3 if index == 0 else 2)

    def line(self, points: np.ndarray, strength: float, width: int) -> None:
        """A line of even strength along `points` (N, 2) pixels."""
        for start, end in pairwise(points):
            self._segment(start, end, strength, self.FINE * width)

    def _segment(self, start: np.ndarray, end: np.ndarray, strength: float, width: int) -> None:
        ends = np.round(self.FINE * np.stack([start, end])).astype(int)
        low = np.maximum(ends.min(0) - width - 1, 0)
        high = np.minimum(ends.max(0) + width + 2, self.canvas.shape[::-1])
        if (high <= low).any():
            return
        patch = self.canvas[low[1]:high[1], low[0]:high[0]]
        drawn = np.zeros(patch.shape, np.float32)
        cv2.line(drawn, (ends[0] - low).tolist(), (ends[1] - low).tolist(), float(strength), width)
        np.maximum(patch, drawn + 0.35 * patch * (drawn > 0), out=patch)

    def drawn(self) -> np.ndarray:
        """The strokes at the image's own size, in [0, 1]."""
        height, width = (side // self.FINE for side in self.canvas.shape)
        fine = cv2.resize(np.clip(self.canvas, 0, 1), (width, height), interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(fine, (0, 0), 0.6)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HERE / "parley_head.npz")
    parser.add_argument("--out", type=Path, default=HERE / "parley_detail.png")
    parser.add_argument("--size", type=int, default=SIZE)
    options = parser.parse_args()
    picture = paint(load(options.model), options.size)
    cv2.imwrite(str(options.out), picture[..., [2, 1, 0, 3]], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
