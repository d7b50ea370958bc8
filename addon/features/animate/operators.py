"""*Animate*, the step that writes its keys, and *Cancel*."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportInvalidTypeForm=false

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import bpy

from ...bl import compat, heads, instant, layers, live, sound, speech, worker
from ...core import performance as performances
from ...core.errors import ParleyError, UserInputError
from ...core.instant.options import only_backend
from ...core.jobs import Job
from ...core.timing import FrameClock
from ...core.worker_options import LIVE, existing, performance_options
from ...ui.operator_base import ParleyOperator

TITLE = "Animate"
NOWHERE = -1048574
"""Blender's least frame: no window."""


def person(scene: bpy.types.Scene) -> Path | None:
    """The clip whose manner is learned, None for nobody's; raises `UserInputError` if it is missing."""
    path = scene.parley_performance.person
    return existing(bpy.path.abspath(path), "person's clip") if path else None


def engine(scene: bpy.types.Scene) -> str:
    """"INSTANT" or "BACKEND": which one the scene's choice comes to."""
    choice = scene.parley_performance.engine
    if choice != "AUTO":
        return choice
    return "INSTANT" if worker.interpreter() is None else "BACKEND"


class PARLEY_OT_animate(ParleyOperator, bpy.types.Operator):
    """Turn the speech into motion and key the head with it; Blender stays usable meanwhile"""

    bl_idname = "parley.animate"
    bl_label = "Animate"
    wait: bpy.props.BoolProperty(
        name="Wait", options={"SKIP_SAVE"}, description="Return when the keys are written; for scripts")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No head, no speech, no engine that can do it, another job."""
        try:
            if not heads.mapped_meshes(context):
                layers.check(heads.current(context))
            speech.chosen(context.scene)
            options = performance_options(context.scene.parley_performance, person(context.scene))
        except ParleyError as error:
            return str(error)
        if engine(context.scene) == "INSTANT":
            return only_backend(options) or worker.busy_reason()
        return worker.disabled_reason()

    def perform(self, context: bpy.types.Context) -> str:
        """Start the job; its end calls `PARLEY_OT_apply_performance`."""
        scene, meshes = context.scene, heads.mapped_meshes(context)
        head = "" if meshes else heads.current(context).empty.name
        folder = worker.job_folder()
        spoken = speech.chosen(scene, folder)
        made = folder / "performance.npz"
        options = performance_options(scene.parley_performance, person(scene))
        if scene.parley_retarget.live if meshes else scene.parley_performance.live:
            options |= LIVE
        options |= {"out": str(made), "keep": str(folder / "take"), "overwrite": True}
        if spoken.path is not None:
            options["speech"] = str(spoken.path)
        if scene.parley_speech.text.strip():
            options["text"] = scene.parley_speech.text.strip()
        began, name = time.monotonic(), scene.name
        where: dict[str, Any] = {"filepath": str(made), "start": spoken.start, "take": spoken.take}
        if spoken.window is not None:
            where |= {"first": spoken.window[0], "last": spoken.window[1]}

        def finish(job: Job) -> str:
            result = job.result or {}
            said = str(result.get("speech", ""))
            if meshes:
                _apply_to_meshes(name, meshes, said, where)
            else:
                bpy.ops.parley.apply_performance("EXEC_DEFAULT", True, scene=name, head=head,
                                                 speech=said, **where)
            return _summary(result, time.monotonic() - began)

        if engine(scene) == "INSTANT":
            instant.start(options, TITLE, finish)
        else:
            worker.start("animate", options, TITLE, finish)
        if self.wait or bpy.app.background:
            worker.wait()
            if worker.outcome().error:
                raise UserInputError(worker.outcome().error)
            return worker.outcome().text
        return "Animating; the sidebar shows how far it is."


def _apply_to_meshes(name: str, meshes: list[str], path: str, where: dict[str, Any]) -> None:
    """Have the section Retarget key the meshes that were selected when the job began."""
    scene = bpy.data.scenes.get(name)
    items = [bpy.data.objects[mesh] for mesh in meshes if mesh in bpy.data.objects]
    if scene is None or not items:
        raise UserInputError(f"{', '.join(meshes)} was deleted meanwhile. The motion is kept in "
                             f"{_rescued(Path(where['filepath']))}.")
    worker.outcome().notes += _add_sound(scene, path, where["start"])
    scene.parley_performance.last = where["filepath"]
    with bpy.context.temp_override(scene=scene, selected_objects=items, object=items[0], active_object=items[0]):
        bpy.ops.parley.retarget_apply("EXEC_DEFAULT", True, **where)


def _summary(result: dict, seconds: float) -> str:
    return (f"Keyed {result.get('seconds', 0):.1f} s of speech in {seconds:.1f} s: mean jaw opening "
            f"{result.get('jaw_mean', 0):.2f}, {result.get('blinks_per_minute', 0):.0f} blinks a minute, head motion "
            f"{result.get('head_degrees', 0):.1f}°.")


class PARLEY_OT_apply_performance(ParleyOperator, bpy.types.Operator):
    """Write a performance as Parley's own layers onto a head: one step to undo, the artist's keys stay"""

    bl_idname = "parley.apply_performance"
    bl_label = "Animate with Parley"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012 - Blender reads a plain class attribute
    filepath: bpy.props.StringProperty(options={"HIDDEN"})
    speech: bpy.props.StringProperty(options={"HIDDEN"})
    scene: bpy.props.StringProperty(options={"HIDDEN"})
    head: bpy.props.StringProperty(options={"HIDDEN"})
    take: bpy.props.StringProperty(options={"HIDDEN"})
    start: bpy.props.FloatProperty(options={"HIDDEN"})
    first: bpy.props.IntProperty(options={"HIDDEN"}, default=NOWHERE)
    last: bpy.props.IntProperty(options={"HIDDEN"}, default=NOWHERE)

    def perform(self, context: bpy.types.Context) -> str:
        """Key the head at the scene's own rate; put the sound on the sequencer if that is wanted."""
        scene = bpy.data.scenes.get(self.scene)
        try:
            head = heads.named(self.head)
            if scene is None:
                raise UserInputError(f"The scene {self.scene} was deleted meanwhile.")
        except UserInputError as error:
            raise UserInputError(f"{error} The motion is kept in {_rescued(Path(self.filepath))}; Load Performance "
                                 "puts it onto another head.") from error
        act = performances.load(self.filepath)
        clock = FrameClock(scene.render.fps, scene.render.fps_base, self.start)
        window = None if self.first == NOWHERE else (self.first, self.last)
        written = layers.write(head, act, clock, self.take, window, scene.parley_performance.live)
        scene.frame_end = max(scene.frame_end, int(written.frames[-1]))
        scene.parley_performance.last = self.filepath
        notes = worker.outcome().notes
        notes += [note for note in (*written.notes, *_add_sound(scene, self.speech, self.start)) if note not in notes]
        return f"Keyed {len(written.frames)} frames of {head.empty.name}."


