"""What the section Retarget remembers with the scene: the reviewed mapping, where the head and the eyes go, amounts."""

# Blender's type stubs have no place for properties that are declared as annotations.
# pyright: reportInvalidTypeForm=false, reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import bpy

from ...core.mapping import DIRECT, POSE, Pair
from ...core.mapping_pose import AXES
from ...core.mapping_text import read_sources

VERSION = 1
_AXES = [(name, name, f"Along {name}") for name in AXES]


def _bones(self: Any, context: bpy.types.Context, edit_text: str) -> list[str]:
    """The bones of the armature that carries the head."""
    item = self.head
    return [bone.name for bone in item.pose.bones] if item is not None and item.type == "ARMATURE" else []


class PARLEY_PG_retarget_pair(bpy.types.PropertyGroup):
    """One shape key of the rig and what drives it"""

    mesh: bpy.props.StringProperty(name="Object", description="The mesh object")
    target: bpy.props.StringProperty(name="Shape Key", description="The shape key that follows")
    sources: bpy.props.StringProperty(
        name="Follows", description="ARKit shapes and their weights, as in jawOpen or mouthSmileLeft*0.5 + "
                                    "mouthSmileRight*0.5; rest for a viseme of silence")
    kind: bpy.props.EnumProperty(
        name="Kind", default=DIRECT, description="How the sources are meant",
        items=((DIRECT, "Sum", "The key's weight is the weighted sum of the shapes'"),
               (POSE, "Viseme", "The key shows all these shapes at once; visemes share the mouth among them")))
    confidence: bpy.props.FloatProperty(
        name="Confidence", min=0, max=1, subtype="FACTOR", description="How sure the match is, 0 to 1")
    origin: bpy.props.StringProperty(name="Found by", description="Naming convention, likeness, or geometry")
    enabled: bpy.props.BoolProperty(name="Use", default=True, description="Whether this key is animated")


class PARLEY_PG_retarget(bpy.types.PropertyGroup):
    """Settings of the section Retarget"""

    version: bpy.props.IntProperty(options={"HIDDEN"}, description="Schema of these settings; 0 = never used")
    pairs: bpy.props.CollectionProperty(type=PARLEY_PG_retarget_pair)
    index: bpy.props.IntProperty(name="Pair", description="Which pair of the list is shown")
    residuals: bpy.props.StringProperty(
        description="What the last geometric solve could not show, for people")
    filepath: bpy.props.StringProperty(
        name="Motion", subtype="FILE_PATH", description="Performance (.npz) or Live Link Face recording (.csv)")
    timecode_fps: bpy.props.FloatProperty(
        name="Recording Rate", default=60.0, min=1.0, max=240.0,
        description="Frames per second by which the recording's timecode counts, as set in the app")
    live: bpy.props.BoolProperty(
        name="Live Amounts",
        description="Amounts on the active mesh stay adjustable after Apply, and can be keyed: drivers multiply them "
                    "into the shape keys. Off: the sliders themselves are keyed, as other exporters expect it")
    amount: bpy.props.FloatProperty(
        name="Amount", default=1.0, min=0.0, soft_max=2.0, max=5.0, description="Factor of every shape key's weight")
    smooth: bpy.props.FloatProperty(
        name="Smoothing", default=1.0, min=0.0, max=5.0,
        description="How much visemes and solved keys are held together over time; 0 = each frame for itself")
    head: bpy.props.PointerProperty(
        name="Head", type=bpy.types.Object, description="Armature, empty or object that turns with the head; "
                                                        "empty for none")
    head_bone: bpy.props.StringProperty(name="Bone", search=_bones, description="The bone that carries the head")
    eye_left: bpy.props.StringProperty(
        name="Left Eye", search=_bones, description="Bone of the character's left eye; empty for none")
    eye_right: bpy.props.StringProperty(
        name="Right Eye", search=_bones, description="Bone of the character's right eye; empty for none")
    head_amount: bpy.props.FloatVectorProperty(
        name="Turn", size=3, default=(1.0, 1.0, 1.0), min=0.0, max=5.0,
        description="Factors of nodding, turning and tilting")
    head_limit: bpy.props.FloatVectorProperty(
        name="Limit", size=3, default=(math.pi / 4, math.pi / 3, math.pi / 6), min=0.0, max=math.pi, subtype="EULER",
        description="Largest angle of nodding, turning and tilting, either way")
    head_shift: bpy.props.FloatProperty(
        name="Movement", default=0.0, min=0.0, max=5.0,
        description="Factor of the head's own way through space, in metres; 0 = it only turns")
    centred: bpy.props.BoolProperty(
        name="Centred", default=True, description="The performance's usual pose is the character's rest pose")
    forward: bpy.props.EnumProperty(
        name="Forward", items=_AXES, default="-Y", description="Axis of the object along which the character looks")
    up: bpy.props.EnumProperty(name="Up", items=_AXES, default="Z", description="Axis of the object that points up")


def settings(context: bpy.types.Context) -> Any:
    """The scene's settings."""
    return context.scene.parley_retarget  # type: ignore[union-attr]


def store(chosen: Any, pairs: Iterable[Pair]) -> None:
    """Put `pairs` into the list, the ones to look at first: unsure and switched off ones."""
    chosen.version = VERSION
    chosen.pairs.clear()
    for pair in sorted(pairs, key=lambda one: (one.enabled and one.confidence >= 0.8, one.mesh)):
        row = chosen.pairs.add()
        row.name = f"{pair.mesh} {pair.target}"
        row.mesh, row.target, row.sources, row.kind = pair.mesh, pair.target, pair.text, pair.kind
        row.confidence, row.origin, row.enabled = pair.confidence, pair.origin, pair.enabled
    chosen.index = 0


def read(chosen: Any) -> list[Pair]:
    """The list's pairs as the user left them; raises `UserInputError` where a text can't be read."""
    return [Pair(row.mesh, row.target, read_sources(row.sources, row.target), row.kind, row.confidence, row.origin,
                 row.enabled) for row in chosen.pairs]


def register() -> None:
    """Give every scene its settings."""
    bpy.types.Scene.parley_retarget = bpy.props.PointerProperty(type=PARLEY_PG_retarget)


def unregister() -> None:
    """Take them away."""
    del bpy.types.Scene.parley_retarget
