"""Which of a face's vertices are drawn over a photo that turns: up to its outlines and round them, but no cheek where
there is hair.

Where face and photo are one surface the face fades out within its region, and the photo goes on. At an outline nothing
can fade: as soon as the head turns, what was edge on lies open, and whatever is behind would shine through. There the
face is solid, and goes on round jaw and cheek as far as a turn may show.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import vertex_normals
from ml_backend.reconstruct import illumination
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.profile_sheet import Seen, disc, ends, spread
from ml_backend.reconstruct.symmetry import counterparts
from ml_backend.reconstruct.unwrap import push_pull

WHOLE = 0.9
"""Weight of the face region from which it is the face itself."""
AROUND = (0.02, 0.04)
"""Metres beyond the face itself up to which it is solid round an outline, and from which nothing of it is drawn."""
ROUND = (0.4, 0.75)
"""Cosine to the view up to which the face goes on beyond its region at an outline, and from which it doesn't."""
HIDDEN = (0.05, 0.25)
"""Cosine to the view up to which the photo shows nothing of a surface, and from which it shows it."""
NEAR = 0.06
"""Of the face's height: how near to the face's end hair may hang over what is hidden."""
LEVEL = (0.1, 0.4)
"""Share of a normal that points down up to which hair may hang over a vertex, and from which it is under the jaw."""
DIM, UNDER_JAW = 0.85, 0.15
"""Least light on what is hidden beside what is shown; how much less falls under the jaw."""
PLAIN = 0.3
"""Cosine to the view from which a vertex's counterpart tells whether there is skin or hair."""


def drawn(view: Posed, model: FaceModel, rest: np.ndarray, seen: Seen, corner: np.ndarray, hair: np.ndarray,
          tall: float) -> np.ndarray:
    """(V,) float32 in [0, 1]: how far each vertex of the face is drawn; 0 = the photo's sheet shows in its place.

    Parameters
    ----------
    view, rest : the photo with the head over it, and that head (V, 3) without expression
    seen, corner : what the window at `corner` (2,) shows of it
    hair : (h, w) float32 in [0, 1], in the window
    tall : the face's height in pixels
    """
    region = model.region("face").astype(float)
    border, apart = ends(seen, tall)
    if not border.any() or not (region > WHOLE).any():
        return region.astype(np.float32)
    at = _places(view, corner, border.shape)
    outline, beside = (spread(border, values, tall)[at[:, 1], at[:, 0]]
                       for values in (apart, _beside(seen, hair, tall)))
    away, _ = cKDTree(rest[region > WHOLE]).query(rest)
    solid = _fade(away, *AROUND)
    hidden = _fade(view.facing, *HIDDEN)
    skin = _outer(model)
    own = np.where(skin, np.maximum(region > 0, _fade(view.facing, *ROUND)) * solid, region)
    # A quarter of an outline is one: a little of what is behind shining through is worse than a face that ends sharply.
    weight = region + np.clip(4 * outline, 0, 1) * np.maximum(own - region, 0)
    # Nostrils are hidden too.
    far = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5)[at[:, 1], at[:, 0]]
    level = _fade(vertex_normals(rest, model.triangles())[:, 1], *LEVEL)
    hangs = hidden * skin * level * (far < NEAR * tall) * _haired(view, model, beside, hair, corner)
    return (weight * (1 - outline * hangs)).astype(np.float32)


def shade(view: Posed, model: FaceModel, rest: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(V,) float32, factors on the light: a photo tells nothing about the light on what it doesn't show, so that there
    it stays near the light on what is shown beside it, and darker under the jaw."""
    skin = _outer(model)
    plain = np.flatnonzero(skin & (view.facing > PLAIN) & (model.region("face") > 0.5))
    if not len(plain):
        return np.ones(len(rest), np.float32)
    bright = illumination.irradiance(view.normals, light).mean(1)
    _, index = cKDTree(rest[plain]).query(rest)
    beside = np.maximum(bright[plain][index], 1e-3)
    down = np.clip(vertex_normals(rest, model.triangles())[:, 1], 0, 1) * (1 - model.region("face"))
    wanted = np.clip(bright, DIM * beside, beside) * (1 - UNDER_JAW * down)
    factor = wanted / np.maximum(bright, 0.2 * beside)
    return (1 + _fade(view.facing, *HIDDEN) * skin * (factor - 1)).astype(np.float32)


def _haired(view: Posed, model: FaceModel, beside: np.ndarray, hair: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """(V,) in [0, 1]: how surely hair hangs over each vertex that can't be seen: the other cheek tells where it can
    be, else what is `beside` (V,) the face."""
    other = counterparts(model)
    if other is None:
        return beside
    at = _places(view, corner, hair.shape)[other]
    return np.where(view.facing[other] > PLAIN, np.minimum(beside, hair[at[:, 1], at[:, 0]]), beside)


def _places(view: Posed, corner: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(V, 2) int: column and row of the window's pixel nearest to each vertex."""
    return np.clip(np.round(view.pixel - corner), 0, np.array(size[::-1]) - 1).astype(int)


def _beside(seen: Seen, hair: np.ndarray, tall: float) -> np.ndarray:
    """(h, w) share of hair a little beyond the face, carried on to its end."""
    outside = ~cv2.dilate(seen.inside.astype(np.uint8), disc(0.02 * tall)).astype(bool)
    return np.clip(2 * push_pull(hair[..., None], outside.astype(np.float32))[..., 0] - 0.5, 0, 1)


def _outer(model: FaceModel) -> np.ndarray:
    """(V,) bool: skin, of which more than the face region may be drawn."""
    names = [str(name) for name in model.part_names]
    return model.part("skin") if "skin" in names else np.ones(len(model.mean_shape), bool)


def _fade(value: np.ndarray, begin: float, end: float) -> np.ndarray:
    """1 up to `begin`, smoothly down to 0 at `end`."""
    part = np.clip((np.asarray(value, float) - begin) / (end - begin), 0, 1)
    return 1 - part * part * (3 - 2 * part)
