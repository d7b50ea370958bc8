"""The head in Blender: mesh, shape keys, vertex groups, attributes, and the empty that carries its pose."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core import hair as locks
from ..core import shading
from ..core.character import Character, match
from ..core.errors import ArtefactError, UserInputError
from ..core.face_model import FaceModel
from ..core.look import Look, hair_colour
from . import hair, living, materials, space, studio, tongue

MESH_NAME, EMPTY_NAME, NECK_NAME, MASK_NAME = "Parley Face", "Parley Head", "Parley Neck", "Parley Face Only"
ALBEDO, SHADE, FACE = "parley_albedo", "parley_shade", "parley_face"
MIDDLE = 0.012
"""Metres from the head's plane of symmetry within which the chin is looked for."""
ORIGIN_KEY, ROOT_GROUP = "parley_origin", "neck root"
FACE_EDGE = 0.02
"""Region weight at or below which a vertex is no part of the face that is drawn over a plate."""


@dataclass(frozen=True)
class Head:
    """The two objects of a head: `mesh` with the shape keys, parented to the `empty` that carries the pose."""

    mesh: Any
    empty: Any

    @property
    def keys(self) -> bpy.types.Key:
        """The mesh's shape keys."""
        return self.mesh.data.shape_keys

    @property
    def origin(self) -> np.ndarray:
        """(3,) float64, metres: the point of camera space that is the world's origin."""
        return np.array(self.empty[ORIGIN_KEY], np.float64)


def build(model: FaceModel, character: Character, texture: Path | None, rest: np.ndarray,
          look: Look | None = None) -> Head:
    """Add a head to the current scene.

    Parameters
    ----------
    model, character : the face model and the person; must have the same vertices, else `ArtefactError`
    texture : image file of the detailed albedo, or None to shade with the character's vertex colours
    rest : (6,) the head's mean pose (rad, m): its position becomes the world's origin, and the neck's root stays in it
    look : detail, studio shading and hair of a head that stands in for nobody; None = eq. C = t Σ γ_b Φ_b(n) alone,
        as heads over someone's film need it
    """
    match(character, model)
    mesh = _mesh(model, character.neutral_shape)
    shape = bpy.data.objects.new(MESH_NAME, mesh)
    empty = bpy.data.objects.new(EMPTY_NAME, None)
    empty.empty_display_type, empty.empty_display_size = "ARROWS", 0.05
    empty.rotation_mode = space.ROTATION_MODE
    empty[ORIGIN_KEY] = [float(value) for value in rest[3:]]
    empty["parley_rest"] = [float(value) for value in rest]
    shape.parent = empty
    for item in (empty, shape):
        bpy.context.scene.collection.objects.link(item)
    lives = texture is not None and character.lives
    _attributes(mesh, model, character, lives)
    if look is None:
        materials.add(mesh, model.materials, character.light, texture, living.group(character) if lives else None)
        tongue.light(mesh, model, character)
    else:
        _attribute(mesh, studio.GLOSS, "FLOAT", model.region("lips"))
        studio.add(mesh, model.materials, _setting(model, character, look))
    _shape_keys(shape, model, character.neutral_shape)
    _drive_opening(shape)
    tongue.add_path(shape, model, character.neutral_shape)
    if lives:
        living.drive(shape, empty, character)
    _vertex_groups(shape, model, character.neutral_shape)
    if look is not None and look.wig is not None:
        _hair(model, character, look.wig, shape)
    set_pose(head := Head(shape, empty), rest)
    _hold_neck(head, rest)
    return head


def _attributes(mesh: Any, model: FaceModel, character: Character, lives: bool) -> None:
    """What the materials read of each vertex; a texture that `lives` paints eyes and mouth too, shade included."""
    _attribute(mesh, ALBEDO, "FLOAT_COLOR", np.pad(character.low_albedo, ((0, 0), (0, 1)), constant_values=1))
    _attribute(mesh, SHADE, "FLOAT",
               np.ones(len(mesh.vertices)) if lives else inner_shade(model, character.neutral_shape))
    _attribute(mesh, FACE, "FLOAT", model.region("face"))
    mesh.color_attributes.active_color_name = ALBEDO


