"""Hair in Blender: one object of ribbons beside the head's mesh, carried by the head's empty."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from ..core import hair
from . import materials, space, studio
from .materials import math, new, vector

NAME, LASHES_NAME, MATERIAL_NAME, GROUP_NAME = "Parley Hair", "Parley Lashes", "Parley Hair", "Parley Hair Light"
HAIR_RIM = 0.45
"""Hair's share of the lamp behind the head: locks let most of it through."""
LASH = 0.6
"""Lashes' share of the hair's colour."""
LOCK, OUTWARD, ALONG = "parley_lock", "parley_outward", "parley_along"
SHINE = ((38.0, 0.16, -0.06), (150.0, 0.11, 0.05))
"""Highlights across the locks: exponent, strength, how far they are shifted towards the tip."""


def add(ribbons: hair.Ribbons, colour: tuple[float, float, float], light: np.ndarray,
        empty: bpy.types.Object) -> bpy.types.Object:
    """The object of `ribbons`, of hair `colour`, under `light` (9, 3), parented to `empty`."""
    mesh = bpy.data.meshes.new(NAME)
    mesh.vertices.add(len(ribbons.points))
    mesh.vertices.foreach_set("co", space.to_blender(ribbons.points).astype(np.float32).ravel())
    mesh.loops.add(ribbons.faces.size)
    mesh.loops.foreach_set("vertex_index", ribbons.faces.ravel())
    mesh.polygons.add(len(ribbons.faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, ribbons.faces.size, 4, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(ribbons.faces), bool))
    mesh.update(calc_edges=True)
    # A lock's root lies in the shade of the others.
    shade = ribbons.tone * (0.52 + 0.48 * np.minimum(ribbons.depth * 2.2, 1))
    mesh.attributes.new(LOCK, "FLOAT", "POINT").data.foreach_set("value", shade.astype(np.float32).ravel())
    for name, values in ((OUTWARD, ribbons.outward), (ALONG, ribbons.along)):
        attribute = mesh.attributes.new(name, "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", space.to_blender(values).astype(np.float32).ravel())
    mesh.materials.append(_material(colour, light))
    item = bpy.data.objects.new(NAME, mesh)
    item.parent = empty
    bpy.context.scene.collection.objects.link(item)
    return item


def add_lashes(ribbons: hair.Ribbons, keys: dict[str, np.ndarray], colour: tuple[float, float, float],
               light: np.ndarray, empty: bpy.types.Object, face: bpy.types.Key) -> bpy.types.Object:
    """The object of the lashes' `ribbons`, whose shape `keys` (N, 3) follow those of the `face`."""
    red, green, blue = (LASH * value for value in colour)
    item = add(ribbons, (red, green, blue), light, empty)
    item.name = item.data.name = LASHES_NAME
    item.shape_key_add(name="Basis", from_mix=False)
    for name, points in keys.items():
        key = item.shape_key_add(name=name, from_mix=False)
        key.value = 0.0
        key.data.foreach_set("co", space.to_blender(points).astype(np.float32).ravel())
        driver = key.driver_add("value").driver
        driver.type = "SUM"
        variable = driver.variables.new()
        variable.targets[0].id_type, variable.targets[0].id = "KEY", face
        variable.targets[0].data_path = f'key_blocks["{name}"].value'
    return item


def of(empty: bpy.types.Object) -> list[bpy.types.Object]:
    """The hair that `empty` carries."""
    return [child for child in empty.children if child.type == "MESH" and LOCK in child.data.attributes]


def show(empty: bpy.types.Object, on: bool) -> None:
    """Show the hair that `empty` carries, or hide it in viewport and render."""
    for item in of(empty):
        item.hide_render = item.hide_viewport = not on


