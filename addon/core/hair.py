"""Hair as locks: lines from root to tip that hang on the scalp's vertices, and the ribbons that are drawn of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .face_model import FaceModel, index_of
from .npz import load_npz, require

SCHEMA, VERSION = "parley.hair", 1
UNIT = 1e-5
"""Metres of one step of the stored points."""
LASHES = "lashes"
STILL = 0.0002
"""Metres: an expression that moves no lid's margin further than this leaves the lashes as they are."""
ROLL = 1.0
"""Radians by which ribbons are turned out of the scalp's plane at most."""
NAMES = ("styles", "starts", "points", "anchors", "weights", "widths", "tones", "outward")


@dataclass(frozen=True)
class Wig:
    """S styles of L locks in all, P points from root to tip.

    Attributes
    ----------
    styles : (S,) str
    starts : (S + 1,) int32, where each style's locks begin
    points : (L, P, 3) int16, steps of `UNIT` in model space, on the mean face
    anchors : (L, 3) int32, vertices that carry a lock; weights (L, 3) float16, how much
    widths : (L,) float16, metres at the root
    tones : (L,) float16, brightness about 1
    outward : (L, P, 3) int8, unit vector × 127 away from the head
    """

    styles: np.ndarray
    starts: np.ndarray
    points: np.ndarray
    anchors: np.ndarray
    weights: np.ndarray
    widths: np.ndarray
    tones: np.ndarray
    outward: np.ndarray

    @property
    def styles_all(self) -> list[str]:
        """What the file holds: hairstyles, and `LASHES`."""
        return [str(name) for name in self.styles]

    @property
    def names(self) -> list[str]:
        """The hairstyles to choose from."""
        return [name for name in self.styles_all if name != LASHES]


@dataclass(frozen=True)
class Ribbons:
    """What is drawn: N vertices, F quads. `points`, `outward`, `along` (N, 3) float32 in model space; `tone` (N,):
    brightness, `depth` (N,): 0 at a root, 1 at a tip; `faces` (F, 4) int32."""

    points: np.ndarray
    outward: np.ndarray
    along: np.ndarray
    tone: np.ndarray
    depth: np.ndarray
    faces: np.ndarray


def load(path: Path | str, vertices: int) -> Wig:
    """Read and validate the hair of a model of that many `vertices`; raises `ArtefactError`."""
    wig = Wig(**load_npz(path, SCHEMA, VERSION, NAMES))
    count = len(wig.points)
    require(wig.points.ndim == 3 and wig.points.shape[1] >= 2 and wig.points.shape[2] == 3, path,
            "points is not (L, P, 3)")
    require(wig.outward.shape == wig.points.shape, path, "outward and points differ in shape")
    for name in ("anchors", "weights"):
        require(getattr(wig, name).shape == (count, 3), path, f"{name} is not (L, 3)")
    for name in ("widths", "tones"):
        require(getattr(wig, name).shape == (count,), path, f"{name} is not (L,)")
    require(len(wig.starts) == len(wig.styles) + 1 and int(wig.starts[-1]) == count, path, "starts do not fit")
    require(not ((wig.anchors < 0) | (wig.anchors >= vertices)).any(), path, "it was made for another head")
    return wig


def ribbons(wig: Wig, style: str, moved: np.ndarray) -> Ribbons:
    """The ribbons of `style`, carried by the displacement `moved` (V, 3), metres, of the head from its mean."""
    own = _rows(wig, style)
    line = wig.points[own].astype(np.float32) * UNIT + _carried(wig, own, moved)[:, None]
    outward = wig.outward[own].astype(np.float32) / 127
    count, steps = line.shape[:2]
    along = np.gradient(line, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
    across = np.cross(along, outward)
    across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-9)
    # Each is rolled about its line by an angle of its own, so that some show their breadth to any eye.
    roll = (ROLL * (2 * (np.arange(count) * 0.618034 % 1) - 1)).astype(np.float32)[:, None, None]
    across = np.cos(roll) * across + np.sin(roll) * outward
    depth = np.linspace(0, 1, steps, dtype=np.float32)
    taper = 0.55 + 0.45 * np.sin(np.pi * np.minimum(0.25 + depth, 1)) - 0.45 * depth**3
    half = (0.5 * wig.widths[own].astype(np.float32)[:, None] * taper)[..., None] * across
    # The ribbon's two edges look a little to its sides, so that it is lit like a tuft and not like paper.
    lean = np.stack([outward - 0.35 * across, outward + 0.35 * across], 2)
    tone = np.broadcast_to(wig.tones[own].astype(np.float32)[:, None], (count, steps))
    return Ribbons(np.stack([line - half, line + half], 2).reshape(-1, 3), lean.reshape(-1, 3), _twice(along),
                   _twice(tone), _twice(np.broadcast_to(depth, (count, steps))), _quads(count, steps))


def lash_keys(wig: Wig, drawn: Ribbons, model: FaceModel) -> dict[str, np.ndarray]:
    """Points (N, 3) of the lashes `drawn` in those expressions of `model` at weight 1 that move a lid.

    A lash stays on its lid's margin and turns with it about the eyeball's centre, up and down.
    """
    own = _rows(wig, LASHES)
    root = wig.points[own, 0].astype(np.float32) * UNIT
    left = (root[:, :1] > 0).astype(np.float32)
    eyes = model.joints[[index_of(model.joint_names, name) for name in ("eye_right", "eye_left")]]
    arm = (root - (1 - left) * eyes[0] - left * eyes[1])[:, 1:]
    per_lock = len(drawn.points) // max(len(root), 1)
    spread = (drawn.points.reshape(-1, per_lock, 3) - root[:, None])
    found = {}
    for name, offset in zip(model.names, model.expression_basis, strict=True):
        shift = _carried(wig, own, offset)
        if np.linalg.norm(shift, axis=1).max(initial=0) < STILL:
            continue
        after = arm + shift[:, 1:]
        turn = np.arctan2(after[:, 1], after[:, 0]) - np.arctan2(arm[:, 1], arm[:, 0])
        sine, cosine = np.sin(turn)[:, None], np.cos(turn)[:, None]
        y, z = spread[..., 1], spread[..., 2]
        turned = np.stack([spread[..., 0], cosine * y - sine * z, sine * y + cosine * z], 2)
        found[name] = (root[:, None] + shift[:, None] + turned).reshape(-1, 3).astype(np.float32)
    return found


def _rows(wig: Wig, style: str) -> slice:
    index = wig.styles_all.index(style)
    return slice(int(wig.starts[index]), int(wig.starts[index + 1]))


def _carried(wig: Wig, own: slice, moved: np.ndarray) -> np.ndarray:
    """(L, 3) displacement of the roots of the locks `own` by that of the head's vertices, `moved` (V, 3)."""
    return (moved[wig.anchors[own]] * wig.weights[own].astype(np.float32)[..., None]).sum(1)


def _twice(values: np.ndarray) -> np.ndarray:
    """(2 L P, …): `values` (L, P, …), once for each edge of the ribbon."""
    return np.repeat(values.reshape(-1, *values.shape[2:]), 2, axis=0)


def _quads(count: int, steps: int) -> np.ndarray:
    first = np.arange(count * steps).reshape(count, steps) * 2
    a, b = first[:, :-1].ravel(), first[:, 1:].ravel()
    return np.stack([a, a + 1, b + 1, b], 1).astype(np.int32)
