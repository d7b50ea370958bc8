"""Frames from Workbench, which has no shader nodes: the light is worked out for every vertex and frame, in NumPy.

Up to three quick pictures make a frame: light × vertex albedo, the skin's texture, the face region's weight. They are
multiplied here, so the result is EEVEE's within the mesh's resolution of the light.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core import shading
from ..core.character import Character
from ..core.face_model import FaceModel
from ..core.performance import Performance
from . import rig
from .plates import gradient
from .render import check_whole, read

LIT, WEIGHT = "parley_lit", "parley_weight"


@dataclass(frozen=True)
class Shader:
    """What a frame is worked out from. `textured`: the skin's albedo comes from its image; `backdrop`: None = clear."""

    head: rig.Head
    model: FaceModel
    character: Character
    act: Performance
    textured: bool
    face_only: bool
    backdrop: tuple[float, float, float] | None

    def lit(self, index: int) -> np.ndarray:
        """(V, 3) colours of the vertices in sample `index`: light × shade, × albedo where no texture brings it."""
        weights = dict(zip(self.act.names, self.act.expression[index], strict=True))
        row = np.array([weights.get(name, 0.0) for name in self.model.names], np.float32)
        points = self.character.neutral_shape + np.tensordot(row, self.model.expression_basis, 1)
        colour = shading.irradiance(points, shading.triangles(self.model.faces), self.act.pose[index, :3],
                                    self.character.light)
        shade, mouth = rig.inner_shade(self.model, self.character.neutral_shape), rig.of_kind(self.model, "mouth")
        shade[mouth] *= shading.opening(weights)
        if self.textured and self.character.lives:
            shade[:] = 1  # its texture paints eyes and mouth too, shade included
        # As in the rig's material: the mouth is lit as if it faced the camera.
        facing = shading.spherical_harmonics(np.array([[0.0, 0.0, -1.0]])) @ self.character.light
        colour[mouth] = np.maximum(facing, 0)
        painted = (rig.of_kind(self.model, "skin") | self.character.lives) & self.textured
        return colour * shade[:, None] * np.where(painted[:, None], 1.0, self.character.low_albedo)


def frames(scene: bpy.types.Scene, shader: Shader, indices: list[int], folder: Path,
           progress: Callable[[int, int], None]) -> int:
    """Render sample index i (scene frame i + 1) of `indices` to `folder`/%06d.png unless it is there; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = sorted(set(indices))
    missing = [index for index in wanted if not (folder / f"{index:06d}.png").exists()]
    progress(len(wanted) - len(missing), len(wanted))
    _prepare(shader)
    with tempfile.TemporaryDirectory(prefix=".rendering", dir=folder) as parts:
        for number, index in enumerate(missing, len(wanted) - len(missing) + 1):
            scene.frame_set(index + 1)
            picture = _picture(scene, shader, index, Path(parts) / "part.png")
            write(picture, Path(parts) / "done.png")
            check_whole(Path(parts) / "done.png")
            os.replace(Path(parts) / "done.png", folder / f"{index:06d}.png")
            progress(number, len(wanted))
    return len(missing)


def write(picture: np.ndarray, path: Path) -> None:
    """Save `picture` (H, W, 4), float in [0, 1], first row on top, as an 8-bit PNG with these values."""
    height, width = picture.shape[:2]
    image: Any = bpy.data.images.new("part", width, height, alpha=True)
    try:
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED"  # else saving divides the colours by the alpha
        image.pixels.foreach_set(np.ascontiguousarray(picture[::-1], np.float32).ravel())
        image.filepath_raw, image.file_format = str(path), "PNG"
        image.save()
    finally:
        bpy.data.images.remove(image)


def _prepare(shader: Shader) -> None:
    mesh = shader.head.mesh.data
    for name in (LIT, WEIGHT):
        if name not in mesh.attributes:
            mesh.attributes.new(name, "FLOAT_COLOR", "POINT")
    weights = np.repeat(shader.model.region("face")[:, None], 4, 1)
    mesh.attributes[WEIGHT].data.foreach_set("color", weights.astype(np.float32).ravel())
    for material in mesh.materials:
        material.diffuse_color = (1, 1, 1, 1)


def _picture(scene: bpy.types.Scene, shader: Shader, index: int, part: Path) -> np.ndarray:
    mesh = shader.head.mesh.data
    colours = np.pad(shader.lit(index) / HEADROOM, ((0, 0), (0, 1)), constant_values=1)
    mesh.attributes[LIT].data.foreach_set("color", colours.astype(np.float32).ravel())
    picture = _shot(scene, mesh, LIT, part)
    picture[..., :3] *= HEADROOM
    if shader.textured:
        picture[..., :3] *= _shot(scene, mesh, None, part)[..., :3]
    if shader.backdrop is not None:
        behind = gradient(shader.backdrop, *picture.shape[:2])
        picture[..., :3] = picture[..., :3] * picture[..., 3:] + behind * (1 - picture[..., 3:])
        picture[..., 3] = 1
    if shader.face_only:
        picture[..., 3] *= _shot(scene, mesh, WEIGHT, part)[..., 0]
    return np.clip(picture, 0, 1)


HEADROOM = 4.0
"""Light above 1 would be cut off in the image file, so it is stored divided by this, in 16 bits."""


def _shot(scene: bpy.types.Scene, mesh: Any, attribute: str | None, part: Path) -> np.ndarray:
    """(H, W, 4) picture of the colour attribute, or of the textures where it is None."""
    scene.display.shading.color_type = "TEXTURE" if attribute is None else "VERTEX"
    if attribute is not None:
        mesh.color_attributes.active_color_name = attribute
        mesh.update_tag()
    scene.render.filepath = str(part)
    settings = scene.render.image_settings
    depth, settings.color_depth = settings.color_depth, "16"
    try:
        bpy.ops.render.render(write_still=True)
    finally:
        settings.color_depth = depth
    return read(part).copy()


def clean(head: rig.Head) -> None:
    """Remove what rendering left on the mesh."""
    mesh = head.mesh.data
    for name in (LIT, WEIGHT):
        if name in mesh.attributes:
            mesh.attributes.remove(mesh.attributes[name])
    mesh.color_attributes.active_color_name = rig.ALBEDO
