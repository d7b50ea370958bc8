"""What stands behind the head: the clip's frames as an image sequence, or a plain backdrop."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import camera as cameras
from . import materials

PLATE_NAME, BACKDROP_NAME = "Parley Plate", "Parley Backdrop"
BEHIND = 4.0
"""The plane stands this many times the head's distance away from the camera."""

POOL, POOL_SCALE, POOL_DARK = (0.57, 0.52), 1.2, 0.3
"""The light on the backdrop: its middle in UV, on the side that the key light leaves dark; one over its reach; and the
share of the colour that is left beyond."""
BEYOND = 1.04


def add_sequence(camera: bpy.types.Object, first: Path, frames: int, focal: float, size: np.ndarray,
                 distance: float) -> bpy.types.Object:
    """A plane that fills the full frame's frustum and shows an image sequence, one image a scene frame from frame 1.

    Parameters
    ----------
    camera : any camera of the clip; the plane is parented to it
    first : the first image, numbered 000001 as scene frame 1
    frames : number of images
    focal, size : intrinsics of the full frame, pixels
    distance : metres from the camera
    """
    image = materials.load_image(first)
    image.source = "SEQUENCE"
    material, colour = materials.emitter(PLATE_NAME)
    tree: Any = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.extension = image, "EXTEND"
    node.image_user.frame_duration, node.image_user.frame_start = frames, 1
    node.image_user.use_auto_refresh = True
    tree.links.new(node.outputs["Color"], colour)
    half = np.asarray(size, np.float64) / 2 * distance / focal
    return plane(PLATE_NAME, camera, material, (-half[0], half[0]), (-half[1], half[1]), distance)


def add_backdrop(camera: bpy.types.Object, colour: tuple[float, float, float], distance: float) -> bpy.types.Object:
    """A plane behind everything that `camera` sees, `colour` in the middle and darker towards the corners."""
    material, shown = materials.emitter(BACKDROP_NAME)
    tree: Any = material.node_tree
    place, mapping = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    gradient, ramp = tree.nodes.new("ShaderNodeTexGradient"), tree.nodes.new("ShaderNodeValToRGB")
    # The light fades out beyond the corners.
    mapping.inputs["Scale"].default_value = (POOL_SCALE, POOL_SCALE, 1)
    mapping.inputs["Location"].default_value = (-POOL[0] * POOL_SCALE, -POOL[1] * POOL_SCALE, 0)
    gradient.gradient_type = "SPHERICAL"
    dark = tuple(POOL_DARK * value for value in colour)
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (*dark, 1), (*colour, 1)
    ramp.color_ramp.interpolation = "EASE"
    for source, target in ((place.outputs["UV"], mapping.inputs["Vector"]),
                           (mapping.outputs["Vector"], gradient.inputs["Vector"]),
                           (gradient.outputs["Fac"], ramp.inputs["Fac"]),
                           (ramp.outputs["Color"], shown)):
        tree.links.new(source, target)
    data = camera.data
    width = cameras.SENSOR / data.lens * distance
    x, y = data.shift_x * width, data.shift_y * width
    half = BEYOND / 2 * width  # a little beyond the edge, so that the pixels there are covered whole
    return plane(BACKDROP_NAME, camera, material, (x - half, x + half), (y - half, y + half), distance)


def gradient(colour: tuple[float, float, float], height: int, width: int) -> np.ndarray:
    """(height, width, 3) float32: the backdrop that `add_backdrop` shows, for engines without shader nodes."""
    v, u = np.mgrid[1:0:height * 1j, 0:1:width * 1j]
    # The plane reaches a little beyond the picture, and so do its UVs.
    across, up = 0.5 + (u - 0.5) / BEYOND, 0.5 + (v - 0.5) / BEYOND
    light = np.clip(1 - POOL_SCALE * np.hypot(across - POOL[0], up - POOL[1]), 0, 1)
    ease = light * light * (3 - 2 * light)
    return (np.array(colour) * (POOL_DARK + (1 - POOL_DARK) * ease[..., None])).astype(np.float32)


def plane(name: str, camera: bpy.types.Object, material: bpy.types.Material, x: tuple[float, float],
           y: tuple[float, float], distance: float) -> bpy.types.Object:
    """A rectangle in the camera's own axes at `distance`, with UVs from its lower left to its upper right corner."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(x[i], y[j], -distance) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", np.array([0, 0, 1, 0, 1, 1, 0, 1], np.float32))
    mesh.materials.append(material)
    plane = bpy.data.objects.new(name, mesh)
    plane.parent = camera
    plane.hide_select = True
    bpy.context.scene.collection.objects.link(plane)
    return plane
