"""Strips of the face that go with its lips and lids: what shows in the mouth and in the eyes lies still on them.

What a mesh shows between lips, teeth or tongue or the dark behind them, changes with every small error of the mesh. On
a strip that is spanned from lip to lip, as on one from lid to lid, a row of teeth keeps its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.posed import Posed, sample
from ml_backend.reconstruct.raster import cover

MOUTH = ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291), (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
         (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308), (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291))
RIGHT_EYE = ((130, 247, 30, 29, 27, 28, 56, 190, 243), (33, 246, 161, 160, 159, 158, 157, 173, 133),
             (33, 7, 163, 144, 145, 153, 154, 155, 133), (130, 25, 110, 24, 23, 22, 26, 112, 243))
LEFT_EYE = ((463, 414, 286, 258, 257, 259, 260, 467, 359), (362, 398, 384, 385, 386, 387, 388, 466, 263),
            (362, 382, 381, 380, 374, 373, 390, 249, 263), (463, 341, 256, 252, 253, 254, 339, 255, 359))
"""MediaPipe's points along lips and lids from the image's left: outer edge, opening's upper and lower edge, outer edge.
"""
ROWS, COLUMNS = (12, 24, 12), 64
"""Texels of a strip: rows above, in and below the opening; half as many more for crops beyond `PLAIN` pixels."""
PLAIN, MORE = 256, 1.5
STEPS, AROUND = (3, 6, 3), 2
"""Cells of the three bands from top to bottom, and of a landmark's distance to the next."""
FADE = 0.12
"""Share of a strip over which its outer edge fades."""
FACING = (0.1, 0.35)
"""Cosines to the camera between which the skin at a strip's edge comes to be seen."""
LEAST_AREA = 1e-3
SAMPLES, CHANNELS = 2, 4
"""Samples a pixel along each side; channels that OpenCV samples at once."""


