"""Operators that put a character and its performance into the scene."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import shutil
import time
from pathlib import Path

import bpy
from bpy_extras.io_utils import ImportHelper

from ...bl import amounts, heads, layers, render, rig, worker
from ...core import character, face_model, look, people, performance, stored_models
from ...core.amounts import ALL
from ...core.errors import UserInputError
from ...core.jobs import Job
from ...core.npz import schema_of
from ...core.timing import FrameClock
from ...core.worker_options import existing
from ...ui.operator_base import ParleyOperator
from .properties import settings

FOOTAGE_TITLE = "Add Head from Footage"
FAR = 3.0
"""Metres from which a head is too small to be seen."""


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
    amounts.add(head.empty, ALL)
    render.pass_values_through(context.scene)
    for item in context.selected_objects:
        item.select_set(False)
    head.mesh.select_set(True)
    context.view_layer.objects.active = head.mesh
    _frame(context)
    return f"Added a head with {len(model.names)} shape keys."


def _frame(context: bpy.types.Context) -> None:
    """Bring the view to the head where it would be a speck: heads are life-size, Blender's first view is not."""
    if context.area is None or context.area.type != "VIEW_3D":
        return
    view = context.area.spaces.active.region_3d
    if view.view_perspective != "CAMERA" and view.view_distance > FAR:
        window = next((region for region in context.area.regions if region.type == "WINDOW"), None)
        if window is not None:
            with bpy.context.temp_override(area=context.area, region=window):
                bpy.ops.view3d.view_selected()


class PARLEY_OT_add_footage(ParleyOperator, bpy.types.Operator):
    """Have the backend rebuild the person of the clip or photo, and add their head; Blender stays usable meanwhile"""

    bl_idname = "parley.add_footage"
    bl_label = "Add Head from Footage"
    wait: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Wait", options={"SKIP_SAVE"}, description="Return when the head is there; for scripts")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No footage, no backend, another job."""
        try:
            existing(bpy.path.abspath(settings(context).footage), "clip or photo")
        except UserInputError as error:
            return str(error)
        return worker.disabled_reason()

    def perform(self, context: bpy.types.Context) -> str:
        """Start the job; its end adds the head to the scene that is open then."""
        footage = existing(bpy.path.abspath(settings(context).footage), "clip or photo")
        folder, scene = worker.job_folder(), context.scene.name
        options = {"target": str(footage), "out": str(folder / "character.npz"), "keep": str(folder / "take")}

        def finish(job: Job) -> str:
            kept = _kept(Path((job.result or {})["out"]), footage.stem)
            if scene not in bpy.data.scenes:
                raise UserInputError(f"The scene {scene} was deleted meanwhile; the person is kept as {kept}.")
            with bpy.context.temp_override(scene=bpy.data.scenes[scene]):
                bpy.ops.parley.import_head("EXEC_DEFAULT", True, filepath=str(kept))
            return f"Added the head of {footage.name}; its character is kept as {kept}."

        worker.start("character", options, FOOTAGE_TITLE, finish)
        if self.wait or bpy.app.background:
            worker.wait()
            if worker.outcome().error:
                raise UserInputError(worker.outcome().error)
            return worker.outcome().text
        return "Rebuilding; the sidebar shows how far it is."


def _kept(made: Path, name: str) -> Path:
    """The character with its texture in a folder of its own, where no job removes it; raises `UserInputError`."""
    folder = worker.data_folder() / "people" / f"{bpy.path.clean_name(name)}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (made, *made.parent.glob("*albedo*.png")):
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise UserInputError(f"The person can't be kept in {folder} ({error.strerror}); free some space.") from error
    return folder / made.name


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
        written = layers.write(head, act, clock, f"performance:{path}", live=scene.parley_performance.live)
        scene.frame_end = max(scene.frame_end, int(written.frames[-1]))
        for note in written.notes:
            self.report({"WARNING"}, note)
        return f"Keyed {len(written.frames)} frames."
