"""Operators that map, solve, review and apply a motion onto somebody's own character."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportInvalidTypeForm=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ...bl import pose_targets, space, targets, worker
from ...core import (
    face_model,
    livelink,
    mapping,
    mapping_align,
    mapping_geometry,
    mapping_pose,
    mapping_text,
    performance,
)
from ...core.errors import ParleyError, UserInputError
from ...core.jobs import Job
from ...core.thread_job import Report
from ...core.timing import FrameClock
from ...ui.operator_base import ParleyOperator
from .properties import read, settings, store

_GEOMETRY = "geometry"
SOLVE_TITLE = "Solve from Geometry"

_UNSET = -1048574
"""A frame below every frame of Blender: nothing was given."""


class _OnMeshes:
    """For operators that need a selected mesh with shape keys."""

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Nothing selected, no shape keys, linked data."""
        try:
            targets.usable(context)
        except ParleyError as error:
            return str(error)
        return None


class PARLEY_OT_retarget_auto_map(_OnMeshes, ParleyOperator, bpy.types.Operator):
    """Find by their names which shape keys of the selected meshes follow which of the 52 shapes"""

    bl_idname = "parley.retarget_auto_map"
    bl_label = "Map by Name"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute

    def perform(self, context: bpy.types.Context) -> str:
        """Fill the list."""
        found = targets.selected(context)
        pairs = mapping.auto_map({target.item.name: target.names for target in found})
        store(settings(context), pairs)
        settings(context).residuals = ""
        return _mapped(pairs, found)


class PARLEY_OT_retarget_solve(_OnMeshes, ParleyOperator, bpy.types.Operator):
    """Find by how they move the face which combinations of shape keys show each of the 52 shapes; names don't matter"""

    bl_idname = "parley.retarget_solve"
    bl_label = SOLVE_TITLE
    face_model: bpy.props.StringProperty(
        name="Face Model", subtype="FILE_PATH", description="Face model with the 52 shapes; empty for the built-in")
    sparsity: bpy.props.FloatProperty(
        name="Sparsity", default=0.15, min=0.0, max=1.0, description="Larger: fewer keys for each shape (L1)")
    symmetry: bpy.props.FloatProperty(
        name="Symmetry", default=0.05, min=0.0, max=1.0, description="Larger: left and right keys used more alike")
    prior: bpy.props.FloatProperty(
        name="Likeness", default=0.5, min=0.0, max=2.0, description="Larger: rather the one key that moves alike")
    wait: bpy.props.BoolProperty(
        name="Wait", options={"SKIP_SAVE"}, description="Return when the list is filled; for scripts")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No mesh, or another job."""
        return super().disabled_reason(context) or worker.busy_reason()

    def perform(self, context: bpy.types.Context) -> str:
        """Read the meshes, solve in a thread; its end fills the list."""
        found = targets.selected(context)
        meshes, path, name = targets.raws(found), bpy.path.abspath(self.face_model), context.scene.name
        terms = mapping_geometry.Settings(l1=self.sparsity, symmetry=self.symmetry, prior=self.prior)

        def work(report: Report) -> dict[str, Any]:
            report("Reading the face model", 0, 1)
            ours = _our_shapes(path)
            shapes, keys = mapping_align.joined(meshes)
            return {"solution": mapping_geometry.solve(shapes, keys, ours, terms, report)}

        def finish(job: Job) -> str:
            said = _solved(name, (job.result or {})["solution"], [mesh.name for mesh in meshes])
            worker.remember(SOLVE_TITLE)
            return said

        worker.start_thread(work, SOLVE_TITLE, finish, [])
        if self.wait or bpy.app.background:
            worker.wait()
            if worker.outcome().error:
                raise UserInputError(worker.outcome().error)
            return worker.outcome().text
        return "Solving; the sidebar shows how far it is."


def _solved(name: str, solution: mapping_geometry.Solution, meshes: list[str]) -> str:
    """Fill the list of the scene `name`; returns the line to report."""
    scene = bpy.data.scenes.get(name)
    if scene is None:
        raise UserInputError(f"The scene {name} was deleted meanwhile.")
    if not solution.pairs:
        raise UserInputError("No shape key of the selected meshes moves like any of the 52 shapes; is the "
                             "character's face selected?")
    chosen = scene.parley_retarget
    store(chosen, solution.pairs)
    worst = sorted(solution.residual.items(), key=lambda item: -item[1])
    chosen.residuals = "\n".join(f"{shape}: {value:.0%}" for shape, value in worst)
    counted = [bpy.data.objects[mesh] for mesh in meshes if mesh in bpy.data.objects]
    said = _mapped(solution.pairs, targets.of(item for item in counted if item.data.shape_keys is not None))
    return f"{said} On average {solution.mean:.0%} of a shape's movement can't be shown."


class PARLEY_OT_retarget_apply(_OnMeshes, ParleyOperator, bpy.types.Operator):
    """Key the selected meshes, and the head and eye bones, with the chosen performance or recording"""

    bl_idname = "parley.retarget_apply"
    bl_label = "Apply"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filepath: bpy.props.StringProperty(
        name="Motion", subtype="FILE_PATH", options={"SKIP_SAVE"}, description="Instead of the panel's file")
    start: bpy.props.FloatProperty(
        default=_UNSET, options={"HIDDEN", "SKIP_SAVE"}, description="Instead of the scene's start frame")
    first: bpy.props.IntProperty(default=_UNSET, options={"HIDDEN", "SKIP_SAVE"}, description="First frame keyed")
    last: bpy.props.IntProperty(default=-_UNSET, options={"HIDDEN", "SKIP_SAVE"}, description="Last frame keyed")
    take: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"}, description="What tells it from other motion")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No rig, no mapping."""
        if not settings(context).pairs:
            return "Nothing is mapped yet; press Map by Name, Solve from Geometry or Load Preset."
        return super().disabled_reason(context)

    def perform(self, context: bpy.types.Context) -> str:
        """Write the keys at the scene's own rate, from its start frame."""
        path = self.filepath or settings(context).filepath
        if not path:
            raise UserInputError("No motion is chosen; choose a performance (.npz) or a recording (.csv) under Motion.")
        start = None if self.start == _UNSET else self.start
        return apply(context, Path(bpy.path.abspath(path)), start, (self.first, self.last), self.take)


