"""The section Film."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy

from ...ui.panel_base import ParleyPanel, button, draw_job, running
from .operators import TITLE, PARLEY_OT_render_film


class PARLEY_PT_film(ParleyPanel, bpy.types.Panel):
    """Somebody's clip or photo, speaking"""

    bl_idname = "PARLEY_PT_film"
    bl_label = "Film"
    bl_order = 40
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """Who, where to, how large, the button, the job."""
        settings = context.scene.parley_film
        column = self.layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(settings, "target")
        column.prop(settings, "output")
        column.prop(settings, "preview")
        rest = column.column()
        rest.active = not settings.preview
        rest.prop(settings, "size")
        if settings.target:
            row = rest.row(heading="Refine")
            row.prop(settings, "refine", text="")
            part = row.row()
            part.active = settings.refine
            part.prop(settings, "refine_minutes")
        rest.prop(settings, "scene")
        column.prop(settings, "engine")
        column.prop(settings, "overwrite")
        button(self.layout, PARLEY_OT_render_film, context, big=True, explain=not running(TITLE),
               icon="RENDER_ANIMATION")
        draw_job(self.layout, context, (TITLE,))


class PARLEY_PT_film_amounts(ParleyPanel, bpy.types.Panel):
    """How much of each in the film"""

    bl_idname = "PARLEY_PT_film_amounts"
    bl_label = "Amounts"
    bl_parent_id = PARLEY_PT_film.bl_idname
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """Factors by part of the face; a film is made whole, so they can't be turned afterwards."""
        settings, layout = context.scene.parley_performance, self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        for names in (("mouth", "upper_face", "brows"), ("head_pitch", "head_yaw", "head_roll")):
            column = layout.column(align=True)
            for name in names:
                column.prop(settings, name)
