"""What the Character panel remembers: the face model to build heads of, and which random person."""

# Blender's type stubs have no place for properties that are declared as annotations.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import zlib

import bpy

from ...core import stored_models

_items: list[tuple[str, str, str, str, int]] = []
"""Blender keeps no reference to the strings of a list that is made anew: they must stay alive here."""


def face_models(self: object, context: bpy.types.Context | None) -> list[tuple[str, str, str, str, int]]:
    """The built-in head and the user's models; Blender asks again whenever it draws the list."""
    found = [(stored_models.BUILT_IN, "Parley", "The built-in head", "USER", 0)]
    # Numbers that follow from the names: a chosen model stays chosen when others are added.
    found += [(model.name, model.name, model.about, "MESH_DATA", 1 + zlib.crc32(model.name.encode()) % (2**31 - 2))
              for model in stored_models.stored() if model.name != stored_models.BUILT_IN]
    if found != _items:
        _items[:] = found
    return _items


class PARLEY_PG_character(bpy.types.PropertyGroup):
    """Settings of the Character panel, kept with the scene"""

    face_model: bpy.props.EnumProperty(
        name="Face Model", items=face_models,
        description="The built-in head, or a face model of yours, added with: parley face add NAME FILE")
    seed: bpy.props.IntProperty(
        name="Seed", default=0, min=0, description="Another number, another person; the same, the same")
    source: bpy.props.EnumProperty(
        name="Who", default="MODEL", description="Who speaks",
        items=(("MODEL", "Built-In Head", "The mean head of Parley's face model, or of one of yours", "USER", 0),
               ("RANDOM", "Random Person", "Somebody who does not exist", "COMMUNITY", 1),
               ("FOOTAGE", "Clip or Photo", "Somebody rebuilt from footage, by the backend", "FILE_MOVIE", 2),
               ("FILE", "Character File", "A character that a film's take or parley face random left", "FILE", 3),
               ("MESH", "My Own Mesh", "Any character with shape keys; see the section Retarget", "MESH_DATA", 4)))
    footage: bpy.props.StringProperty(
        name="Footage", subtype="FILE_PATH", description="Clip (5 to 12 s) or photo of somebody who agreed, looking "
                                                         "roughly into the camera")


def settings(context: bpy.types.Context) -> PARLEY_PG_character:
    """The scene's settings."""
    return context.scene.parley_character  # type: ignore[union-attr]


def register() -> None:
    """Give every scene its settings."""
    bpy.types.Scene.parley_character = bpy.props.PointerProperty(type=PARLEY_PG_character)  # type: ignore[attr-defined]


def unregister() -> None:
    """Take them away."""
    del bpy.types.Scene.parley_character  # type: ignore[attr-defined]
