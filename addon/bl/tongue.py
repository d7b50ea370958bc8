"""The tongue's way out of the mouth, and the light it gets there over someone's film."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from ..core import tongue
from ..core.character import Character
from ..core.face_model import FaceModel
from . import space
from .materials import math, new

OUT, SHARE = (0.0, 0.014), 0.9
"""Metres behind the lips' front between which a tongue comes out of their shade, and the share of the light there."""

REDDER = np.array([1.0, 0.8, 0.82])
"""A tongue's colour over that of its lips."""


def add_path(shape: Any, model: FaceModel, neutral: np.ndarray) -> None:
    """Give `shape`, which has the model's keys, a key that takes `tongueOut` round the lip, driven by it."""
    offset = tongue.path(model)
    if offset is None:
        return
    key = shape.shape_key_add(name=tongue.PATH, from_mix=False)
    key.value = 0.0
    key.data.foreach_set("co", space.to_blender(neutral + offset).astype(np.float32).ravel())
    driver = key.driver_add("value").driver
    variable = driver.variables.new()
    variable.name = "t"
    variable.targets[0].id_type = "KEY"
    variable.targets[0].id = shape.data.shape_keys
    variable.targets[0].data_path = f'key_blocks["{tongue.SHAPE}"].value'
    # Only arithmetic: Blender works that out itself, also where Python in drivers is switched off.
    driver.expression = "4.0 * t * (1.0 - t)"


def light(mesh: bpy.types.Mesh, model: FaceModel, character: Character) -> None:
    """Let the light reach a tongue that is out, in the materials that `materials.add` gave the `mesh`.

    What a film shows of a tongue is the dark of the mouth, so where it is out it has the lips' colour, redder.
    """
    lips, neutral = model.region("lips") > 0.5, character.neutral_shape
    if tongue.PART not in model.materials or not lips.any():
        return
    tree: Any = mesh.materials[model.materials.index(tongue.PART)].node_tree
    lit = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeGroup" and "Shade" in node.inputs)
    colour, shade = (lit.inputs[name].links[0].from_socket for name in ("Albedo", "Shade"))
    place, parts = new(tree, "ShaderNodeTexCoord", (-1400, -600)), new(tree, "ShaderNodeSeparateXYZ", (-1250, -600))
    tree.links.new(place.outputs["Object"], parts.inputs[0])
    front = float(space.to_blender(neutral[lips])[:, 1].min())
    share = new(tree, "ShaderNodeMapRange", (-700, -600), interpolation_type="SMOOTHSTEP")
    for name, value in (("From Min", front + OUT[0]), ("From Max", front + OUT[1]), ("To Min", 1.0), ("To Max", 0.0)):
        share.inputs[name].default_value = value
    tree.links.new(parts.outputs[1], share.inputs["Value"])
    mix = new(tree, "ShaderNodeMix", (-400, -300), data_type="RGBA")
    sockets = [socket for socket in mix.inputs if socket.type == "RGBA"]
    tree.links.new(share.outputs["Result"], mix.inputs[0])
    tree.links.new(colour, sockets[0])
    sockets[1].default_value = (*(character.low_albedo[lips].mean(0) * REDDER).tolist(), 1.0)
    tree.links.new(next(socket for socket in mix.outputs if socket.type == "RGBA"), lit.inputs["Albedo"])
    reached = math(tree, "MULTIPLY", (-400, -600), share.outputs["Result"], SHARE)
    tree.links.new(math(tree, "MAXIMUM", (-200, -500), shade, reached), lit.inputs["Shade"])