@dataclass(frozen=True)
class Strip:
    """A grid of nodes (R, C), each a mean of vertices.

    Attributes
    ----------
    vertices, weights : (R, C, 4) int64 and float32
    shape : rows and columns of texels
    """

    vertices: np.ndarray
    weights: np.ndarray
    shape: tuple[int, int]

    def over(self, values: np.ndarray) -> np.ndarray:
        """(R, C, D) float32: the vertices' `values` (V, D) at the nodes."""
        return np.einsum("rcn,rcnd->rcd", self.weights, values[self.vertices].astype(np.float32))

    def fade(self) -> np.ndarray:
        """(rows, columns) float32 in [0, 1]: 0 at the outer edge."""
        ramps = [np.clip(np.minimum(at, at[::-1]) / FADE, 0, 1)
                 for at in (np.linspace(0, 1, count) for count in self.shape)]
        return (ramps[0][:, None] * ramps[1]).astype(np.float32)

    def shown(self, view: Posed) -> np.ndarray:
        """(rows, columns) float32 in [0, 1]: how squarely the skin around is seen; the nose may hide what is not."""
        facing = self.over(view.facing[:, None])[..., 0]
        low, high = FACING
        edge = np.clip((np.minimum(facing[0], facing[-1]) - low) / (high - low), 0, 1)
        return self._texels(np.repeat(edge[None, :, None], len(facing), 0))[..., 0]

    def read(self, picture: np.ndarray, view: Posed) -> np.ndarray:
        """(rows, columns, ≤ 3) float32 of `picture` (S, S, C), over 255."""
        places = self._texels(self.over(view.pixel))
        return sample(picture, places.reshape(-1, 2)).reshape(*self.shape, -1)

    def area(self, view: Posed) -> np.ndarray:
        """(rows, columns) float32: pixels that a texel takes up; 0 where the strip shows its back."""
        places = self._texels(self.over(view.pixel))
        down, right = np.gradient(places, axis=0), np.gradient(places, axis=1)
        return np.maximum(right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0], 0)

    def paint(self, values: np.ndarray, view: Posed, size: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """A box of a picture of side `size`, and in it (h, w, C) float32 of `values` (rows, columns, C) where the strip
        faces the camera, else 0."""
        nodes = self.over(view.pixel)
        low = np.clip(np.floor(nodes.min((0, 1))) - 1, 0, size - 1).astype(int)
        high = np.clip(np.ceil(nodes.max((0, 1))) + 2, low + 1, size).astype(int)
        corners, places = self._triangles((nodes - low + 0.5) * SAMPLES - 0.5)
        box, out = (slice(low[1], high[1]), slice(low[0], high[0])), np.zeros((*(high - low)[::-1], values.shape[2]),
                                                                             np.float32)
        width, height = ((high - low) * SAMPLES).tolist()
        found = cover(corners, (height, width))
        field = np.full((height * width, 2), -10.0, np.float32)
        field[found.pixel] = np.einsum("ni,nic->nc", found.weights, places[found.triangle])
        field = field.reshape(height, width, 2)
        for first in range(0, values.shape[2], CHANNELS):
            part = np.ascontiguousarray(values[..., first:first + CHANNELS], np.float32)
            drawn = cv2.remap(part, field[..., 0], field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            small = cv2.resize(drawn, (width // SAMPLES, height // SAMPLES), interpolation=cv2.INTER_AREA)
            out[..., first:first + CHANNELS] = small.reshape(*small.shape[:2], -1)
        return box, out

    def _triangles(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3, 2) each: the cells' halves that face the camera, in the picture and on the strip, texels."""
        rows, columns = nodes.shape[:2]
        number = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
        halves = np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])
        down, across = (np.linspace(0, texels - 1, count) for texels, count in zip(self.shape, (rows, columns),
                                                                                   strict=True))
        places = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)[halves]
        corners = nodes.reshape(-1, 2)[halves]
        u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        seen = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] > LEAST_AREA
        return corners[seen], places[seen]

    def _texels(self, nodes: np.ndarray) -> np.ndarray:
        """(rows, columns, D) float32: what lies at each texel between `nodes` (R, C, D)."""
        down, across = (np.linspace(0, count - 1, texels).astype(np.float32)
                        for texels, count in zip(self.shape, nodes.shape, strict=False))
        x, y = np.meshgrid(across, down)
        found = cv2.remap(np.ascontiguousarray(nodes, np.float32), x, y, cv2.INTER_LINEAR)
        return found.reshape(*self.shape, nodes.shape[2])


def strips(model: FaceModel, size: int) -> tuple[Strip, ...]:
    """Of mouth, right and left eye, for crops of `size` pixels; none for a model that doesn't name their points."""
    vertex = {int(point): int(place) for point, place in zip(model.landmark_index, model.landmark_vertex, strict=True)}
    ways = (MOUTH, RIGHT_EYE, LEFT_EYE)
    if not {point for way in ways for rail in way for point in rail} <= set(vertex):
        return ()
    more = 1.0 if size <= PLAIN else MORE
    return tuple(_strip(np.array([[vertex[point] for point in rail] for rail in way]), more) for way in ways)


def _strip(rails: np.ndarray, more: float) -> Strip:
    """Through the vertices `rails` (4, P): straight between them, so many cells as `STEPS` and `AROUND` say."""
    bands = np.concatenate([np.arange(count) / count + number for number, count in enumerate(STEPS)] + [[len(STEPS)]])
    across = np.arange((rails.shape[1] - 1) * AROUND + 1) / AROUND
    row, column = (np.minimum(at.astype(int), count - 2) for at, count in zip((bands, across), rails.shape,
                                                                             strict=True))
    down, right = (bands - row)[:, None], (across - column)[None]
    top = [rails[row[:, None], column], rails[row[:, None], column + 1]]
    vertices = np.stack([*top, rails[row[:, None] + 1, column], rails[row[:, None] + 1, column + 1]], -1)
    weights = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], -1)
    shape = round(sum(ROWS) * more), round(COLUMNS * more)
    return Strip(vertices.astype(np.int64), weights.astype(np.float32), shape)
