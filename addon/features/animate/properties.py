"""What the sections Speech and Performance remember, with the scene, and how files of older versions are read."""

# Blender's type stubs have no place for properties that are declared as annotations.
# pyright: reportInvalidTypeForm=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...bl import compat, rig, strips, worker
from ...core.worker_options import EMOTIONS

VERSION = 2


def baked_stay_baked(scene: bpy.types.Scene) -> None:
    """Version 1 multiplied amounts into the keys: where a head has such, a new bake does the same as before."""
    heads = [item for item in scene.objects if rig.ORIGIN_KEY in item]
    if any(strips.parleys(head) for head in heads):
        scene.parley_performance.live = False


MIGRATIONS: dict[int, Callable[[bpy.types.Scene], None]] = {1: baked_stay_baked}
"""Number → what turns a scene's settings of that version into the next one's."""


def sound_strip_names(self: object, context: bpy.types.Context, edit_text: str) -> Iterable[str]:
    """The sound strips' names, for the field's list."""
    return [strip.name for strip in compat.all_sound_strips(context.scene)]


def amount(name: str, about: str, most: float = 3.0, default: float = 1.0) -> Any:
    """A factor's property: 1 as the person's, 0 none."""
    return bpy.props.FloatProperty(name=name, description=about, default=default, min=0.0, max=most, soft_max=min(most,
                                   2.0), step=5, precision=2)


class PARLEY_PG_speech(bpy.types.PropertyGroup):
    """Settings of the section Speech, kept with the scene"""

    version: bpy.props.IntProperty(options={"HIDDEN"}, description="Schema of these settings; 0 = never saved")
    source: bpy.props.EnumProperty(
        name="Source", default="FILE", description="Where the speech comes from",
        items=(("FILE", "File", "A sound or video file", "FILE_SOUND", 0),
               ("STRIP", "Strip", "A sound strip of the sequencer, at its place and with its cut", "SEQ_SEQUENCER", 1),
               ("SAMPLE", "Sample", "The sentence that comes with Parley", "SPEAKER", 2)))
    filepath: bpy.props.StringProperty(name="Sound", subtype="FILE_PATH", description="Sound or video file with speech")
    strip: bpy.props.StringProperty(
        name="Strip", search=sound_strip_names, description="Sound strip; empty for the only one of the sequencer")
    start: bpy.props.IntProperty(name="Start Frame", default=1, description="Scene frame at which the sound begins")
    add_sound: bpy.props.BoolProperty(
        name="Add to Sequencer", default=True, description="Also put the sound on the sequencer, unless it is there")
    text: bpy.props.StringProperty(
        name="Text", description="What is said, in English, or the path of a .txt file; lips then meet exactly on p, "
                                 "b and m. May stay empty")
    use_range: bpy.props.BoolProperty(name="Range", description="Key only a part of the timeline")
    range_start: bpy.props.IntProperty(name="First Frame", default=1, description="First scene frame that is keyed")
    range_end: bpy.props.IntProperty(name="Last Frame", default=250, description="Last scene frame that is keyed")