def _setting(model: FaceModel, character: Character, look: Look) -> studio.Setting:
    ball, shape = of_kind(model, "eye"), character.neutral_shape
    sides = [shape[ball & (side * shape[:, 0] > 0)] for side in (1, -1)]
    known = all(len(side) for side in sides)
    eyes = space.to_blender(np.stack([_centre(side) for side in sides])) if known else None
    radius = float(np.ptp(sides[0][:, 0])) / 2 if known else 0.0
    colour = hair_colour(model, character.low_albedo)
    return studio.Setting(character.light, look.detail, colour, eyes, radius, _chin(model, shape))


def _chin(model: FaceModel, shape: np.ndarray) -> tuple[float, float] | None:
    """Y and Z, in the mesh's own axes, of the chin's lowest point; None where the model has no neck to shade."""
    if not (model.region("neck") > 0).any():
        return None
    middle = of_kind(model, "skin") & (model.region("face") > 0.5) & (np.abs(shape[:, 0]) < MIDDLE)
    if not middle.any():
        return None
    point = space.to_blender(shape[middle][np.argmax(shape[middle][:, 1])][None])[0]
    return float(point[1]), float(point[2])


def _hair(model: FaceModel, character: Character, wig: locks.Wig, shape: Any) -> None:
    """The character's hairstyle and lashes, carried along by the difference of its head from the model's mean."""
    moved = character.neutral_shape - model.mean_shape
    colour, style = hair_colour(model, character.low_albedo), str(character.hair)
    if style in wig.names:
        hair.add(locks.ribbons(wig, style, moved), colour, character.light, shape.parent)
    if locks.LASHES in wig.styles_all:
        drawn = locks.ribbons(wig, locks.LASHES, moved)
        hair.add_lashes(drawn, locks.lash_keys(wig, drawn, model), colour, character.light, shape.parent,
                        shape.data.shape_keys)


def _centre(points: np.ndarray) -> np.ndarray:
    """(3,) middle of the box around `points` (N, 3)."""
    return (points.min(0) + points.max(0)) / 2


def set_pose(head: Head, pose: np.ndarray) -> None:
    """Put the head into `pose` (6,), rad and m, without a key."""
    euler, location = space.pose_to_channels(pose[None], head.origin)
    head.empty.rotation_euler, head.empty.location = euler[0].tolist(), location[0].tolist()


def find(item: bpy.types.Object | None) -> Head:
    """The head that `item` is the mesh or the empty of; raises `UserInputError` if it is neither."""
    empty = item.parent if item is not None and item.type == "MESH" else item
    if empty is not None and ORIGIN_KEY in empty:
        for child in empty.children:
            if child.type == "MESH" and child.data.shape_keys is not None and child not in hair.of(empty):
                return Head(child, empty)
    raise UserInputError("No Parley head is selected; select its mesh or its empty.")


def show_face_only(head: Head, on: bool) -> None:
    """Hide (or show again) everything outside the model's "face" region, by a Mask modifier, and all hair."""
    hair.show(head.empty, not on)
    old = head.mesh.modifiers.get(MASK_NAME)
    if old is not None:
        head.mesh.modifiers.remove(old)
    if on:
        mask = head.mesh.modifiers.new(MASK_NAME, "MASK")
        mask.vertex_group = "face"
        mask.threshold = FACE_EDGE


