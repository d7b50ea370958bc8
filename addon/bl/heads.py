"""Which character is meant: the selected head, or the only one; or meshes of the user's own that are mapped."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import bpy

from ..core.errors import UserInputError
from . import amounts, rig


def current(context: bpy.types.Context) -> rig.Head:
    """The head whose mesh or empty is active, else the scene's only one; raises `UserInputError`."""
    try:
        return rig.find(context.object)
    except UserInputError:
        found = [item for item in context.scene.objects if rig.ORIGIN_KEY in item]
    if not found:
        raise UserInputError("The scene has no Parley head; add one in the section Character, or select your own "
                             "mesh and map it in the section Retarget.")
    if len(found) > 1:
        raise UserInputError(f"The scene has {len(found)} Parley heads; select the one that speaks.")
    return rig.find(found[0])


def adjustable(context: bpy.types.Context) -> tuple[bpy.types.Object | None, rig.Head | None]:
    """The object with amounts, of the head that is meant or the active one, and that head; None where there is none."""
    try:
        head = current(context) if not mapped_meshes(context) else None
    except UserInputError:
        head = None
    item = head.empty if head is not None else context.object
    return (item if amounts.has(item) else None), head


def mapped_meshes(context: bpy.types.Context) -> list[str]:
    """Names of the selected meshes that the section Retarget has mapped; none where a Parley head is active."""
    mapped = {pair.mesh for pair in context.scene.parley_retarget.pairs}
    if not mapped:
        return []
    try:
        rig.find(context.object)
    except UserInputError:
        return [item.name for item in context.selected_objects if item.type == "MESH" and item.name in mapped]
    return []


def named(name: str) -> rig.Head:
    """The head whose empty is called `name`; raises `UserInputError` if it is gone."""
    item = bpy.data.objects.get(name)
    if item is None:
        raise UserInputError(f"The head {name} was deleted meanwhile.")
    return rig.find(item)
