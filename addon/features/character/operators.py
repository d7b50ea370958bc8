"""Operators that put a character and its performance into the scene."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import bpy
from bpy_extras.io_utils import ImportHelper

from ...bl import heads, layers, render, rig
from ...core import character, face_model, look, people, performance, stored_models
from ...core.errors import UserInputError
from ...core.npz import schema_of
from ...core.timing import FrameClock
from ...ui.operator_base import ParleyOperator
from .properties import settings


def embedded_head() -> Path:
    """The built-in head: in the extension's folder, or beside it in the source tree."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "assets" / "parley_head.npz"
    return inside if inside.is_file() else package.parent / "blender_assets" / "head" / "parley_head.npz"


def chosen_model(context: bpy.types.Context, name: str) -> Path:
    """File of the face model `name`, "" = the panel's choice; raises `UserInputError` if it is not there any more."""
    name = name or settings(context).face_model
    if not name:
        raise UserInputError(f"The chosen face model is no longer in {stored_models.folder()}; choose another one.")
    return embedded_head() if name == stored_models.BUILT_IN else stored_models.find(name)


class PARLEY_OT_add_head(ParleyOperator, bpy.types.Operator):
    """Add the mean head of the chosen face model: a face with ARKit's 52 shape keys"""

    bl_idname = "parley.add_head"
    bl_label = "Add Parley Head"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    face_model: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Face Model", description="parley, or one that parley face add made; empty for the panel's choice")

    def perform(self, context: bpy.types.Context) -> str:
        """Build the head at the world's origin and select it."""
        path = chosen_model(context, self.face_model)
        model = face_model.load(path)
        return add(context, model, character.average(model), None, path)


class PARLEY_OT_add_person(ParleyOperator, bpy.types.Operator):
    """Add somebody who does not exist, by the chosen face model's statistics of people"""

    bl_idname = "parley.add_person"
    bl_label = "Add Random Person"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    seed: bpy.props.IntProperty(  # type: ignore[valid-type]
        name="Seed", default=0, min=0, description="Another number, another person; the same, the same")
    face_model: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Face Model", description="parley, or one that parley face add made; empty for the panel's choice")

    def perform(self, context: bpy.types.Context) -> str:
        """Build the person's head at the world's origin and select it."""
        path = chosen_model(context, self.face_model)
        model = face_model.load(path)
        wig = look.beside(path, model).wig
        return add(context, model, people.person(model, path, self.seed, wig.names if wig else ()), None, path)


class PARLEY_OT_import_head(ParleyOperator, bpy.types.Operator, ImportHelper):
    """Add the head of a character file, or the mean head of a face model file"""

    bl_idname = "parley.import_head"
    bl_label = "Add Head from File…"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filename_ext = ".npz"
    filter_glob: bpy.props.StringProperty(default="*.npz", options={"HIDDEN"})  # type: ignore[valid-type]
    face_model_path: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Face Model", subtype="FILE_PATH",
        description="The face model that the character was made with; empty for the built-in head")

    def perform(self, context: bpy.types.Context) -> str:
        """Build the head at the world's origin and select it."""
        path = Path(bpy.path.abspath(self.filepath))
        if schema_of(path) == face_model.SCHEMA:
            model = face_model.load(path)
            return add(context, model, character.average(model), None, path)
        person = character.load(path)
        model_path = Path(bpy.path.abspath(self.face_model_path) or embedded_head())
        return add(context, face_model.load(model_path), person, person.texture(path.parent), model_path)


def add(context: bpy.types.Context, model: face_model.FaceModel, person: character.Character,
        texture: Path | None, model_path: Path) -> str:
    """Build a head, select it, let the view transform pass its colours through; returns the line to report.

    One with a texture of its own is somebody's and shows that alone; any other gets the look beside its model.
    """
    worn = look.beside(model_path, model) if texture is None else None
    head = rig.build(model, person, texture, person.pose_mean, worn)
    render.pass_values_through(context.scene)
    for item in context.selected_objects:
        item.select_set(False)
    head.mesh.select_set(True)
    context.view_layer.objects.active = head.mesh
    return f"Added a head with {len(model.names)} shape keys."


class PARLEY_OT_load_performance(ParleyOperator, bpy.types.Operator, ImportHelper):
    """Key the Parley head with a performance file, from the scene's start frame, beside the artist's own keys"""

    bl_idname = "parley.load_performance"
    bl_label = "Load Performance"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filename_ext = ".npz"
    filter_glob: bpy.props.StringProperty(default="*.npz", options={"HIDDEN"})  # type: ignore[valid-type]

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No head, or several and none selected."""
        try:
            heads.current(context)
        except UserInputError as error:
            return str(error)
        return None

    def perform(self, context: bpy.types.Context) -> str:
        """Write the keys at the scene's own rate."""
        scene = context.scene
        head = heads.current(context)
        path = bpy.path.abspath(self.filepath)
        act = performance.load(path)
        clock = FrameClock(scene.render.fps, scene.render.fps_base, scene.frame_start)
        written = layers.write(head, act, clock, f"performance:{path}")
        scene.frame_end = max(scene.frame_end, int(written.frames[-1]))
        for note in written.notes:
            self.report({"WARNING"}, note)
        return f"Keyed {len(written.frames)} frames."
