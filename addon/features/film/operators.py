"""*Render Film*: the worker's ``talk`` with the settings of Speech, Performance and Film."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportInvalidTypeForm=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ...bl import speech, worker
from ...core.errors import ParleyError, UserInputError
from ...core.jobs import Job
from ...core.worker_options import existing, performance_options
from ...ui.operator_base import ParleyOperator

TITLE = "Render Film"
PREVIEW_SIZE = 256


def output(scene: bpy.types.Scene) -> Path:
    """Where the film goes; raises `UserInputError` if that can't be a film."""
    settings = scene.parley_film
    if settings.output.startswith("//") and not bpy.data.filepath:
        raise UserInputError("The film's place is relative to a file that is not saved; save it, or choose a folder.")
    path = Path(bpy.path.abspath(settings.output))
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        raise UserInputError(f"The film {path.name or '(no name)'} must end in .mp4.")
    return path.with_name(f"{path.stem}_preview{path.suffix}") if settings.preview else path


def target(scene: bpy.types.Scene) -> Path | None:
    """Clip or photo, None for the built-in head; raises `UserInputError` if it is missing."""
    path = scene.parley_film.target
    return existing(bpy.path.abspath(path), "clip or photo") if path else None


class PARLEY_OT_render_film(ParleyOperator, bpy.types.Operator):
    """Have the backend make a film of the speech with the clip's or photo's person; Blender stays usable meanwhile"""

    bl_idname = "parley.render_film"
    bl_label = "Render Film"
    wait: bpy.props.BoolProperty(
        name="Wait", options={"SKIP_SAVE"}, description="Return when the film is made; for scripts")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No speech, no place for the film, no backend, another job."""
        try:
            speech.chosen(context.scene)
            output(context.scene)
            performance_options(context.scene.parley_performance, target(context.scene))
        except ParleyError as error:
            return str(error)
        return worker.disabled_reason()

    def perform(self, context: bpy.types.Context) -> str:
        """Start the job."""
        scene = context.scene
        film = output(scene)
        options = film_options(scene, film)
        worker.start("talk", options, TITLE, _summary, folder=str(film.parent))
        if self.wait or bpy.app.background:
            worker.wait()
            if worker.outcome().error:
                raise UserInputError(worker.outcome().error)
            return worker.outcome().text
        return "Rendering; the sidebar shows how far it is."


def film_options(scene: bpy.types.Scene, film: Path) -> dict[str, Any]:
    """Options of the worker's ``talk``; raises `UserInputError`."""
    settings = scene.parley_film
    spoken = speech.chosen(scene, worker.job_folder())
    options = performance_options(scene.parley_performance, target(scene))
    options |= {"out": str(film), "overwrite": settings.overwrite, "engine": settings.engine,
                "size": PREVIEW_SIZE if settings.preview else settings.size,
                "refine": settings.refine and not settings.preview, "refine_minutes": settings.refine_minutes}
    if settings.scene and not settings.preview:
        options["scene"] = str(film.with_suffix(".blend"))
    if bpy.app.binary_path:
        options["blender"] = bpy.app.binary_path
    if spoken.path is not None:
        options["speech"] = str(spoken.path)
    if scene.parley_speech.text.strip():
        options["text"] = scene.parley_speech.text.strip()
    return options


def _summary(job: Job) -> str:
    result = job.result or {}
    scene = f", and {Path(result['scene']).name}" if result.get("scene") else ""
    return (f"{Path(result.get('out', '')).name}: {result.get('seconds', 0):.1f} s, {result.get('frames', 0)} frames, "
            f"made in {result.get('spent', 0):.0f} s{scene}. {result.get('quality', '')}").strip()


class PARLEY_OT_open_folder(ParleyOperator, bpy.types.Operator):
    """Show the folder in the system's file browser"""

    bl_idname = "parley.open_folder"
    bl_label = "Open Folder"
    folder: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def perform(self, context: bpy.types.Context) -> str:
        """Leave it to the system."""
        if not Path(self.folder).is_dir():
            raise UserInputError(f"The folder {self.folder} is gone.")
        bpy.ops.wm.path_open(filepath=self.folder)
        return f"Opened {self.folder}."