def draw_face(head: Head, weight: np.ndarray, shade: np.ndarray) -> None:
    """Let `weight` (V,) in [0, 1] say what is drawn of the face alone, and how far, in place of the model's region; the
    light on it is multiplied by `shade` (V,).

    Raises `ArtefactError` unless there is one for each vertex.
    """
    mesh = head.mesh.data
    if len(weight) != len(mesh.vertices):
        raise ArtefactError(f"The photo's mesh was made for a face of {len(weight)} vertices, and this one has "
                            f"{len(mesh.vertices)}; run the same command again.")
    mesh.attributes[FACE].data.foreach_set("value", np.asarray(weight, np.float32))
    arriving = np.empty(len(shade), np.float32)
    mesh.attributes[SHADE].data.foreach_get("value", arriving)
    mesh.attributes[SHADE].data.foreach_set("value", arriving * np.asarray(shade, np.float32))
    group = head.mesh.vertex_groups["face"]
    group.remove(list(range(len(weight))))
    steps = np.round(np.clip(weight, 0, 1) * 100).astype(int)
    for step in np.unique(steps[steps > 0]):
        group.add(np.flatnonzero(steps == step).tolist(), float(step) / 100, "REPLACE")


def of_kind(model: FaceModel, kind: str) -> np.ndarray:
    """(V,) bool: the vertices of faces whose material is of `kind`, see `materials.kind_of`."""
    chosen = [index for index, name in enumerate(model.materials) if materials.kind_of(name) == kind]
    faces = model.faces[np.isin(model.face_material, chosen)]
    found = np.zeros(len(model.mean_shape), bool)
    found[faces[faces >= 0]] = True
    return found


def inner_shade(model: FaceModel, shape: np.ndarray) -> np.ndarray:
    """(V,) float32 in [0, 1]: how much light reaches each vertex, 1 on the skin.

    The spherical-harmonics light knows no occlusion, so teeth, gums, tongue and mouth bag are darkened by their
    distance behind the lips and a little towards the gums, and eyeballs below the upper lid and in their corners.
    """
    shade = np.ones(len(shape), np.float32)
    inside, lips = of_kind(model, "mouth"), shape[model.region("lips") > 0.5]
    if len(lips) and inside.any():
        depth = shape[inside, 2] - lips[:, 2].min()
        below = shape[inside, 1] - lips[:, 1].mean()
        shade[inside] = np.clip(1.1 - depth / 0.045, 0.25, 1) * np.clip(1.05 - np.abs(below) / 0.035, 0.6, 1)
        # The lower teeth stand in the shadow of the upper ones and of the lip before them.
        shade[inside] *= 1 - 0.22 * np.clip(below / 0.004 + 0.5, 0, 1)
    eyes = of_kind(model, "eye")
    for side in (-1, 1):
        ball = eyes & (side * shape[:, 0] > 0)
        if ball.any():
            centre = (shape[ball].min(0) + shape[ball].max(0)) / 2
            offset = (shape[ball] - centre) / max(float(np.ptp(shape[ball][:, 0])) / 2, 1e-6)
            lid = np.clip((0.02 - offset[:, 1]) / 0.42, 0, 1) ** 2
            corner = np.clip((np.abs(offset[:, 0]) - 0.35) / 0.5, 0, 1)
            shade[ball] = (1 - 0.5 * lid) * (1 - 0.3 * corner)
    return shade


def _hold_neck(head: Head, rest: np.ndarray) -> None:
    """Let the root of the neck stay behind in the pose `rest` (6,) when the head moves; without one stay rigid."""
    if ROOT_GROUP not in head.mesh.vertex_groups:
        return
    neck = bpy.data.objects.new(NECK_NAME, None)
    neck.empty_display_type, neck.empty_display_size = "CIRCLE", 0.06
    neck.rotation_mode = space.ROTATION_MODE
    neck.rotation_euler, neck.location = head.empty.rotation_euler, head.empty.location
    bpy.context.scene.collection.objects.link(neck)
    hook = head.mesh.modifiers.new(NECK_NAME, "HOOK")
    hook.object, hook.vertex_group, hook.falloff_type = neck, ROOT_GROUP, "NONE"
    # With the identity here a vertex of weight 1 is placed by the neck's matrix alone, whatever the head does.
    hook.matrix_inverse = Matrix.Identity(4)


