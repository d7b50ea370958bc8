"""The sections Speech and Performance."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy

from ...bl import compat, heads, live, strips
from ...core.amounts import FACE, HEAD
from ...ui.panel_base import ParleyPanel, button, draw_job, message, running
from .operators import TITLE, PARLEY_OT_animate, PARLEY_OT_free_sliders, PARLEY_OT_make_amounts_live


class PARLEY_PT_speech(ParleyPanel, bpy.types.Panel):
    """What is said, and when"""

    bl_idname = "PARLEY_PT_speech"
    bl_label = "Speech"
    bl_order = 10

    def draw(self, context: bpy.types.Context) -> None:
        """The source and what it needs."""
        settings = context.scene.parley_speech
        layout = self.layout
        layout.row().prop(settings, "source", expand=True)
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        if settings.source == "STRIP":
            column.prop(settings, "strip", icon="SOUND")
            if not compat.all_sound_strips(context.scene):
                message(column, context, "The sequencer has no sound strip.", "INFO")
        else:
            if settings.source == "FILE":
                column.prop(settings, "filepath")
            column.prop(settings, "start")
            column.prop(settings, "add_sound")
        column.prop(settings, "text")
        row = column.row(heading="Range")
        row.prop(settings, "use_range", text="")
        part = row.row(align=True)
        part.active = settings.use_range
        part.prop(settings, "range_start", text="")
        part.prop(settings, "range_end", text="")


class PARLEY_PT_performance(ParleyPanel, bpy.types.Panel):
    """How it is said"""

    bl_idname = "PARLEY_PT_performance"
    bl_label = "Performance"
    bl_order = 20

    def draw(self, context: bpy.types.Context) -> None:
        """The choices most people need, the button, the job."""
        settings = context.scene.parley_performance
        column = self.layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(settings, "pose")
        if settings.pose == "other":
            column.prop(settings, "pose_clip")
        column.prop(settings, "person")
        row = column.row(align=True)
        row.prop(settings, "emotion")
        part = row.row(align=True)
        part.active = settings.emotion != "neutral"
        part.prop(settings, "emotion_strength", text="")
        column.prop(settings, "seed")
        column.prop(settings, "engine")
        button(self.layout, PARLEY_OT_animate, context, big=True, explain=not running(TITLE), icon="PLAY")
        draw_job(self.layout, context, (TITLE,))


class PARLEY_PT_amounts(ParleyPanel, bpy.types.Panel):
    """How much of each, now and after the bake"""

    bl_idname = "PARLEY_PT_amounts"
    bl_label = "Amounts"
    bl_parent_id = PARLEY_PT_performance.bl_idname
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """The amounts of what is selected; where they aren't live, those of the next bake."""
        settings, layout = context.scene.parley_performance, self.layout
        item, head = heads.adjustable(context)
        layout.use_property_split = True
        if item is None and not settings.live:
            layout.use_property_decorate = False
            _props(layout, settings, "mouth", "upper_face", "brows")
            _props(layout, settings, "head_pitch", "head_yaw", "head_roll")
        elif item is None:
            message(layout, context, "Amounts are the character's own: add a head, or select it.", "INFO")
        else:
            for names in (FACE, HEAD):
                column = layout.column(align=True)
                for amount in names.values():
                    if amount.key in item:
                        column.prop(item, f'["{amount.key}"]', text=amount.title)
        if head is None or not live.is_live(head):
            layout.prop(settings, "live")
        if head is not None:
            _switches(layout, head)


def _switches(layout: Any, head: Any) -> None:
    """The way to live amounts and back, for a head that Parley has keyed."""
    if live.is_live(head):
        layout.operator(PARLEY_OT_free_sliders.bl_idname, icon="UNLOCKED")
    elif strips.parleys(head.keys):
        layout.operator(PARLEY_OT_make_amounts_live.bl_idname, icon="DRIVER")


class PARLEY_PT_manner(ParleyPanel, bpy.types.Panel):
    """How the next take is performed"""

    bl_idname = "PARLEY_PT_manner"
    bl_label = "Manner"
    bl_parent_id = PARLEY_PT_performance.bl_idname
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender reads a plain class attribute

    def draw(self, context: bpy.types.Context) -> None:
        """Eyes and accents, then timing, rules and weights."""
        settings, layout = context.scene.parley_performance, self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        _props(layout, settings, "blink_rate", "blink_asymmetry", "gaze", "saccades", "accents")
        _props(layout, settings, "smoothing_ms", "lead_ms")
        _props(layout, settings, "quiet_lips", "contact", "weights")
        if settings.weights == "file":
            layout.prop(settings, "weights_file")


def _props(layout: Any, settings: Any, *names: str) -> None:
    column = layout.column(align=True)
    for name in names:
        column.prop(settings, name)
