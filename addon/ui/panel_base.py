"""What Parley's panels share: their place, buttons that say why they are grey, messages in lines, the job's bar."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from ..bl import worker
from ..core.jobs import State
from ..core.worker_options import time_left

PIXELS_A_LETTER = 7.0
LEAST_LETTERS, USUAL_LETTERS = 18, 42


class ParleyPanel:
    """Mix-in before ``bpy.types.Panel``: in the 3D View's sidebar, tab Parley."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parley"


def button(layout: Any, operator: Any, context: bpy.types.Context, big: bool = False, explain: bool = True,
           **words: Any) -> Any:
    """Draw the button of `operator`; where it is grey, the reason stands below it. Returns the button's properties.

    `big`: the section's main button. `explain`: False where what stands below tells the reason anyway.
    """
    place = layout.column()
    place.scale_y = 1.4 if big else 1.0
    properties = place.operator(operator.bl_idname, **words)
    reason = operator.disabled_reason(context) if explain else None
    if reason is not None:
        message(layout, context, reason, "INFO")
    return properties


def running(*titles: str) -> bool:
    """Whether a job of one of these titles is under way."""
    return worker.runner().busy and worker.runner().job.title in titles


def message(layout: Any, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Draw `text` in as many lines as the sidebar's width asks for."""
    column = layout.column(align=True)
    for index, line in enumerate(textwrap.wrap(text, _letters(context)) or [""]):
        column.label(text=line, icon=icon if index == 0 else "BLANK1" if icon != "NONE" else "NONE")


def draw_job(layout: Any, context: bpy.types.Context, titles: tuple[str, ...]) -> None:
    """The running job's bar with *Cancel*, or what became of the last one; nothing where it is not one of `titles`."""
    runner = worker.runner()
    if running(*titles):
        box = layout.box()
        job = runner.job
        column = box.column(align=True)
        column.label(text=f"{runner.job.title}: {job.stage}", icon="SORTTIME")
        counted = f"{job.done}/{job.total}" if job.total > 1 else ""
        words = ", ".join(part for part in (counted, time_left(job.seconds_left)) if part)
        column.progress(factor=job.share, type="BAR", text=words)
        row = box.row()
        row.enabled = runner.state is not State.CANCELLING
        row.operator("parley.cancel", icon="X")
        for note in job.notes:
            message(box, context, note, "INFO")
        return
    said = worker.outcome()
    if said.title in titles and (said.text or said.error):
        box = layout.box()
        icon = "CANCEL" if runner.job.kind == "Cancelled" else "ERROR" if said.error else "CHECKMARK"
        message(box, context, said.error or said.text, icon)
        for note in said.notes:
            message(box, context, note, "INFO")
        if said.folder and not said.error:
            box.operator("parley.open_folder", icon="FILE_FOLDER").folder = said.folder


def draw_hint(layout: Any, context: bpy.types.Context) -> None:
    """The first steps, until the user has had enough of them."""
    kept = worker.preferences()
    if kept is not None and not kept.hint:
        return
    box = layout.box()
    box.label(text="First steps", icon="LIGHT")
    column = box.column(align=True)
    for number, step in enumerate(("Add a head here", "Choose a sound under Speech", "Press Animate, then Space"), 1):
        message(column, context, f"{number}.  {step}")
    row = box.row(align=True)
    row.operator("parley.open_manual", icon="HELP")
    if kept is not None:
        row.operator("parley.hide_hint", icon="CHECKMARK")


def _letters(context: bpy.types.Context) -> int:
    region = getattr(context, "region", None)
    if region is None or not region.width:
        return USUAL_LETTERS
    scale = context.preferences.system.ui_scale or 1.0  # type: ignore[union-attr]
    return max(LEAST_LETTERS, int(region.width / (PIXELS_A_LETTER * scale)) - 6)
