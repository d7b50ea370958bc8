"""The sidebar's first panel."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy

from .operators import PARLEY_OT_add_head, PARLEY_OT_add_person, PARLEY_OT_import_head, PARLEY_OT_load_performance
from .properties import settings


class PARLEY_PT_character(bpy.types.Panel):
    """Character"""

    bl_idname = "PARLEY_PT_character"
    bl_label = "Character"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parley"

    def draw(self, context: bpy.types.Context) -> None:
        """The choice of a face model, and what can be made of it."""
        chosen = settings(context)
        column = self.layout.column()
        column.prop(chosen, "face_model", text="")
        column.operator(PARLEY_OT_add_head.bl_idname, icon="USER")
        row = column.row(align=True)
        row.operator(PARLEY_OT_add_person.bl_idname, icon="COMMUNITY").seed = chosen.seed
        row.prop(chosen, "seed", text="")
        column.operator(PARLEY_OT_import_head.bl_idname, icon="FILE_FOLDER")
        column.operator(PARLEY_OT_load_performance.bl_idname, icon="ACTION")
