"""The fitted mesh drawn over its clip, so that an eye can judge the fit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project, to_camera
from ml_backend.reconstruct import points
from ml_backend.reconstruct.posed import Posed, neutral_shape, place

SHIFT = 4
"""Bits of sub-pixel precision of lines."""
INSIDE = 0.5
"""Share of the model's face region from which a vertex is drawn."""
FACING = 0.12
"""Cosine below which an edge lies on the side that is turned away."""
OPACITY = 0.45
DENSE = 5.0
"""Pixels between lines below which the mesh is drawn more faintly, so that the face stays visible."""
MESH = np.array([90.0, 255.0, 200.0])
SHADES = 4
"""Lines are drawn in this many steps of brightness by how much they face the camera."""
RINGS = ((points.LIPS_OUTER, (255, 120, 150)), (points.LIPS_INNER, (255, 60, 110)), (points.EYE_RIGHT, (255, 220, 60)),
         (points.EYE_LEFT, (255, 220, 60)))
AXES = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))
AXIS_COLOURS = ((255, 70, 70), (70, 230, 70), (80, 140, 255))
AXIS_LENGTH = 0.06
"""Metres: the person's left, up, and the way the face looks."""


@dataclass(frozen=True)
class Overlay:
    """Draws the frames of one track. E edges.

    Attributes
    ----------
    track, model : what was fitted
    neutral : (V, 3) metres
    triangles : (F, 3)
    edges : (E, 2) vertices of the face's lines
    """

    track: FaceTrack
    model: FaceModel
    neutral: np.ndarray
    triangles: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, track: FaceTrack, model: FaceModel) -> Overlay:
        """Prepare what is the same in all frames."""
        return cls(track, model, neutral_shape(track, model), model.triangles(), face_edges(model))

    def draw(self, number: int, frame: np.ndarray, *, window: np.ndarray | None = None, side: int = 0) -> np.ndarray:
        """(H, W, 3) uint8: `frame` with the mesh, the rings of lips and lids, and the axes of the head's pose.

        With a `window` (x, y, side in pixels) only that part, brought to `side` × `side`; lines are as thick there.
        A frame in which no face was found is marked instead.
        """
        scale, corner = (1.0, np.zeros(2)) if window is None else (side / float(window[2]), np.asarray(window[:2]))
        picture = _part(frame, window, side)
        if self.track.confidence[number] <= 0:
            _label(picture, "no face found")
            return picture
        posed = place(self.track, self.model, number, frame, self.neutral, self.triangles)
        # Back to counting from the frame's corner, scale there, and on to whole-number centres of the result.
        pixel = (posed.pixel + 0.5 - corner) * scale - 0.5
        self._mesh(picture, posed, pixel)
        self._rings(picture, pixel)
        self._axes(picture, number, corner, scale)
        return picture

    def _mesh(self, picture: np.ndarray, posed: Posed, pixel: np.ndarray) -> None:
        ends = pixel[self.edges]
        facing = posed.facing[self.edges].min(1)
        shown = (facing > FACING) & np.isfinite(ends).all((1, 2))
        if not shown.any():
            return
        spacing = float(np.median(np.linalg.norm(ends[shown, 0] - ends[shown, 1], axis=1)))
        drawn = picture.copy()
        step = np.clip(((facing - FACING) / (1 - FACING) * SHADES).astype(int), 0, SHADES - 1)
        for shade in range(SHADES):
            lines = _fixed(ends[shown & (step == shade)])
            colour = MESH * (0.35 + 0.65 * (shade + 1) / SHADES)
            cv2.polylines(drawn, list(lines), False, tuple(colour.tolist()), 1, cv2.LINE_AA, SHIFT)
        opacity = OPACITY * min(1.0, max(spacing / DENSE, 0.55))
        cv2.addWeighted(drawn, opacity, picture, 1 - opacity, 0, dst=picture)

    def _rings(self, picture: np.ndarray, pixel: np.ndarray) -> None:
        rig = points.rig(self.model)
        for ring, colour in RINGS:
            vertices = rig.vertex[rig.rows(ring)]
            if len(vertices) > 2:
                cv2.polylines(picture, [_fixed(pixel[vertices])], True, colour, 1, cv2.LINE_AA, SHIFT)

    def _axes(self, picture: np.ndarray, number: int, corner: np.ndarray, scale: float) -> None:
        origin = self.neutral[int(np.argmin(np.where(self.model.region("face") > INSIDE, self.neutral[:, 2], np.inf)))]
        ends = origin + AXIS_LENGTH * np.array([(0.0, 0.0, 0.0), *AXES])
        camera = to_camera(ends, self.track.pose()[number])
        flat = project(camera, float(self.track.focal), np.asarray(self.track.size, float) / 2)
        tips = _fixed((flat - corner) * scale - 0.5)
        for tip, colour in zip(tips[1:], AXIS_COLOURS, strict=True):
            cv2.polylines(picture, [np.stack([tips[0], tip])], False, colour, 2, cv2.LINE_AA, SHIFT)


def face_edges(model: FaceModel) -> np.ndarray:
    """(E, 2) edges between vertices of the face's skin, each once; quads without their diagonals."""
    corners = model.faces
    quads = corners[corners[:, 3] >= 0]
    threes = corners[corners[:, 3] < 0][:, :3]
    pairs = [quads[:, [a, (a + 1) % 4]] for a in range(4)] + [threes[:, [a, (a + 1) % 3]] for a in range(3)]
    edges = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    drawn = model.region("face") > INSIDE
    if "skin" in [str(name) for name in model.part_names]:
        drawn &= model.part("skin")
    return edges[drawn[edges].all(1)]


def face_window(track: FaceTrack, number: int) -> np.ndarray:
    """(3,) x, y, side of a square around the face of one frame, pixels; may reach beyond the picture."""
    flat = track.landmarks[number, :, :2].astype(float)
    low, high = flat.min(0), flat.max(0)
    side = 1.5 * float((high - low).max())
    return np.array([*((low + high) / 2 - side / 2), side])


def _part(frame: np.ndarray, window: np.ndarray | None, side: int) -> np.ndarray:
    if window is None:
        return frame[..., :3].copy()
    x, y, wide = (float(value) for value in window)
    scale = side / wide
    # The centre of the window's first output pixel lies half an output pixel within it.
    turn = np.array([[scale, 0, -x * scale + 0.5 * scale - 0.5], [0, scale, -y * scale + 0.5 * scale - 0.5]])
    return cv2.warpAffine(frame[..., :3], turn, (side, side), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _fixed(pixels: np.ndarray) -> np.ndarray:
    return np.round(np.clip(pixels, -1e5, 1e5) * (1 << SHIFT)).astype(np.int32)


def _label(picture: np.ndarray, text: str) -> None:
    for colour, thickness in (((0, 0, 0), 4), ((255, 90, 90), 2)):
        cv2.putText(picture, text, (12, 32), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, thickness, cv2.LINE_AA)
