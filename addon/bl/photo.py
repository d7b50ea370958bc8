"""A photo that turns its head: the mesh that shows it, hung between the head's empty and one that stands still.

Seen from the camera of the photo in its pose, mesh and face are the photo. The face, drawn last, fades into the mesh,
and its light turns with it, as the light in the photo's own pixels does.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core import photo as photos
from ..core.pose import SH_FACTORS
from . import materials, plates, rig, space
from .materials import new
from .rig import Head

MESH_NAME, STILL_NAME, PLATE_NAME = "Parley Photo", "Parley Shoulders", "Parley Photo Plate"
STILL_GROUP = "still"
SETBACK = 0.6
"""Metres that the mesh's origin lies behind the face's: what is further is drawn first, and the face blends over it."""


def add(head: Head, photo: photos.PhotoMesh, light: np.ndarray) -> bpy.types.Object:
    """Hang the mesh of `photo` on `head`, and lock the face's `light` (9, 3) to it; returns the mesh's object."""
    item = bpy.data.objects.new(MESH_NAME, _mesh(photo))
    bpy.context.scene.collection.objects.link(item)
    item.parent = head.empty
    item.location = space.to_blender(np.array([0, 0, SETBACK])).tolist()
    _keys(item, photo, head)
    group = item.vertex_groups.new(name=STILL_GROUP)
    steps = np.round(np.clip(photo.still, 0, 1) * 1000).astype(int)
    for step in np.unique(steps[steps > 0]):
        group.add(np.flatnonzero(steps == step).tolist(), float(step) / 1000, "REPLACE")
    _hold(item, head, photo.rest)
    lock_light(light, photo.rest)
    rig.draw_face(head, photo.drawn, photo.shade)
    blend_face(head)
    item.hide_select = True
    return item


def show(on: bool) -> None:
    """Draw the photos' meshes in renders, or leave them out."""
    for item in bpy.context.scene.objects:
        if item.type == "MESH" and item.name.startswith(MESH_NAME):
            item.hide_render = not on


def add_plate(camera: bpy.types.Object, photo: photos.PhotoMesh, focal: float, size: np.ndarray,
              distance: float) -> bpy.types.Object:
    """The photo without its head as a plane that fills the full frame's frustum at `distance` metres."""
    material, colour = materials.emitter(PLATE_NAME)
    tree: Any = material.node_tree
    node = new(tree, "ShaderNodeTexImage", (-300, 0), image=materials.load_image(photo.plate), extension="EXTEND",
               interpolation="Closest")
    tree.links.new(node.outputs["Color"], colour)
    half = np.asarray(size, np.float64) / 2 * distance / focal
    return plates.plane(PLATE_NAME, camera, material, (-half[0], half[0]), (-half[1], half[1]), distance)


def lock_light(light: np.ndarray, rest: np.ndarray) -> None:
    """Let the light of all heads be `light` (9, 3) as it falls on the pose `rest` (6,), and turn with them."""
    tree: Any = bpy.data.node_groups[materials.GROUP_NAME]
    turned = photos.turned_light(light, rest)
    for band in range(len(SH_FACTORS)):
        for socket, value in zip(tree.nodes[f"gamma{band}"].inputs, turned[band], strict=True):
            socket.default_value = float(value)
    entry = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeNewGeometry")
    normal = entry.outputs["Normal"]
    users = [link.to_socket for link in tree.links if link.from_socket == normal]
    own = new(tree, "ShaderNodeVectorTransform", (-1700, -300), vector_type="NORMAL", convert_from="WORLD",
              convert_to="OBJECT")
    tree.links.new(normal, own.inputs[0])
    for socket in users:
        tree.links.new(own.outputs[0], socket)


