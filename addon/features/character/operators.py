"""Operators that put a character and its performance into the scene."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import bpy
from bpy_extras.io_utils import ImportHelper

from ...bl import keyframes, render, rig
from ...core import character, face_model, performance
from ...core.npz import schema_of
from ...core.timing import FrameClock
from ...ui.operator_base import ParleyOperator


def embedded_head() -> Path:
    """The built-in head: in the extension's folder, or beside it in the source tree."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "assets" / "parley_head.npz"
    return inside if inside.is_file() else package.parent / "blender_assets" / "head" / "parley_head.npz"


class PARLEY_OT_add_head(ParleyOperator, bpy.types.Operator, ImportHelper):
    """Add the head of a character file, or the mean head of a face model file"""

    bl_idname = "parley.add_head"
    bl_label = "Add Parley Head"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filename_ext = ".npz"
    filter_glob: bpy.props.StringProperty(default="*.npz", options={"HIDDEN"})  # type: ignore[valid-type]
    face_model_path: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Face Model", subtype="FILE_PATH",
        description="The face model that the character was made with; empty for the built-in head")
    pass_values: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Raw View Transform", default=True,
        description="Set the scene's view transform to Raw, in which the head has the clip's own colours")

    def perform(self, context: bpy.types.Context) -> str:
        """Build the head at the world's origin and select it."""
        path = Path(bpy.path.abspath(self.filepath))
        if schema_of(path) == face_model.SCHEMA:
            model = face_model.load(path)
            person, texture = character.average(model), None
        else:
            person = character.load(path)
            model = face_model.load(bpy.path.abspath(self.face_model_path) or embedded_head())
            texture = person.texture(path.parent)
        head = rig.build(model, person, texture, person.pose_mean)
        if self.pass_values:
            render.pass_values_through(context.scene)
        for item in context.selected_objects:
            item.select_set(False)
        head.mesh.select_set(True)
        context.view_layer.objects.active = head.mesh
        return f"Added a head with {len(model.names)} shape keys."


class PARLEY_OT_load_performance(ParleyOperator, bpy.types.Operator, ImportHelper):
    """Key the selected Parley head with a performance file, from the scene's start frame"""

    bl_idname = "parley.load_performance"
    bl_label = "Load Performance"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filename_ext = ".npz"
    filter_glob: bpy.props.StringProperty(default="*.npz", options={"HIDDEN"})  # type: ignore[valid-type]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only with something selected; whether it is a head is said on pressing."""
        return context.object is not None

    def perform(self, context: bpy.types.Context) -> str:
        """Write the keys at the scene's own rate."""
        scene = context.scene
        head = rig.find(context.object)
        act = performance.load(bpy.path.abspath(self.filepath))
        clock = FrameClock(scene.render.fps, scene.render.fps_base, scene.frame_start)
        frames = keyframes.write(head, act, clock)
        scene.frame_end = max(scene.frame_end, int(frames[-1]))
        return f"Keyed {len(frames)} frames."
