"""glTF, FBX and USD by Blender's own exporters, of a baked copy: shape keys and head motion as they are seen.

The scene is not changed: copies are made, keyed on every frame, exported alone and removed.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# The stubs take operators for plain functions and vectors for no sequences.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core.errors import UserInputError
from . import compat, keyframes, materials, rig, studio
from .sampling import Samples, blocks

SUFFIXES = {"GLTF": ".glb", "FBX": ".fbx", "USD": ".usdc", "CSV": ".csv", "NPZ": ".npz"}
_NAMES = {"GLTF": ("export_scene", "gltf", "glTF 2.0"), "FBX": ("export_scene", "fbx", "FBX"),
          "USD": ("wm", "usd_export", "USD")}


def missing(kind: str) -> str | None:
    """Why this Blender can't export `kind`, in a sentence; None if it can."""
    if kind not in _NAMES:
        return None
    group, name, title = _NAMES[kind]
    if name in dir(getattr(bpy.ops, group)):
        return None
    if kind == "USD":
        return "This Blender was built without USD; choose glTF or FBX."
    return f"Blender's {title} exporter is switched off; tick \"{title} format\" in Preferences › Add-ons."


def members(head: rig.Head) -> list[Any]:
    """The visible meshes of a head: face, hair, lashes."""
    return [head.mesh, *(item for item in head.empty.children
                         if item.type == "MESH" and item != head.mesh and not item.hide_render)]


def write(scene: bpy.types.Scene, kind: str, path: Path, samples: Samples, carrier: Any | None) -> None:
    """Export the objects of `samples` as `kind` ("GLTF", "FBX", "USD") to `path`.

    Parameters
    ----------
    carrier : the empty that all of them hang on, as a Parley head's do; None = each moves by itself

    Raises
    ------
    UserInputError
        If the exporter is switched off or fails.
    """
    reason = missing(kind)
    if reason is not None:
        raise UserInputError(reason)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(scene, samples) as made:
        roots = {} if carrier is None else {carrier: _place(scene, _named(carrier), None, samples.matrices[carrier],
                                                            samples.frames, made)}
        for item in samples.weights:
            if item != carrier:
                _copy(scene, item, samples, carrier, roots, made)
        bpy.context.view_layer.update()
        try:
            _EXPORT[kind](str(path))
        except RuntimeError as error:
            raise UserInputError(f"Blender could not export {path.name}: {error}") from error
    if not path.is_file():
        raise UserInputError(f"Blender's exporter wrote no {path.name}; its message is in the console.")


@contextmanager
def _alone(scene: bpy.types.Scene, samples: Samples) -> Iterator[list[Any]]:
    """Everything else unselected and the scene's range that of the samples; on leaving all is as before."""
    layer = bpy.context.view_layer
    selected, active = [item for item in scene.objects if item.select_get(view_layer=layer)], layer.objects.active
    mode = active.mode if active is not None else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    before, frame = (scene.frame_start, scene.frame_end), scene.frame_current
    made: list[Any] = []
    # The copies bear the originals' names into the file.
    names = [(block, block.name) for item in samples.matrices for block in (item, item.data) if block is not None]
    try:
        for block, name in names:
            block.name = f"{name[:50]} original"
        for item in selected:
            item.select_set(False)
        scene.frame_start, scene.frame_end = int(samples.frames[0]), int(samples.frames[-1])
        yield made
    finally:
        for item in reversed(made):
            _forget(item)
        for block, name in names:
            block.name = name
        scene.frame_start, scene.frame_end = before
        scene.frame_set(frame)
        for item in selected:
            item.select_set(True)
        layer.objects.active = active
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)


def _forget(item: Any) -> None:
    """Remove a copy with its data, its actions and its plain materials."""
    data = item.data
    owners = [item, getattr(data, "shape_keys", None)]
    played = [owner.animation_data for owner in owners if owner is not None]
    actions = [animated.action for animated in played if animated is not None]
    plain = [material for material in getattr(data, "materials", ()) if material is not None and _PLAIN in material]
    bpy.data.objects.remove(item)
    if data is not None:
        bpy.data.meshes.remove(data)
    for action in actions:
        if action is not None and action.users == 0:
            bpy.data.actions.remove(action)
    for material in plain:
        if material.users == 0:
            bpy.data.materials.remove(material)


def _copy(scene: bpy.types.Scene, item: Any, samples: Samples, carrier: Any | None, roots: dict[Any, Any],
          made: list[Any]) -> None:
    """A copy of the mesh object `item` with a key for every sample, hung on the carrier's copy."""
    root = roots.get(carrier)
    matrices = samples.matrices[item]
    if root is not None:
        matrices = np.linalg.inv(samples.matrices[carrier]) @ matrices
    data = item.data.copy()
    data.name = _named(item.data)
    copy = _place(scene, _named(item), data, matrices, samples.frames, made)
    copy.parent = root
    _plain(copy.data)
    keys = copy.data.shape_keys
    if keys is None:
        return
    keys.animation_data_clear()
    compat.assign_action(keys, f"{copy.name} Shapes")
    for column, block in enumerate(blocks(copy)):
        block.mute = False
        values = samples.weights[item][:, column]
        keyframes.write_curve(keys, f'key_blocks["{bpy.utils.escape_identifier(block.name)}"].value', 0, "Shapes",
                              samples.frames, values)


