"""Cameras with the clip's exact intrinsics: the full frame, a square crop of it, a portrait where there is no clip."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..core.pose import project, to_camera
from . import space

SENSOR = 36.0
CLIP = (0.01, 1000.0)
Window = tuple[float, float, float, float]
"""x, y of the upper left corner, width, height; pixels of the full frame."""


def add(name: str, focal: float, size: np.ndarray, origin: np.ndarray,
        window: Window | None = None) -> bpy.types.Object:
    """A camera at camera space's origin that sees `window` of a frame of `size`.

    Parameters
    ----------
    focal : pixels
    size : (2,) width and height of the frame, pixels; the principal point is its centre
    origin : (3,) metres, the point of camera space that is the world's origin
    window : x, y, width, height in pixels of the part that is rendered; None for the whole frame
    """
    x, y, width, height = window or (0.0, 0.0, float(size[0]), float(size[1]))
    data = bpy.data.cameras.new(name)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR
    data.lens = focal * SENSOR / width
    # Blender measures both shifts in the sensor's width; +x looks right and +y looks up.
    data.shift_x = (x + width / 2 - float(size[0]) / 2) / width
    data.shift_y = -(y + height / 2 - float(size[1]) / 2) / width
    data.clip_start, data.clip_end = CLIP
    camera = bpy.data.objects.new(name, data)
    camera.matrix_world = Matrix(space.camera_matrix(origin).tolist())
    bpy.context.scene.collection.objects.link(camera)
    return camera


def portrait_window(shape: np.ndarray, pose: np.ndarray, focal: float, size: np.ndarray) -> Window:
    """The square window that frames the head of `shape` (V, 3) at `pose` (6,) as a portrait, pixels.

    A tenth of the model's height is air above it; its lowest part, where a model ends, lies below the lower edge.
    """
    points = project(to_camera(shape, pose), focal, size)
    low, high = points.min(0), points.max(0)
    height = float(high[1] - low[1])
    side, top = 1.04 * height, low[1] - 0.10 * height
    return float((low[0] + high[0]) / 2 - side / 2), float(top), float(side), float(side)
