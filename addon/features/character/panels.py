"""The sidebar's first panel."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy

from ...bl import heads, rig
from ...core.errors import ParleyError
from ...ui.panel_base import ParleyPanel, button, draw_hint, draw_job, message, running
from .operators import (
    FOOTAGE_TITLE,
    PARLEY_OT_add_footage,
    PARLEY_OT_add_head,
    PARLEY_OT_add_person,
    PARLEY_OT_import_head,
    PARLEY_OT_load_performance,
)
from .properties import settings


class PARLEY_PT_character(ParleyPanel, bpy.types.Panel):
    """Who speaks"""

    bl_idname = "PARLEY_PT_character"
    bl_label = "Character"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """The manual."""
        self.layout.operator("parley.open_manual", text="", icon="QUESTION", emboss=False)
        self.layout.separator()

    def draw(self, context: bpy.types.Context) -> None:
        """Who, what that needs, the button; then who is meant now."""
        chosen, layout = settings(context), self.layout
        started = any(rig.ORIGIN_KEY in item for item in context.scene.objects)
        if not started and not context.scene.parley_retarget.pairs:
            draw_hint(layout, context)
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(chosen, "source")
        _SOURCES[chosen.source](column, context, chosen)
        _meant(layout, context)


def _model(column: Any, context: bpy.types.Context, chosen: Any) -> None:
    column.prop(chosen, "face_model")
    button(column, PARLEY_OT_add_head, context, icon="ADD")


def _random(column: Any, context: bpy.types.Context, chosen: Any) -> None:
    column.prop(chosen, "face_model")
    column.prop(chosen, "seed")
    button(column, PARLEY_OT_add_person, context, icon="ADD").seed = chosen.seed


def _footage(column: Any, context: bpy.types.Context, chosen: Any) -> None:
    column.prop(chosen, "footage")
    button(column, PARLEY_OT_add_footage, context, explain=not running(FOOTAGE_TITLE), icon="ADD")
    draw_job(column, context, (FOOTAGE_TITLE,))


def _file(column: Any, context: bpy.types.Context, chosen: Any) -> None:
    button(column, PARLEY_OT_import_head, context, icon="FILE_FOLDER")


def _mesh(column: Any, context: bpy.types.Context, chosen: Any) -> None:
    message(column, context, "Select the head, with its teeth, brows and lashes, and press:", "INFO")
    column.operator("parley.retarget_auto_map", icon="SORTALPHA")


_SOURCES = {"MODEL": _model, "RANDOM": _random, "FOOTAGE": _footage, "FILE": _file, "MESH": _mesh}


def _meant(layout: Any, context: bpy.types.Context) -> None:
    """Who is going to be animated."""
    meshes = heads.mapped_meshes(context)
    try:
        names = meshes or [heads.current(context).mesh.name]
    except ParleyError:
        return
    row = layout.row(align=True)
    row.label(text=f"Speaks: {', '.join(names)}", icon="OUTLINER_OB_SPEAKER")
    if not meshes:
        row.operator(PARLEY_OT_load_performance.bl_idname, text="", icon="ACTION")
