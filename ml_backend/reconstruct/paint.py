"""Colours of what lies behind lids and lips: eyes, teeth, gums, tongue, from the pixels in which they are seen.

They are small and seen in few pixels, so little is asked of them at first: an eye is a body of revolution, its colours
depending on the distance from the pupil alone, told by the irises' landmarks, and every part of the mouth has the
model's pattern in a tone of its own. What many frames agree on at a vertex of an eye is then added: the shadow of the
lid, the corners' red, an iris that is not quite where the landmarks have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import spherical_harmonics
from ml_backend.reconstruct.points import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.raster import cover

EYES, MOUTH = ("eye_right", "eye_left"), ("teeth_upper", "teeth_lower", "tongue", "mouth_bag")
RINGS, IRISES = (EYE_RIGHT, EYE_LEFT), (IRIS_RIGHT, IRIS_LEFT)
STEP, WIDEST = 0.2, 2.6
"""Rings of an eye: their width, and where lids hide all, in radii of the iris."""
CLEAR = (0.75, 1.25)
"""Where an iris is nothing but iris, and where the white is nothing but white, in radii of the iris."""
IRIS_SHARE = 0.48
"""Radius of the iris over the eyeball's where a model does not tell."""
OPEN = 0.35
"""Height of an open eye over the iris's diameter, at least."""
PRIOR_PIXELS = 6.0
"""Pixels that the model's own colour counts as."""
PRIOR_FRAMES = 2.0
"""Frames that the round profile of an eye counts as at each of its vertices."""
GAIN, DULL_GAIN = (0.2, 10.0), (0.2, 1.6)
"""Of teeth, which may be in the shadow of the lips in the model only; of the rest, where pixels may show teeth."""
OPENERS = {"jawOpen": 2.0, "mouthClose": -2.0, "mouthFunnel": 0.5, "mouthLowerDownLeft": 0.6,
           "mouthLowerDownRight": 0.6, "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6, "tongueOut": 2.0}
CLOSED = 0.25
"""How much light the rig lets into the mouth: as ``addon/core/shading.py`` has it, which this must agree with."""


@dataclass(frozen=True)
class Pixels:
    """Where an inner part is seen, over all views. N pixels.

    Attributes
    ----------
    corners : (N, 3) vertices of the triangle seen
    weights : (N, 3) barycentric
    colour : (N, 3) in [0, 1]
    light : (N, 3) what arrives there, shade included
    """

    corners: np.ndarray
    weights: np.ndarray
    colour: np.ndarray
    light: np.ndarray

    def of(self, vertices: np.ndarray) -> Pixels:
        """Those on triangles with all corners among `vertices` (V,) bool."""
        chosen = vertices[self.corners].all(1)
        return Pixels(self.corners[chosen], self.weights[chosen], self.colour[chosen], self.light[chosen])

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """(N, C) of `values` (V, C)."""
        return np.einsum("ni,nic->nc", self.weights, values[self.corners])


def inner_colours(views: Sequence[Posed], track: FaceTrack, model: FaceModel, rest: np.ndarray, low: np.ndarray,
                  light: np.ndarray) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: `low` with the person's eyes and mouth.

    Parameters
    ----------
    views : frames of `track` with the mesh over them
    track : landmarks and expressions
    rest : (V, 3) neutral shape
    low : (V, 3) albedo to start from
    light : (9, 3)
    """
    names, shade, out = [str(name) for name in model.part_names], inner_shade(model, rest), low.astype(float)
    parts = [name for name in MOUTH if name in names]
    if parts:
        whole = joined([seen_pixels(view, model, parts, shade * opening(model, track.expression[view.number]), light)
                          for view in views])
        for name in parts:
            part = model.part(name)
            out[part] = toned(whole.of(part), low, part, hue=name.startswith("teeth"))
    if all(name in names for name in EYES):
        _eyes(out, views, track, model, light)
        balls = np.any([model.part(name) for name in EYES], axis=0)
        seen = [seen_pixels(view, model, (name,), shade, light) for view in views for name in EYES]
        out[balls] = _voted(seen, out)[balls]
    return np.clip(out, 0, 1).astype(np.float32)


def joined(found: Sequence[Pixels]) -> Pixels:
    return Pixels(*(np.concatenate([getattr(one, name) for one in found])
                    for name in ("corners", "weights", "colour", "light")))


def seen_pixels(view: Posed, model: FaceModel, parts: Sequence[str], shade: np.ndarray, light: np.ndarray) -> Pixels:
    """Pixels of one view in which the mesh shows `parts`, of which `shade` (V,) of the light reaches each vertex."""
    triangles = model.triangles()
    inner = np.any([model.part(name) for name in parts], axis=0)
    near = (model.region("face")[triangles] > 0).all(1) & (view.facing[triangles].max(1) > 0)
    triangles = triangles[near]
    place = view.pixel[triangles[inner[triangles].all(1)]].reshape(-1, 2)
    size = np.array(view.image.shape[1::-1])
    low = np.clip(np.floor(place.min(0, initial=np.inf)), 0, size - 1).astype(int)
    high = np.clip(np.ceil(place.max(0, initial=-np.inf)) + 1, low + 1, size).astype(int)
    drawn = cover(view.pixel[triangles] - low, (int(high[1] - low[1]), int(high[0] - low[0])),
                  depth=view.camera[triangles][..., 2])
    seen = inner[triangles[drawn.triangle, 0]]
    corners, weights = triangles[drawn.triangle[seen]], drawn.weights[seen]
    width = drawn.size[1]
    x, y = drawn.pixel[seen] % width + low[0], drawn.pixel[seen] // width + low[1]
    # The rig lights what lies in the mouth as if it faced the camera.
    ahead = np.any([model.part(name) for name in MOUTH if name in model.part_names] or [np.zeros_like(inner)], axis=0)
    normals = np.where(ahead[:, None], [0.0, 0.0, -1.0], view.normals)
    arriving = np.maximum(spherical_harmonics(normals) @ light, 0) * shade[:, None]
    return Pixels(corners, weights, view.image[y, x] / 255.0, np.einsum("ni,nic->nc", weights, arriving[corners]))


def _voted(found: Sequence[Pixels], low: np.ndarray) -> np.ndarray:
    """(V, 3) `low` moved to what is seen at each vertex, to which every one of `found` adds one frame's say at most."""
    top, weight = PRIOR_FRAMES * low, np.full(len(low), PRIOR_FRAMES)
    for pixels in found:
        right, mass, many = np.zeros_like(low), np.zeros_like(low), np.zeros(len(low))
        for corner in range(3):
            share, vertex = pixels.weights[:, corner], pixels.corners[:, corner]
            np.add.at(right, vertex, share[:, None] * pixels.light * pixels.colour)
            np.add.at(mass, vertex, share[:, None] * pixels.light**2)
            np.add.at(many, vertex, share)
        say = np.minimum(many, 1) * (mass.min(1) > 0)
        top += say[:, None] * np.clip(right / np.maximum(mass, 1e-9), 0, 1.5)
        weight += say
    return top / weight[:, None]


def toned(pixels: Pixels, low: np.ndarray, part: np.ndarray, *, hue: bool) -> np.ndarray:
    """(P, 3) the colours of `part` (V,) bool in the tone, one gain a channel, that explains the pixels best.

    A vertex that is seen often has a gain of its own: some teeth are behind the lips in truth, or in another's shadow.
    Without `hue` the gain is the same for all channels: what is dark, and lies where teeth or braces are in truth,
    tells nothing about its colour.
    """
    expected = pixels.light * pixels.interpolate(low)
    if not len(expected):
        return low[part]
    typical = (expected**2).mean(0)
    gain = (((expected * pixels.colour).sum(0) + PRIOR_PIXELS * typical)
            / ((expected**2).sum(0) + PRIOR_PIXELS * typical)).clip(*GAIN)
    found, weight = (np.zeros_like(low, dtype=float) for _ in range(2))
    for corner in range(3):
        share = pixels.weights[:, corner, None]
        np.add.at(found, pixels.corners[:, corner], share * expected * pixels.colour)
        np.add.at(weight, pixels.corners[:, corner], share * expected**2)
    own = ((found + PRIOR_PIXELS * typical * gain) / (weight + PRIOR_PIXELS * typical))[part]
    if not hue:
        return low[part] * np.clip(own.mean(1, keepdims=True), *DULL_GAIN)
    found = low[part] * np.clip(own, *GAIN)
    # Brighter than white, they keep their hue: cut off in every channel, they would be grey beside warm skin.
    return found / np.maximum(found.max(1, keepdims=True), 1)


def _eyes(out: np.ndarray, views: Sequence[Posed], track: FaceTrack, model: FaceModel, light: np.ndarray) -> None:
    """Fill in the eyeballs of `out` (V, 3): one profile of colour over the distance from the pupil, for both."""
    found = [_eye(view, track.landmarks[view.number], model.part(name), ring, iris, light)
             for view in views for name, ring, iris in zip(EYES, RINGS, IRISES, strict=True)]
    distance, colour, arriving = (np.concatenate([one[axis] for one in found]) for axis in range(3))
    rings = np.arange(0, WIDEST + STEP / 2, STEP)
    radius = np.full(len(out), np.inf)
    for name, iris in zip(EYES, IRISES, strict=True):
        radius[model.part(name)] = _radii(model, model.part(name), iris)
    balls = np.isfinite(radius)
    order = np.argsort(radius[balls], kind="stable")
    profile = np.zeros((len(rings), 3))
    for number, ring in enumerate(rings):
        own = [np.interp(ring, radius[balls][order], out[balls][order, channel]) for channel in range(3)]
        members = np.abs(distance - ring) < STEP
        # The median, since lamps glint in half of all irises.
        count = float(members.sum())
        seen = np.median(colour[members] / arriving[members], axis=0) if count else np.zeros(3)
        profile[number] = (count * seen + PRIOR_PIXELS * np.array(own)) / (count + PRIOR_PIXELS)
    # At the edge of the iris pixels are mixed and landmarks unsure: colours there come from either side of it.
    clear = np.where(radius[balls] < 1.03, CLEAR[0] * radius[balls], np.maximum(radius[balls], CLEAR[1]))
    out[balls] = np.stack([np.interp(clear, rings, profile[:, channel]) for channel in range(3)], 1)


def _radii(model: FaceModel, ball: np.ndarray, iris: int) -> np.ndarray:
    """(P,) distance of the vertices `ball` (V,) bool from the axis of the eye, in radii of its iris."""
    shape = model.mean_shape[ball]
    middle, half = _middle(shape), float(np.ptp(shape[:, 0])) / 2
    limbus = model.landmark_vertex[np.isin(model.landmark_index, range(iris + 1, iris + 5))]
    unit = (float(np.linalg.norm(model.mean_shape[limbus, :2] - middle[:2], axis=1).mean()) if len(limbus)
            else IRIS_SHARE * half)
    across = np.linalg.norm(shape[:, :2] - middle[:2], axis=1)
    # Behind its widest place the eyeball is never seen.
    hidden = shape[:, 2] > shape[np.argmax(across), 2]
    return np.where(hidden, WIDEST, across / unit)


def _eye(view: Posed, landmarks: np.ndarray, ball: np.ndarray, ring: tuple[int, ...], iris: int, light: np.ndarray
         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance from the pupil in radii of the iris (N,), colour (N, 3) and arriving light (N, 3) of an open eye."""
    nothing = np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3))
    outline, centre = landmarks[list(ring), :2] - 0.5, landmarks[iris, :2] - 0.5
    radius = float(np.linalg.norm(landmarks[iris + 1:iris + 5, :2] - 0.5 - centre, axis=1).mean())
    tall = float(np.ptp(outline[:, 1]))
    if not radius > 1 or tall < OPEN * 2 * radius:
        return nothing
    low = np.floor(outline.min(0)).astype(int)
    canvas = np.zeros((np.ceil(outline.max(0)).astype(int) - low + 2)[::-1], np.uint8)
    cv2.fillPoly(canvas, [np.round((outline - low) * 16).astype(np.int32)], (1,), shift=4)
    canvas = cv2.erode(canvas, np.ones((3, 3), np.uint8), borderValue=(0.0,)) if radius > 3 else canvas
    y, x = np.nonzero(canvas)
    pixel = np.stack([x, y], 1) + low
    pixel = pixel[view.inside(pixel)]
    if not len(pixel):
        return nothing
    middle, half = _middle(view.pixel[ball]), max(float(np.ptp(view.pixel[ball][:, 0])) / 2, 1e-6)
    offset = (pixel - middle) / half
    normal = np.concatenate([offset, -np.sqrt(np.clip(1 - (offset**2).sum(1, keepdims=True), 0.1, 1))], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    arriving = np.maximum(spherical_harmonics(normal) @ light, 0.05) * lid_shade(offset)[:, None]
    return (np.linalg.norm(pixel - centre, axis=1) / radius, view.image[pixel[:, 1], pixel[:, 0]] / 255.0, arriving)


def _middle(points: np.ndarray) -> np.ndarray:
    """(D,) middle of the box around `points` (N, D)."""
    return (points.min(0) + points.max(0)) / 2


def opening(model: FaceModel, weights: np.ndarray) -> float:
    """Share of the light that gets into the mouth at expression `weights` (K,), as the rig has it."""
    known = dict(zip(model.names, weights.tolist(), strict=True))
    return float(np.clip(CLOSED + sum(gain * known.get(name, 0.0) for name, gain in OPENERS.items()), CLOSED, 1))


def inner_shade(model: FaceModel, shape: np.ndarray) -> np.ndarray:
    """(V,) in [0, 1]: how much light reaches each vertex at rest (V, 3), as the rig has it; 1 on the skin."""
    names = [str(name) for name in model.part_names]
    shade = np.ones(len(shape))
    lips = shape[model.region("lips") > 0.5] if "lips" in model.region_names else shape[:0]
    inside = np.any([model.part(name) for name in MOUTH if name in names] or [np.zeros(len(shape), bool)], axis=0)
    if len(lips) and inside.any():
        depth, below = shape[inside, 2] - lips[:, 2].min(), shape[inside, 1] - lips[:, 1].mean()
        shade[inside] = np.clip(1.1 - depth / 0.045, 0.25, 1) * np.clip(1.05 - np.abs(below) / 0.035, 0.6, 1)
        shade[inside] *= 1 - 0.22 * np.clip(below / 0.004 + 0.5, 0, 1)
    for name in EYES:
        if name in names:
            ball = model.part(name)
            offset = (shape[ball] - _middle(shape[ball])) / max(float(np.ptp(shape[ball][:, 0])) / 2, 1e-6)
            shade[ball] = lid_shade(offset)
    return shade


def lid_shade(offset: np.ndarray) -> np.ndarray:
    """(N,) light on an eyeball beneath its lid, at places `offset` (N, ≥2) from its middle in radii."""
    lid = np.clip((0.02 - offset[:, 1]) / 0.42, 0, 1) ** 2
    return (1 - 0.5 * lid) * (1 - 0.3 * np.clip((np.abs(offset[:, 0]) - 0.35) / 0.5, 0, 1))
