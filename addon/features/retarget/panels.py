"""The section Retarget: collapsed, with the list to review."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy

from ...ui.panel_base import ParleyPanel, button, draw_job, message
from .operators import (
    SOLVE_TITLE,
    PARLEY_OT_import_live_link,
    PARLEY_OT_retarget_apply,
    PARLEY_OT_retarget_auto_map,
    PARLEY_OT_retarget_load_preset,
    PARLEY_OT_retarget_save_preset,
    PARLEY_OT_retarget_solve,
)
from .properties import settings

_SURE, _CERTAIN = 0.8, 0.995
_RESIDUALS_SHOWN = 6


class PARLEY_UL_retarget_pairs(bpy.types.UIList):
    """Shape keys, what they follow, and how sure that is"""

    bl_idname = "PARLEY_UL_retarget_pairs"

    def draw_item(self, context: bpy.types.Context, layout: Any, data: Any, item: Any, icon: int, active_data: Any,
                  active_property: str, index: int = 0, flt_flag: int = 0) -> None:
        """One row: use, key, sources, confidence."""
        row = layout.row(align=True)
        row.prop(item, "enabled", text="")
        part = row.split(factor=0.5)
        part.active = item.enabled
        part.label(text=item.target, icon="NONE" if item.confidence >= _SURE else "QUESTION")
        rest = part.row(align=True)
        rest.prop(item, "sources", text="", emboss=False)
        if item.confidence < _CERTAIN:
            rest.label(text=f"{item.confidence:.0%}")


class PARLEY_PT_retarget(ParleyPanel, bpy.types.Panel):
    """Any character: map the 52 shapes onto its own shape keys"""

    bl_idname = "PARLEY_PT_retarget"
    bl_label = "Retarget"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """Map, review, apply."""
        chosen, layout = settings(context), self.layout
        column = layout.column(align=True)
        button(column, PARLEY_OT_retarget_auto_map, context, icon="SORTALPHA")
        button(column, PARLEY_OT_retarget_solve, context, explain=False, icon="MESH_DATA")
        draw_job(layout, context, (SOLVE_TITLE,))
        row = layout.row(align=True)
        row.operator(PARLEY_OT_retarget_load_preset.bl_idname, icon="FILE_FOLDER", text="Load Preset")
        row.operator(PARLEY_OT_retarget_save_preset.bl_idname, icon="FILE_TICK", text="Save Preset")
        if chosen.pairs:
            layout.template_list(PARLEY_UL_retarget_pairs.bl_idname, "", chosen, "pairs", chosen, "index", rows=6)
            _details(layout, chosen)
        _residuals(layout, context, chosen)
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(chosen, "filepath")
        if chosen.filepath.lower().endswith(".csv"):
            column.prop(chosen, "timecode_fps")
        column.prop(chosen, "live")
        column.prop(chosen, "amount")
        column.prop(chosen, "smooth")
        button(layout, PARLEY_OT_retarget_apply, context, icon="ACTION")
        layout.operator(PARLEY_OT_import_live_link.bl_idname, icon="IMPORT")


class PARLEY_PT_retarget_head(ParleyPanel, bpy.types.Panel):
    """Where the head's motion and the eyes' go"""

    bl_idname = "PARLEY_PT_retarget_head"
    bl_label = "Head and Eyes"
    bl_parent_id = PARLEY_PT_retarget.bl_idname
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """The object or bone, and how much of what."""
        chosen, layout = settings(context), self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(chosen, "head")
        if chosen.head is None:
            return
        if chosen.head.type == "ARMATURE":
            column = layout.column(align=True)
            for name in ("head_bone", "eye_left", "eye_right"):
                column.prop(chosen, name, icon="BONE_DATA")
        for name in ("head_amount", "head_limit", "head_shift", "centred"):
            layout.prop(chosen, name)
        row = layout.row(align=True)
        row.prop(chosen, "forward")
        row.prop(chosen, "up", text="")


def _details(layout: Any, chosen: Any) -> None:
    """The chosen pair, to be edited."""
    if not 0 <= chosen.index < len(chosen.pairs):
        return
    pair = chosen.pairs[chosen.index]
    column = layout.box().column()
    column.label(text=f"{pair.mesh}: {pair.target}, by {pair.origin}")
    column.prop(pair, "sources")
    column.prop(pair, "kind")


def _residuals(layout: Any, context: bpy.types.Context, chosen: Any) -> None:
    """What the solve could not show, the worst first."""
    if chosen.residuals:
        lines = chosen.residuals.split("\n")
        column = layout.box().column(align=True)
        message(column, context, "Share of each shape's movement that these keys can't show:", "INFO")
        for line in lines[:_RESIDUALS_SHOWN]:
            column.label(text=line, icon="BLANK1")