def _material(colour: tuple[float, float, float], light: np.ndarray) -> bpy.types.Material:
    material, shown = materials.emitter(MATERIAL_NAME)
    material.use_backface_culling = False
    tree: Any = material.node_tree
    lit = new(tree, "ShaderNodeGroup", (0, 0), node_tree=_light_group(light))
    root = new(tree, "ShaderNodeRGB", (-400, 200), name="Hair", label="Hair")
    root.outputs[0].default_value = (*colour, 1)
    tree.links.new(root.outputs[0], lit.inputs["Albedo"])
    tree.links.new(lit.outputs["Color"], shown)
    return material


def _light_group(light: np.ndarray) -> bpy.types.ShaderNodeTree:
    """The node group that lights locks by `light` (9, 3): evenly about them, and with two bands of shine."""
    tree: Any = bpy.data.node_groups.new(GROUP_NAME, "ShaderNodeTree")
    tree.interface.new_socket("Albedo", in_out="INPUT", socket_type="NodeSocketColor")
    tree.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    entry, leave = new(tree, "NodeGroupInput", (-1800, 600)), new(tree, "NodeGroupOutput", (2200, 0))
    outward = _turned(tree, OUTWARD)
    along = _turned(tree, ALONG)[3]
    whole = materials.irradiance(tree, outward, np.asarray(light, np.float64))
    lock = new(tree, "ShaderNodeAttribute", (-400, -300), attribute_name=LOCK).outputs["Fac"]
    lit = vector(tree, "MULTIPLY", (800, 100), vector(tree, "SCALE", (650, 100), whole, scale=lock), entry.outputs[0])
    direction, strength = studio.key_light(light)
    half = vector(tree, "NORMALIZE", (-400, -900),
                  vector(tree, "ADD", (-500, -900), studio.camera_view(tree), tuple(direction)))
    lean = vector(tree, "DOT_PRODUCT", (-200, -900), along, half)
    shine: Any = 0.0
    for power, gain, shift in SHINE:
        sine = math(tree, "SUBTRACT", (0, -900), 1.0, math(tree, "POWER", (-50, -900), math(
            tree, "ABSOLUTE", (-70, -900), math(tree, "ADD", (-100, -900), lean, shift)), 2.0))
        shine = math(tree, "MULTIPLY_ADD", (200, -900), math(tree, "POWER", (100, -900), sine, power / 2), gain, shine)
    facing = math(tree, "MAXIMUM", (200, -1100), vector(tree, "DOT_PRODUCT", (100, -1100), outward[3], half), 0.0)
    shine = math(tree, "MULTIPLY", (400, -900), math(tree, "MULTIPLY", (300, -900), shine, facing), lock)
    thrown = vector(tree, "SCALE", (600, -900), tuple(strength), scale=shine)
    # Dark hair throws back white light, fair hair its own colour as well.
    tinted = vector(tree, "MULTIPLY", (800, -900), thrown,
                    vector(tree, "MULTIPLY_ADD", (700, -1000), entry.outputs[0], (1.1, 1.0, 0.9), (0.55, 0.55, 0.55)))
    behind = studio.rim(tree, outward[3], studio.camera_view(tree), light)
    edge = vector(tree, "SCALE", (1000, -500), behind, scale=lock)
    lit = vector(tree, "ADD", (1100, 0), lit, vector(tree, "SCALE", (1050, -500), edge, scale=HAIR_RIM))
    tree.links.new(vector(tree, "ADD", (1200, 0), lit, tinted), leave.inputs["Color"])
    return tree


def _turned(tree: Any, name: str) -> tuple[Any, Any, Any, Any]:
    """Sockets x, y, z and vector, in camera axes, of the vector attribute `name`, which turns with the object."""
    stored = new(tree, "ShaderNodeAttribute", (-2200, -500), attribute_name=name)
    turn = new(tree, "ShaderNodeVectorTransform", (-2000, -500), vector_type="NORMAL", convert_from="OBJECT",
               convert_to="WORLD")
    tree.links.new(stored.outputs["Vector"], turn.inputs[0])
    return materials.camera_axes(tree, vector(tree, "NORMALIZE", (-1850, -500), turn.outputs[0]))
