"""Everything that Blender is told about, in one ordered list."""

from __future__ import annotations

import bpy

from .bl import worker
from .features.animate import operators as animate_operators
from .features.animate import panels as animate_panels
from .features.animate import properties as animate_properties
from .features.character import operators as character_operators
from .features.character import panels as character_panels
from .features.character import properties as character_properties
from .features.export import operators as export_operators
from .features.export import panels as export_panels
from .features.export import properties as export_properties
from .features.film import operators as film_operators
from .features.film import panels as film_panels
from .features.film import properties as film_properties
from .features.retarget import operators as retarget_operators
from .features.retarget import panels as retarget_panels
from .features.retarget import properties as retarget_properties
from .features.setup import operators as setup_operators
from .features.setup import preferences as setup_preferences

CLASSES: tuple[type, ...] = (
    character_properties.PARLEY_PG_character,
    character_operators.PARLEY_OT_add_head,
    character_operators.PARLEY_OT_add_person,
    character_operators.PARLEY_OT_import_head,
    character_operators.PARLEY_OT_load_performance,
    character_operators.PARLEY_OT_add_footage,
    character_panels.PARLEY_PT_character,
    setup_operators.PARLEY_OT_set_up_backend,
    setup_operators.PARLEY_OT_cancel_setup,
    setup_operators.PARLEY_OT_check_backend,
    setup_operators.PARLEY_OT_copy_report,
    setup_operators.PARLEY_OT_open_manual,
    setup_operators.PARLEY_OT_hide_hint,
    setup_preferences.PARLEY_AP_preferences,
    animate_properties.PARLEY_PG_speech,
    animate_properties.PARLEY_PG_performance,
    animate_operators.PARLEY_OT_animate,
    animate_operators.PARLEY_OT_apply_performance,
    animate_operators.PARLEY_OT_make_amounts_live,
    animate_operators.PARLEY_OT_free_sliders,
    animate_operators.PARLEY_OT_cancel,
    animate_panels.PARLEY_PT_speech,
    animate_panels.PARLEY_PT_performance,
    animate_panels.PARLEY_PT_amounts,
    animate_panels.PARLEY_PT_manner,
    film_properties.PARLEY_PG_film,
    film_operators.PARLEY_OT_render_film,
    film_operators.PARLEY_OT_open_folder,
    film_panels.PARLEY_PT_film,
    film_panels.PARLEY_PT_film_amounts,
    export_properties.PARLEY_PG_export,
    export_operators.PARLEY_OT_export,
    export_panels.PARLEY_PT_export,
    retarget_properties.PARLEY_PG_retarget_pair,
    retarget_properties.PARLEY_PG_retarget,
    retarget_operators.PARLEY_OT_retarget_auto_map,
    retarget_operators.PARLEY_OT_retarget_solve,
    retarget_operators.PARLEY_OT_retarget_apply,
    retarget_operators.PARLEY_OT_retarget_save_preset,
    retarget_operators.PARLEY_OT_retarget_load_preset,
    retarget_operators.PARLEY_OT_import_live_link,
    retarget_panels.PARLEY_UL_retarget_pairs,
    retarget_panels.PARLEY_PT_retarget,
    retarget_panels.PARLEY_PT_retarget_head,
)


def register() -> None:
    """Register `CLASSES` in order."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    character_properties.register()
    retarget_properties.register()
    animate_properties.register()
    film_properties.register()
    export_properties.register()


def unregister() -> None:
    """Unregister `CLASSES` in reverse."""
    worker.close()
    setup_operators.forget()
    export_properties.unregister()
    film_properties.unregister()
    animate_properties.unregister()
    retarget_properties.unregister()
    character_properties.unregister()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
