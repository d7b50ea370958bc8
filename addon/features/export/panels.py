"""The section Export."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy

from ...ui.panel_base import ParleyPanel, button
from .operators import PARLEY_OT_export


class PARLEY_PT_export(ParleyPanel, bpy.types.Panel):
    """The character, for other programs"""

    bl_idname = "PARLEY_PT_export"
    bl_label = "Export"
    bl_order = 50
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """What, which frames, the button."""
        settings = context.scene.parley_export
        column = self.layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(settings, "format")
        column.prop(settings, "span")
        if settings.format == "CSV":
            column.prop(context.scene.parley_retarget, "timecode_fps")
        button(self.layout, PARLEY_OT_export, context, icon="EXPORT")
