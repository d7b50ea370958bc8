"""A face model as it stands in one frame: where each vertex is seen, how squarely, and in which colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import deform, neutral, project, to_camera, vertex_normals


@dataclass(frozen=True)
class Posed:
    """One frame with the mesh laid over it. V vertices.

    Attributes
    ----------
    number : frame of the clip
    image : (H, W, 3) uint8 RGB
    camera : (V, 3) metres, camera space
    pixel : (V, 2)
    normals : (V, 3) unit, camera space
    facing : (V,) cosine between the normal and the way to the camera
    person : (H, W) float32 in [0, 1], how surely a pixel shows the person; None where that is not known
    share : how much this view is to say beside others, 1 = as much as any
    """

    number: int
    image: np.ndarray
    camera: np.ndarray
    pixel: np.ndarray
    normals: np.ndarray
    facing: np.ndarray
    person: np.ndarray | None = None
    share: float = 1.0

    def colours(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 3) float32 in [0, 1] at `pixels` (N, 2), bilinear; the border's colour outside."""
        return sample(self.image, pixels)

    def inside(self, pixels: np.ndarray) -> np.ndarray:
        """(N,) bool: the pixel lies within the picture."""
        height, width = self.image.shape[:2]
        return ((pixels >= 0) & (pixels <= [width - 1, height - 1])).all(1)


    def shows_person(self, pixels: np.ndarray) -> np.ndarray:
        """(N,) float32 in [0, 1] at `pixels` (N, 2): not the background; 1 where that is not known."""
        if self.person is None:
            return np.ones(len(pixels), np.float32)
        return 255 * sample(self.person[..., None], pixels)[:, 0]


def sample(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N, C) float32, bilinear, of `image` (H, W, C ≤ 3) at `pixels` (N, 2), over 255; centres are whole numbers."""
    rows = int(np.ceil(len(pixels) / 4096))
    grid = np.zeros((rows * 4096, 2), np.float32)
    grid[: len(pixels)] = pixels
    grid = grid.reshape(rows, 4096, 2)
    picked = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picked.reshape(-1, image.shape[2] if image.ndim == 3 else 1)[: len(pixels), :3].astype(np.float32) / 255.0


def neutral_shape(track: FaceTrack, model: FaceModel) -> np.ndarray:
    """(V, 3) float32 metres: the person's face at zero expression."""
    return (neutral(model, track.identity) + track.shape_offset).astype(np.float32)


def place(track: FaceTrack, model: FaceModel, number: int, image: np.ndarray, rest: np.ndarray,
          triangles: np.ndarray) -> Posed:
    """Lay the mesh, at rest `rest` (V, 3), with expression and pose of frame `number` over its `image`."""
    shape = deform(rest, model.expression_basis, track.expression[number])
    camera = to_camera(shape, track.pose()[number])
    # A pixel's centre is a whole number for the sampler; landmarks count from the frame's corner.
    pixel = project(camera, float(track.focal), np.asarray(track.size, float) / 2) - 0.5
    normals = vertex_normals(camera, triangles)
    facing = -(normals * camera).sum(1) / np.maximum(np.linalg.norm(camera, axis=1), 1e-9)
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    return Posed(number, colour, camera, pixel, normals, facing)