class PARLEY_PG_performance(bpy.types.PropertyGroup):
    """Settings of the section Performance, kept with the scene"""

    engine: bpy.props.EnumProperty(
        name="Engine", default="AUTO", description="What turns the speech into motion",
        items=(("AUTO", "Automatic", "The backend where it is set up, else the instant engine"),
               ("INSTANT", "Instant (built in)", "The same networks in this Blender: nothing to install"),
               ("BACKEND", "Backend", "Also learns from a clip of a person, and aligns a text with the sound")))
    pose: bpy.props.EnumProperty(
        name="Head Motion", default="predicted", description="Where the head's motion comes from",
        items=(("predicted", "From Speech", "Predicted from the speech, in the person's manner"),
               ("clip", "Person's Clip", "As in the clip of the person"),
               ("other", "Another Clip", "As in another clip, about this head's own place"),
               ("still", "Still", "The head rests where it is"), ("frontal", "Frontal", "Straight ahead, and still")))
    pose_clip: bpy.props.StringProperty(
        name="Motion Clip", subtype="FILE_PATH", description="Clip whose head motion is played")
    person: bpy.props.StringProperty(
        name="Person", subtype="FILE_PATH",
        description="Clip of somebody whose way of speaking and moving is learned first; empty for nobody's")
    mouth: amount("Mouth", "How far the mouth goes; 1 = as the person's")
    upper_face: amount("Upper Face", "How far brows, cheeks, nose and lids go; 1 = as the person's")
    brows: amount("Brows", "A further factor on the brows")
    blink_rate: amount("Blinks", "Factor on the blinks a minute; 0 = none", 10.0)
    head_pitch: amount("Head Nod", "How far the head nods; 1 = as the person's")
    head_yaw: amount("Head Turn", "How far the head turns; 1 = as the person's")
    head_roll: amount("Head Tilt", "How far the head tilts; 1 = as the person's")
    gaze: amount("Eye Contact", "How far the eyes stay on their aim while the head turns", 1.0)
    saccades: amount("Saccades", "Size of the small eye movements; 0 = none")
    accents: amount("Accents", "How far brows rise on stressed syllables; 0 = not")
    blink_asymmetry: amount("Blink Asymmetry", "How unlike the two lids blink; 0 = alike")
    live: bpy.props.BoolProperty(
        name="Live", default=True,
        description="Amounts stay adjustable after Animate, and can be keyed: drivers multiply them into the sliders. "
                    "Off: they are multiplied into the keys, and the sliders are free for your own")
    emotion: bpy.props.EnumProperty(
        name="Emotion", default=EMOTIONS[0], description="Expression that is worn while speaking",
        items=[(name, name.capitalize(), f"Look {name}") for name in EMOTIONS])
    emotion_strength: amount("Strength", "How strong the emotion is")
    smoothing_ms: bpy.props.FloatProperty(
        name="Smoothing (ms)", min=0.0, max=400.0, description="Smooth the face over so many milliseconds")
    lead_ms: bpy.props.FloatProperty(
        name="Lead (ms)", min=-200.0, max=200.0, description="Move the face so many milliseconds before the sound")
    quiet_lips: bpy.props.BoolProperty(
        name="Still in Silence", default=True, description="Close and still the lips where nobody speaks")
    contact: bpy.props.BoolProperty(
        name="Lips Meet on p, b, m", default=True, description="Bring the lips together where they have to meet")
    seed: bpy.props.IntProperty(
        name="Seed", min=0, description="Another number, another take; the same, the same")
    weights: bpy.props.EnumProperty(
        name="Weights", default="default", description="What was learned of how people speak",
        items=(("default", "Default", "The best there are"), ("open", "Open Data", "Learned from open data alone"),
               ("file", "File", "Your own, made by parley train or parley personalise")))
    weights_file: bpy.props.StringProperty(
        name="Weights File", subtype="FILE_PATH", description="Weights (.safetensors)")
    last: bpy.props.StringProperty(options={"HIDDEN"}, description="Performance file of the last bake")


GROUPS = (("parley_speech", PARLEY_PG_speech), ("parley_performance", PARLEY_PG_performance))


@persistent
def stamp(*_: object) -> None:
    """Before saving: note in every scene which version its settings are."""
    for scene in bpy.data.scenes:
        scene.parley_speech.version = VERSION


@persistent
def migrate(*_: object) -> None:
    """After opening: bring settings of an older version up to this one."""
    for scene in bpy.data.scenes:
        settings = scene.parley_speech
        while 0 < settings.version < VERSION:
            MIGRATIONS[settings.version](scene)
            settings.version += 1


@persistent
def leave(*_: object) -> None:
    """Before another file is opened: a job of this one would find another scene."""
    worker.stop("another file was opened")


def register() -> None:
    """Give every scene its settings, and listen to files being opened and saved."""
    for name, group in GROUPS:
        setattr(bpy.types.Scene, name, bpy.props.PointerProperty(type=group))
    for handlers, handler in _handlers():
        handlers.append(handler)


def unregister() -> None:
    """Take all of it away."""
    for handlers, handler in _handlers():
        if handler in handlers:
            handlers.remove(handler)
    for name, _ in GROUPS:
        delattr(bpy.types.Scene, name)


def _handlers() -> list[tuple[Any, Callable[..., None]]]:
    handlers = bpy.app.handlers
    return [(handlers.save_pre, stamp), (handlers.load_post, migrate), (handlers.load_pre, leave)]