def _add_sound(scene: bpy.types.Scene, path: str, start: float) -> list[str]:
    """Put the sound on the sequencer, or move the strip that Parley made of it before; returns notes."""
    settings = scene.parley_speech
    if settings.source == "STRIP" or not settings.add_sound or not path or not sound.possible():
        return []
    # By name: the path of a packed sound is no longer the file's.
    same = [strip for strip in compat.all_sound_strips(scene)
            if strip.sound is not None and Path(strip.sound.filepath.lstrip("/")).name == Path(path).name]
    if any(round(compat.strip_frames(strip)[0]) == round(start) for strip in same):
        return []
    try:
        for strip in same:
            if strip.name.startswith(sound.STRIP_NAME):
                compat.move_strip(strip, round(start))
                return []
        sound.add(scene, Path(path), round(start))
    except (ParleyError, OSError) as error:
        return [f"The keys are written, but the sound is not on the sequencer: {error}"]
    return []


def _rescued(path: Path) -> Path:
    """A copy of the performance where the next job does not remove it."""
    kept = worker.data_folder() / "performances" / time.strftime("%Y-%m-%d_%H-%M-%S.npz")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
    except OSError:
        return path
    return kept


class PARLEY_OT_make_amounts_live(ParleyOperator, bpy.types.Operator):
    """Put the head's sliders and place under drivers that multiply in the amounts; what is seen stays as it is"""

    bl_idname = "parley.make_amounts_live"
    bl_label = "Make Amounts Live"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No head, or it is live."""
        try:
            return "The amounts are live." if live.is_live(heads.current(context)) else None
        except UserInputError as error:
            return str(error)

    def perform(self, context: bpy.types.Context) -> str:
        """Change the strips and add the drivers."""
        notes = layers.switch(heads.current(context), True)
        context.scene.parley_performance.live = True
        return " ".join(["The amounts are live.", *notes])


class PARLEY_OT_free_sliders(ParleyOperator, bpy.types.Operator):
    """Multiply the amounts into Parley's keys and remove the drivers, so that the sliders can be keyed by hand"""

    bl_idname = "parley.free_sliders"
    bl_label = "Free Sliders"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain class attribute

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No head, or it is free."""
        try:
            return None if live.is_live(heads.current(context)) else "The sliders are free."
        except UserInputError as error:
            return str(error)

    def perform(self, context: bpy.types.Context) -> str:
        """Change the strips back and remove the drivers."""
        head = heads.current(context)
        layers.switch(head, False)
        context.scene.parley_performance.live = False
        return f"The sliders of {head.mesh.name} are free; the amounts are in Parley's keys."


class PARLEY_OT_cancel(ParleyOperator, bpy.types.Operator):
    """Stop the backend's job; the scene stays as it is"""

    bl_idname = "parley.cancel"
    bl_label = "Cancel"

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Nothing runs."""
        return None if worker.runner().busy else "Nothing is running."

    def perform(self, context: bpy.types.Context) -> str:
        """Ask it to stop; within a second it is made to."""
        title = worker.runner().job.title
        worker.cancel()
        return f"Stopping {title}."
