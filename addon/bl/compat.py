"""Every difference between Blender 4.2 and 5.x that the add-on meets, and nothing else."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import bpy

VERSION: tuple[int, ...] = tuple(bpy.app.version)


def engine(name: str) -> str:
    """Blender's identifier of the engine "eevee" or "workbench"."""
    if name == "workbench":
        return "BLENDER_WORKBENCH"
    return "BLENDER_EEVEE" if VERSION >= (5, 0, 0) else "BLENDER_EEVEE_NEXT"


def set_if_there(owner: Any, **settings: Any) -> None:
    """Set those of `settings` that this version's `owner` has."""
    for name, value in settings.items():
        if name in owner.bl_rna.properties:
            setattr(owner, name, value)


def use_nodes(owner: Any) -> None:
    """Give a material or world its node tree; since 5.0 it always has one and the switch warns."""
    if VERSION < (5, 0, 0):
        owner.use_nodes = True


def image_format(scene: bpy.types.Scene, name: str, mode: str) -> None:
    """Render to still images of format `name` ("PNG") and colour mode `mode` ("RGBA")."""
    settings = scene.render.image_settings
    set_if_there(settings, media_type="IMAGE")
    settings.file_format = name
    settings.color_mode = mode


def assign_action(owner: bpy.types.ID, name: str) -> bpy.types.Action:
    """A new, empty action called `name` that animates `owner` (object or shape keys), in place of what was there."""
    data = owner.animation_data or owner.animation_data_create()
    old = data.action
    action = bpy.data.actions.new(name)
    data.action = action
    if hasattr(action, "slots"):
        slot = action.slots.new(id_type=owner.id_type, name=owner.name)
        action.layers.new("Layer").strips.new(type="KEYFRAME").channelbag(slot, ensure=True)
        data.action_slot = slot
    if old is not None and old.users == 0:
        bpy.data.actions.remove(old)
        action.name = name
    return action


def new_fcurve(owner: bpy.types.ID, path: str, index: int, group: str) -> bpy.types.FCurve:
    """A new F-curve for `path`[`index`] in the action that `assign_action` gave `owner`, in channel group `group`."""
    data = owner.animation_data
    if not hasattr(data, "action_slot"):
        return data.action.fcurves.new(path, index=index, action_group=group)
    bag = data.action.layers[0].strips[0].channelbag(data.action_slot)
    curve = bag.fcurves.new(path, index=index)
    curve.group = bag.groups.get(group) or bag.groups.new(group)
    return curve


def new_action(owner: bpy.types.ID, name: str) -> tuple[bpy.types.Action, Any]:
    """A new action called `name` that nothing plays yet, for data like `owner`, and where its F-curves go."""
    action = bpy.data.actions.new(name)
    if not hasattr(action, "slots"):
        action.id_root = owner.id_type
        return action, action
    slot = action.slots.new(id_type=owner.id_type, name=owner.name)
    return action, action.layers.new("Layer").strips.new(type="KEYFRAME").channelbag(slot, ensure=True)


def curve_in(bag: Any, path: str, index: int, group: str) -> bpy.types.FCurve:
    """A new F-curve for `path`[`index`] in what `new_action` gave, in channel group `group`."""
    if isinstance(bag, bpy.types.Action):
        return bag.fcurves.new(path, index=index, action_group=group)
    curve = bag.fcurves.new(path, index=index)
    curve.group = bag.groups.get(group) or bag.groups.new(group)
    return curve


def action_curves(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    """All F-curves of `action`, of every slot."""
    if not hasattr(action, "slots"):
        return list(action.fcurves)
    return [curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags
            for curve in bag.fcurves]


def assign_strip_slot(strip: bpy.types.NlaStrip) -> None:
    """Have an NLA strip play its action's only slot, where there are slots."""
    if hasattr(strip, "action_slot") and strip.action_slot is None:
        strip.action_slot = strip.action.slots[0]


def fcurves(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """All F-curves that animate `owner`; empty where nothing does."""
    data = owner.animation_data
    if data is None or data.action is None:
        return []
    if not hasattr(data, "action_slot"):
        return list(data.action.fcurves)
    bags = (strip.channelbag(data.action_slot) for layer in data.action.layers for strip in layer.strips)
    return [curve for bag in bags if bag is not None for curve in bag.fcurves]


def sound_strips(scene: bpy.types.Scene) -> Any:
    """The scene's collection of top-level sequencer strips, with its `new_sound`."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_sound_strips(scene: bpy.types.Scene) -> list[Any]:
    """Every sound strip of the scene's sequencer, those inside meta strips too; none where there is no sequencer."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    strips = editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all
    return [strip for strip in strips if strip.type == "SOUND"]


def strip_frames(strip: Any) -> tuple[float, float, float]:
    """Scene frames of a strip: where its content begins, its first visible one, the one after its last."""
    # The second names are those of newer versions, which drop the first.
    names = (("frame_start", "content_start"), ("frame_final_start", "left_handle"),
             ("frame_final_end", "right_handle"))
    start, first, last = (float(getattr(strip, old if hasattr(strip, old) else new)) for old, new in names)
    return start, first, last


def move_strip(strip: Any, frame: int) -> None:
    """Have the content of a sequencer strip begin at scene `frame`, its cut moving with it."""
    setattr(strip, "frame_start" if hasattr(strip, "frame_start") else "content_start", frame)
