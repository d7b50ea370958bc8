"""Everything that Blender is told about, in one ordered list."""

from __future__ import annotations

import bpy

from .features.character import operators as character_operators
from .features.character import panels as character_panels
from .features.character import properties as character_properties

CLASSES: tuple[type, ...] = (
    character_properties.PARLEY_PG_character,
    character_operators.PARLEY_OT_add_head,
    character_operators.PARLEY_OT_add_person,
    character_operators.PARLEY_OT_import_head,
    character_operators.PARLEY_OT_load_performance,
    character_panels.PARLEY_PT_character,
)


def register() -> None:
    """Register `CLASSES` in order."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    character_properties.register()


def unregister() -> None:
    """Unregister `CLASSES` in reverse."""
    character_properties.unregister()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
