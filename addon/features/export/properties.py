"""What the section Export remembers, with the scene."""

# Blender's type stubs have no place for properties that are declared as annotations.
# pyright: reportInvalidTypeForm=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy

FORMATS = (("GLTF", "glTF (.glb)", "Game engines and the web: mesh, shape keys, their animation, head motion"),
           ("FBX", "FBX (.fbx)", "Unreal, Unity, Maya: mesh, shape keys, their animation, head motion"),
           ("USD", "USD (.usdc)", "Film pipelines: mesh, blend shapes, their animation, head motion"),
           ("CSV", "Live Link Face (.csv)", "The 52 weights and the head's rotation, as the phone app records them"),
           ("NPZ", "Performance (.npz)", "The 52 weights and the head's pose alone, in Parley's own format"))


class PARLEY_PG_export(bpy.types.PropertyGroup):
    """Settings of the section Export, kept with the scene"""

    format: bpy.props.EnumProperty(
        name="Format", default="GLTF", description="What is written", items=FORMATS)
    span: bpy.props.EnumProperty(
        name="Frames", default="SPEECH", description="Which frames are written",
        items=(("SPEECH", "Performance", "From the first to the last frame that Parley keyed"),
               ("SCENE", "Scene", "The scene's own frame range")))


def register() -> None:
    """Give every scene its settings."""
    bpy.types.Scene.parley_export = bpy.props.PointerProperty(type=PARLEY_PG_export)


def unregister() -> None:
    """Take them away."""
    del bpy.types.Scene.parley_export