class PARLEY_OT_import_live_link(_OnMeshes, ParleyOperator, bpy.types.Operator, ImportHelper):
    """Key the selected meshes with a recording of the app Live Link Face; maps them by name first if need be"""

    bl_idname = "parley.import_live_link"
    bl_label = "Import Live Link Face…"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filename_ext = ".csv"
    filter_glob: bpy.props.StringProperty(default="*.csv", options={"HIDDEN"})

    def perform(self, context: bpy.types.Context) -> str:
        """Map if need be, then apply."""
        chosen, found = settings(context), targets.selected(context)
        if not any(row.mesh == target.item.name for row in chosen.pairs for target in found):
            store(chosen, mapping.auto_map({target.item.name: target.names for target in found}))
        said = apply(context, Path(bpy.path.abspath(self.filepath)))
        chosen.filepath = self.filepath
        return said


class PARLEY_OT_retarget_save_preset(ParleyOperator, bpy.types.Operator, ExportHelper):
    """Save the list as a preset (JSON) for characters of the same kind"""

    bl_idname = "parley.retarget_save_preset"
    bl_label = "Save Preset…"
    filename_ext = ".json"
    filter_glob: bpy.props.StringProperty(default="*.json", options={"HIDDEN"})

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No mapping."""
        return None if settings(context).pairs else "Nothing is mapped yet, so there is nothing to save."

    def perform(self, context: bpy.types.Context) -> str:
        """Write the file."""
        path, pairs = Path(bpy.path.abspath(self.filepath)), read(settings(context))
        mapping_text.save_preset(path, path.stem, pairs)
        return f"Saved {len(pairs)} pairs as {path.name}."


class PARLEY_OT_retarget_load_preset(_OnMeshes, ParleyOperator, bpy.types.Operator, ImportHelper):
    """Load a preset (JSON) onto the selected meshes"""

    bl_idname = "parley.retarget_load_preset"
    bl_label = "Load Preset…"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute
    filename_ext = ".json"
    filter_glob: bpy.props.StringProperty(default="*.json", options={"HIDDEN"})

    def perform(self, context: bpy.types.Context) -> str:
        """Fill the list with what fits."""
        found = targets.selected(context)
        name, pairs = mapping_text.load_preset(bpy.path.abspath(self.filepath))
        pairs = mapping_text.fit_preset(pairs, {target.item.name: target.names for target in found})
        store(settings(context), pairs)
        settings(context).residuals = ""
        return f"Preset {name}: {_mapped(pairs, found)}"


def apply(context: bpy.types.Context, path: Path, start: float | None = None,
          window: tuple[int, int] = (_UNSET, -_UNSET), take: str = "") -> str:
    """Key what is selected and mapped with the motion at `path`; returns the line to report.

    It begins at scene frame `start` (None: the scene's first) and keys the frames of `window` alone; an earlier bake of
    the same `take` ("": the file's name) is replaced.
    """
    chosen, found, scene = settings(context), targets.selected(context), context.scene
    act = livelink.load(path, chosen.timecode_fps) if path.suffix.lower() == ".csv" else performance.load(path)
    clock = FrameClock(scene.render.fps, scene.render.fps_base, scene.frame_start if start is None else start)
    frames = clock.frames_until(float(act.times[-1]))
    frames = frames[(frames >= window[0]) & (frames <= window[1])]
    if not len(frames):
        raise UserInputError("None of the speech lies in the chosen range of frames; widen the range.")
    seconds = np.clip(clock.seconds(frames.astype(np.float64)), act.times[0], act.times[-1])
    act = performance.resample(act, seconds)
    pairs = _on(read(chosen), found)
    grams = {target.item.name: targets.gram(target) for target in found
             if any(pair.mesh == target.item.name and pair.origin == _GEOMETRY for pair in pairs)}
    options = mapping.Options(chosen.amount, chosen.smooth, grams)
    values = mapping.evaluate(pairs, act.expression, act.names, clock.rate, options)
    motions = _motions(chosen, act)
    shown = {(pair.mesh, pair.target): pair.sources for pair in pairs if pair.enabled} if chosen.live else None
    # The amounts are the active object's, where that is one of the meshes.
    found.sort(key=lambda target: target.item != context.object)
    written = targets.write(found, values, frames, take or path.name, shown)
    if motions:
        written.notes += pose_targets.write(chosen.head, motions, frames, take or path.name).notes
    scene.frame_end = max(scene.frame_end, int(frames[-1]))
    said = [f"Keyed {len(values)} shape keys over {len(frames)} frames.", *targets.notes(found), *written.notes]
    return " ".join(said)


def _on(pairs: list[mapping.Pair], found: list[targets.Target]) -> list[mapping.Pair]:
    """The pairs whose key is there; raises `UserInputError` if none is."""
    there = {(target.item.name, name) for target in found for name in target.names}
    kept = [pair for pair in pairs if (pair.mesh, pair.target) in there]
    if not kept:
        raise UserInputError("The mapping is of other meshes than those selected; select them or press Map by Name.")
    return kept


def _motions(chosen: Any, act: performance.Performance) -> dict[str, pose_targets.Motion]:
    """Bone → motion for the head ("" for an object) and the eyes; checked before anything is written."""
    if chosen.head is None:
        return {}
    how = mapping_pose.PoseSettings(tuple(chosen.head_amount), tuple(chosen.head_limit), chosen.head_shift,
                                    chosen.centred, chosen.forward, chosen.up)
    turns, shifts = mapping_pose.head_motion(act.pose, how)
    motions: dict[str, pose_targets.Motion] = {chosen.head_bone: (turns, shifts if chosen.head_shift else None)}
    for side, bone in (("Left", chosen.eye_left), ("Right", chosen.eye_right)):
        if bone:
            motions[bone] = (mapping_pose.eye_motion(act.expression, act.names, side, how), None)
    for bone in motions:
        pose_targets.check(chosen.head, bone)
    return motions


def _our_shapes(path: str) -> Any:
    """The 52 shapes of the face model at `path`, of the built-in head for ""."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "assets" / "parley_head.npz"
    built_in = inside if inside.is_file() else package.parent / "blender_assets" / "head" / "parley_head.npz"
    model = face_model.load(path or built_in)
    return mapping_geometry.head_shapes(space.to_blender(model.mean_shape), space.to_blender(model.expression_basis),
                                        model.names)


def _mapped(pairs: list[mapping.Pair], found: list[targets.Target]) -> str:
    """What was mapped, what should be looked at, and what is special about the meshes."""
    on = sum(pair.enabled for pair in pairs)
    unsure = sum(not pair.enabled or pair.confidence < 0.8 for pair in pairs)
    count = sum(len(target.names) for target in found)
    meshes = "mesh" if len(found) == 1 else "meshes"
    said = [f"Mapped {on} of {count} shape keys on {len(found)} {meshes}."]
    if unsure:
        said.append(f"{unsure} stand first in the list for you to check.")
    return " ".join([*said, *targets.notes(found)])