def _named(block: Any) -> str:
    return block.name.removesuffix(" original")


def _place(scene: bpy.types.Scene, name: str, data: Any, matrices: np.ndarray, frames: np.ndarray,
           made: list[Any]) -> Any:
    """A selected object at `matrices` (N, 4, 4), keyed where they change."""
    item = bpy.data.objects.new(name, data)
    made.append(item)
    scene.collection.objects.link(item)
    item.select_set(True)
    item.rotation_mode = "QUATERNION"
    item.matrix_basis = Matrix(matrices[0].tolist())
    if np.ptp(matrices, axis=0).max() < 1e-6:
        return item
    parts = [Matrix(matrix).decompose() for matrix in matrices.tolist()]
    turns = np.array([tuple(part[1]) for part in parts])
    sign = np.cumprod(np.where((turns[1:] * turns[:-1]).sum(1) < 0, -1, 1))
    turns[1:] *= sign[:, None]
    compat.assign_action(item, f"{name} Motion")
    for channel, values in (("location", np.array([tuple(part[0]) for part in parts])), ("rotation_quaternion", turns)):
        for axis in range(values.shape[1]):
            keyframes.write_curve(item, channel, axis, "Motion", frames, values[:, axis])
    return item


_PLAIN, _OURS = "parley_plain", "Parley "


def _plain(mesh: bpy.types.Mesh) -> None:
    """Give a copy materials that other programs understand, in place of Parley's own light."""
    if not any(slot is not None and slot.name.startswith(_OURS) for slot in mesh.materials):
        return
    for index, old in enumerate(mesh.materials):
        if old is None:
            continue
        new = bpy.data.materials.new(old.name)
        new[_PLAIN] = True
        compat.use_nodes(new)
        tree = new.node_tree
        shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
        shader.inputs["Roughness"].default_value = 0.55
        source = _colour(tree, old, mesh)
        if source is not None:
            tree.links.new(source, shader.inputs["Base Color"])
        else:
            shader.inputs["Base Color"].default_value = old.diffuse_color
        mesh.materials[index] = new


def _colour(tree: Any, old: Any, mesh: bpy.types.Mesh) -> Any | None:
    """The output socket with the surface's colour: somebody's texture, else the colours of the vertices."""
    images = [node.image for node in (old.node_tree.nodes if old.node_tree is not None else ())
              if node.type == "TEX_IMAGE" and node.image is not None]
    if images and studio.GLOSS not in mesh.attributes and materials.kind_of(old.name.removeprefix(_OURS)) == "skin":
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = images[0]
        return node.outputs["Color"]
    if rig.ALBEDO in mesh.attributes:
        node = tree.nodes.new("ShaderNodeVertexColor")
        node.layer_name = rig.ALBEDO
        return node.outputs["Color"]
    return None


def _gltf(path: str) -> None:
    kinds = bpy.ops.export_scene.gltf.get_rna_type().properties
    wanted: dict[str, Any] = {"export_format": "GLB", "use_selection": True, "export_animations": True,
              "export_animation_mode": "ACTIVE_ACTIONS", "export_force_sampling": True, "export_frame_range": True,
              "export_morph": True, "export_morph_animation": True, "export_morph_normal": False,
              "export_optimize_animation_size": False, "export_apply": False, "export_skins": False}
    bpy.ops.export_scene.gltf(filepath=path, **{name: value for name, value in wanted.items() if name in kinds})


def _fbx(path: str) -> None:
    bpy.ops.export_scene.fbx(
        filepath=path, use_selection=True, object_types={"MESH", "EMPTY"}, use_mesh_modifiers=False, bake_anim=True,
        bake_anim_use_nla_strips=False, bake_anim_use_all_actions=False, bake_anim_force_startend_keying=True,
        bake_anim_simplify_factor=0.0, add_leaf_bones=False, path_mode="COPY", embed_textures=True)


def _usd(path: str) -> None:
    kinds = bpy.ops.wm.usd_export.get_rna_type().properties
    wanted: dict[str, Any] = {"selected_objects_only": True, "export_animation": True, "export_shapekeys": True,
              "export_materials": True, "export_mesh_colors": True, "export_hair": False}
    bpy.ops.wm.usd_export(filepath=path, **{name: value for name, value in wanted.items() if name in kinds})


_EXPORT: dict[str, Callable[[str], None]] = {"GLTF": _gltf, "FBX": _fbx, "USD": _usd}
