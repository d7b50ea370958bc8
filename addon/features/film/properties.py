"""What the section Film remembers, with the scene."""

# Blender's type stubs have no place for properties that are declared as annotations.
# pyright: reportInvalidTypeForm=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy


class PARLEY_PG_film(bpy.types.PropertyGroup):
    """Settings of the section Film, kept with the scene"""

    target: bpy.props.StringProperty(
        name="Clip or Photo", subtype="FILE_PATH",
        description="Who speaks: a clip or a photo of somebody who agreed; empty for the built-in head")
    output: bpy.props.StringProperty(
        name="Film", subtype="FILE_PATH", default="//parley_film.mp4", description="The film (.mp4)")
    preview: bpy.props.BoolProperty(
        name="Preview", description="A small film of 256 pixels without the refining network, beside the real one's "
                                    "name, to judge the motion by")
    size: bpy.props.IntProperty(
        name="Size", default=512, min=64, max=4096, subtype="PIXEL", description="Side of the rendered square")
    engine: bpy.props.EnumProperty(
        name="Renderer", default="eevee", description="What draws the head",
        items=(("eevee", "EEVEE", "Light and materials"), ("workbench", "Workbench", "Works without a GPU driver")))
    refine: bpy.props.BoolProperty(
        name="Refine", default=True, description="Fit a network to the clip that makes the face look like the clip's")
    refine_minutes: bpy.props.FloatProperty(
        name="Minutes", default=4.0, min=0.1, soft_max=60.0, description="Time for fitting the refiner")
    scene: bpy.props.BoolProperty(
        name="Save Scene", default=True, description="Also save an editable .blend beside the film")
    overwrite: bpy.props.BoolProperty(
        name="Replace", description="Replace a film of that name which another take, or another program, made")


def register() -> None:
    """Give every scene its settings."""
    bpy.types.Scene.parley_film = bpy.props.PointerProperty(type=PARLEY_PG_film)


def unregister() -> None:
    """Take them away."""
    del bpy.types.Scene.parley_film