def blend_face(head: Head) -> None:
    """Let the face's edge, the attribute "parley_face", show what is behind it."""
    for material in head.mesh.data.materials:
        tree: Any = material.node_tree
        output, emission = tree.nodes["Output"], tree.nodes["Emission"]
        weight = new(tree, "ShaderNodeAttribute", (0, -300), label="Edge", attribute_name="parley_face")
        clear = new(tree, "ShaderNodeBsdfTransparent", (0, -480), label="Edge")
        mix = new(tree, "ShaderNodeMixShader", (200, -300), label="Edge")
        tree.links.new(weight.outputs["Fac"], mix.inputs[0])
        tree.links.new(clear.outputs[0], mix.inputs[1])
        tree.links.new(emission.outputs[0], mix.inputs[2])
        tree.links.new(mix.outputs[0], output.inputs["Surface"])


def _mesh(photo: photos.PhotoMesh) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(MESH_NAME)
    mesh.vertices.add(len(photo.vertices))
    mesh.vertices.foreach_set("co", _local(photo.vertices).ravel())
    count = len(photo.faces)
    mesh.loops.add(4 * count)
    mesh.loops.foreach_set("vertex_index", photo.faces.astype(np.int32).ravel())
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 4 * count, 4, dtype=np.int32))
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", photo.uv[photo.faces.ravel()].astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.materials.append(_material(photo))
    return mesh


def _local(points: np.ndarray) -> np.ndarray:
    """(N, 3) float32: model space in the mesh object's own axes."""
    return space.to_blender(points - np.array([0, 0, SETBACK])).astype(np.float32)


def _material(photo: photos.PhotoMesh) -> bpy.types.Material:
    image = materials.load_image(photo.texture)
    image.alpha_mode = "CHANNEL_PACKED"
    material, colour = materials.emitter(MESH_NAME)
    tree: Any = material.node_tree
    # Closest for the reason given in `materials._build`.
    texture = new(tree, "ShaderNodeTexImage", (-300, 0), image=image, extension="EXTEND", interpolation="Closest")
    clear = new(tree, "ShaderNodeBsdfTransparent", (0, -300))
    mix = new(tree, "ShaderNodeMixShader", (400, 0))
    tree.links.new(texture.outputs["Color"], colour)
    tree.links.new(texture.outputs["Alpha"], mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(tree.nodes["Emission"].outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], tree.nodes["Output"].inputs["Surface"])
    return material


def _keys(item: bpy.types.Object, photo: photos.PhotoMesh, head: Head) -> None:
    """Shape keys where the face's expressions pull the photo along, each driven by the face's own."""
    item.shape_key_add(name="Basis", from_mix=False)
    for name, offset in zip(photo.names, photo.offsets, strict=True):
        if name not in head.keys.key_blocks:
            continue
        key = item.shape_key_add(name=name, from_mix=False)
        key.value = 0.0
        key.data.foreach_set("co", _local(photo.vertices + offset).ravel())
        driver = key.driver_add("value").driver
        driver.type = "SUM"
        variable = driver.variables.new()
        variable.targets[0].id_type = "KEY"
        variable.targets[0].id = head.keys
        variable.targets[0].data_path = f'key_blocks["{name}"].value'


def _hold(item: bpy.types.Object, head: Head, rest: np.ndarray) -> None:
    """Let shoulders stay behind in the pose `rest` (6,), and the neck stretch between."""
    still = bpy.data.objects.new(STILL_NAME, None)
    still.empty_display_type, still.empty_display_size = "CIRCLE", 0.12
    still.rotation_mode = space.ROTATION_MODE
    euler, location = space.pose_to_channels(np.asarray(rest)[None], head.origin)
    still.rotation_euler, still.location = euler[0].tolist(), location[0].tolist()
    bpy.context.scene.collection.objects.link(still)
    hook = item.modifiers.new(STILL_NAME, "HOOK")
    hook.object, hook.vertex_group, hook.falloff_type = still, STILL_GROUP, "NONE"
    # A vertex of weight 1 is placed by the still empty alone, from where the mesh's origin is in the head.
    hook.matrix_inverse = Matrix.Translation(space.to_blender(np.array([0, 0, SETBACK])).tolist())
