"""The add-on's preferences: which interpreter, *Set Up Backend*, *Check*."""

# Blender's type stubs allow None and every kind of data where these objects have one kind, and have no place for
# properties that are declared as annotations.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportInvalidTypeForm=false

from __future__ import annotations

from typing import Any

import bpy

from ...bl import worker
from ...core.backend_setup import ADDRESSES
from ...ui.panel_base import button, draw_job, message, running
from . import operators

WITHOUT = ("There is no backend yet. Animate works without it, by the instant engine; films, heads from footage and "
           "what is learned from a clip need it: set it up below, or name an interpreter that has it.")


class PARLEY_AP_preferences(bpy.types.AddonPreferences):
    """What Parley remembers on this computer"""

    bl_idname = worker.ROOT

    interpreter: bpy.props.StringProperty(
        name="Interpreter", subtype="FILE_PATH",
        description="Python that has Parley's backend; empty for the one that Set Up Backend makes")
    device: bpy.props.EnumProperty(
        name="Compute On", default="cpu", description="Which PyTorch is installed",
        items=(("cpu", "Processor", "Works everywhere"), ("cuda", "NVIDIA GPU", "CUDA; a download of gigabytes")))
    base_python: bpy.props.StringProperty(
        name="Python", subtype="FILE_PATH",
        description="Python 3.11 or 3.12 that the environment is made with; empty to look for one")
    source: bpy.props.StringProperty(
        name="Parley", subtype="FILE_PATH",
        description="Folder or wheel of Parley's backend; empty for the one that comes with the add-on")

    hint: bpy.props.BoolProperty(
        name="First Steps", default=True, description="Show the first steps in the sidebar until there is a head")

    def draw(self, context: bpy.types.Context) -> None:
        """Interpreter and state first, then the set-up."""
        layout = self.layout
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(self, "interpreter")
        missing = worker.missing_backend()
        said = WITHOUT if missing == worker.NO_BACKEND else missing or f"Backend: {worker.interpreter()}"
        message(column, context, said, "INFO" if missing else "CHECKMARK")
        button(layout, operators.PARLEY_OT_check_backend, context, explain=not running(operators.CHECK_TITLE),
               icon="VIEWZOOM")
        draw_job(layout, context, (operators.CHECK_TITLE,))
        if operators.report():
            _draw_report(layout.box())
        self._draw_setup(layout.box(), context)
        layout.prop(self, "hint")

    def _draw_setup(self, box: Any, context: bpy.types.Context) -> None:
        column = box.column()
        column.use_property_split, column.use_property_decorate = True, False
        for name in ("device", "base_python", "source"):
            column.prop(self, name)
        run = operators.setup_run()
        if run is not None and run.running:
            column.progress(factor=run.share, type="BAR", text=f"{run.title} ({run.step + 1}/{len(run.plan.steps)})")
            column.label(text=run.lines[-1][:100] if run.lines else "")
            column.operator(operators.PARLEY_OT_cancel_setup.bl_idname, icon="X")
        else:
            message(box, context, f"Contacts {', '.join(ADDRESSES)} when the button is pressed, and never else.", "URL")
            button(box, operators.PARLEY_OT_set_up_backend, context, icon="IMPORT")
            if run is not None and (run.error or run.step):
                message(box, context, run.error or "The backend is set up.", "ERROR" if run.error else "CHECKMARK")
        shown = operators.commands(context)
        if shown:
            small = box.column(align=True)
            small.label(text="Commands:")
            for line in shown.splitlines():
                small.label(text=line)


def _draw_report(box: Any) -> None:
    """The report, facts in two columns as far as they are such."""
    column = box.column(align=True)
    column.scale_y = 0.8
    for line in operators.report().splitlines():
        name, value = line[:operators.NAME_WIDTH].strip(), line[operators.NAME_WIDTH:].strip()
        if line.startswith("  ") and value and "  " not in name:
            row = column.split(factor=0.25)
            row.label(text=name)
            row.label(text=value)
        else:
            column.label(text=line)
    box.operator(operators.PARLEY_OT_copy_report.bl_idname, icon="COPYDOWN")