def _mesh(model: FaceModel, shape: np.ndarray) -> bpy.types.Mesh:
    """Vertices, quads and triangles, UVs, material indices; every array written at once."""
    sizes = np.where(model.faces[:, 3] >= 0, 4, 3).astype(np.int32)
    corners = model.faces[model.faces >= 0].astype(np.int32)
    mesh = bpy.data.meshes.new(MESH_NAME)
    mesh.vertices.add(len(shape))
    mesh.vertices.foreach_set("co", space.to_blender(shape).astype(np.float32).ravel())
    mesh.loops.add(len(corners))
    mesh.loops.foreach_set("vertex_index", corners)
    mesh.polygons.add(len(sizes))
    mesh.polygons.foreach_set("loop_start", np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32))
    mesh.polygons.foreach_set("material_index", model.face_material.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(sizes), bool))
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", model.uv[model.face_uvs[model.faces >= 0]].astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    return mesh


def _attribute(mesh: Any, name: str, kind: str, values: np.ndarray) -> None:
    attribute = mesh.attributes.new(name, kind, "POINT")
    attribute.data.foreach_set("color" if kind == "FLOAT_COLOR" else "value", values.astype(np.float32).ravel())


def _shape_keys(shape: bpy.types.Object, model: FaceModel, neutral: np.ndarray) -> None:
    shape.shape_key_add(name="Basis", from_mix=False)
    for name, offset in zip(model.names, model.expression_basis, strict=True):
        key = shape.shape_key_add(name=name, from_mix=False)
        key.value = 0.0  # Blender 5 adds keys at 1, older ones at 0
        key.data.foreach_set("co", space.to_blender(neutral + offset).astype(np.float32).ravel())
    shape.data.shape_keys.name = MESH_NAME


def _drive_opening(shape: bpy.types.Object) -> None:
    """Let the light inside the mouth follow the expressions that open it."""
    keys = shape.data.shape_keys
    shape[materials.OPENING] = 1.0
    names = [name for name in shading.OPENERS if name in keys.key_blocks]
    driver = shape.driver_add(f'["{materials.OPENING}"]').driver
    terms = [str(shading.CLOSED)]
    for index, name in enumerate(names):
        variable = driver.variables.new()
        variable.name = f"w{index}"
        variable.targets[0].id_type = "KEY"
        variable.targets[0].id = keys
        variable.targets[0].data_path = f'key_blocks["{name}"].value'
        terms.append(f"{shading.OPENERS[name]} * w{index}")
    # Only min, max and arithmetic: Blender works that out itself, also where Python in drivers is switched off.
    driver.expression = f"min(max({' + '.join(terms)}, {shading.CLOSED}), 1.0)"


def neck_root(model: FaceModel, shape: np.ndarray) -> np.ndarray:
    """(V,) float32 in [0, 1]: how much a vertex belongs to the still root of the neck, rising evenly down the neck."""
    neck = model.region("neck")
    inside = neck > 0
    height = shape[:, 1]
    top, root = height[inside].min(), height[inside].max()
    share = np.clip((height - top) / max(float(root - top), 1e-6), 0, 1)
    return np.where(inside, share * share * (3 - 2 * share), 0).astype(np.float32)


def _vertex_groups(shape: bpy.types.Object, model: FaceModel, neutral: np.ndarray) -> None:
    """A vertex group for each region, and one for the neck's root."""
    groups = {str(name): weights for name, weights in zip(model.region_names, model.regions, strict=True)}
    if "neck" in groups and (groups["neck"] > 0).any():
        groups[ROOT_GROUP] = neck_root(model, neutral)
    for name, weights in groups.items():
        group = shape.vertex_groups.new(name=name)
        # In steps of 1/255, so that a group takes at most 255 calls; there is no call for all weights at once.
        steps = np.round(np.clip(weights, 0, 1) * 255).astype(int)
        for step in np.unique(steps[steps > 0]):
            group.add(np.flatnonzero(steps == step).tolist(), float(step) / 255, "REPLACE")
