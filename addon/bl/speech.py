"""Which sound is spoken and when: a file, or a strip of the sequencer with its place, its cut and its packed sound."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import bpy

from ..core.errors import UserInputError
from ..core.timing import FrameClock
from ..core.worker_options import existing
from . import compat


@dataclass(frozen=True)
class Speech:
    """A sound and its place on the timeline.

    Attributes
    ----------
    path : the sound file; None = the sample that the backend carries
    start : scene frame, with its fraction, at which the file begins
    window : first and last scene frame that it may key, None = all of it
    take : what tells it from other speech of the same head
    """

    path: Path | None
    start: float
    window: tuple[int, int] | None
    take: str

    def clock(self, scene: bpy.types.Scene) -> FrameClock:
        """The scene's clock with 0 s where the file begins."""
        return FrameClock(scene.render.fps, scene.render.fps_base, self.start)


def chosen(scene: bpy.types.Scene, folder: Path | None = None) -> Speech:
    """The speech that the scene's settings name.

    Parameters
    ----------
    folder : where a packed sound is written to; None = only look, write nothing

    Raises
    ------
    UserInputError
        If there is none, or its file is missing.
    """
    settings = scene.parley_speech
    if settings.source == "STRIP":
        found = of_strip(strip(scene, settings.strip), folder)
    elif settings.source == "FILE":
        path = existing(bpy.path.abspath(settings.filepath), "sound file")
        found = Speech(path, float(settings.start), None, f"file:{path}")
    else:
        found = Speech(None, float(settings.start), None, "sample")
    if not settings.use_range:
        return found
    if settings.range_end < settings.range_start:
        raise UserInputError("The range ends before it starts; set its end to a later frame.")
    first, last = settings.range_start, settings.range_end
    if found.window is not None:
        first, last = max(first, found.window[0]), min(last, found.window[1])
    return Speech(found.path, found.start, (first, last), found.take)


def strip(scene: bpy.types.Scene, name: str) -> Any:
    """The sound strip `name`, or the scene's only one; raises `UserInputError`."""
    strips = compat.all_sound_strips(scene)
    if not strips:
        raise UserInputError("The sequencer has no sound strip; add one, or choose a sound file here.")
    for item in strips:
        if item.name == name:
            return item
    if name:
        raise UserInputError(f"The sequencer has no sound strip {name} any more; choose another one.")
    if len(strips) > 1:
        raise UserInputError(f"The sequencer has {len(strips)} sound strips; choose one.")
    return strips[0]


def of_strip(item: Any, folder: Path | None) -> Speech:
    """The speech of one strip: what of it is heard, where it is heard."""
    start, first, last = compat.strip_frames(item)
    _refuse_retimed(item)
    # A strip of whole frames is heard up to, not at, the frame after its last.
    window = (ceil(first - 1e-3), max(ceil(last - 1e-3) - 1, ceil(first - 1e-3)))
    return Speech(_sound_file(item, folder), start, window, f"strip:{item.name}")


def _refuse_retimed(item: Any) -> None:
    keys = list(getattr(item, "retiming_keys", ()))
    if len(keys) > 2 or (len(keys) == 2 and
                         abs(keys[1].timeline_frame - keys[0].timeline_frame - item.frame_duration) > 1):
        raise UserInputError(f"The strip {item.name} is retimed; render its sound to a file (Render › Render Audio) "
                             "and choose that.")


def _sound_file(item: Any, folder: Path | None) -> Path:
    sound = item.sound
    if sound is None:
        raise UserInputError(f"The strip {item.name} has no sound; choose another strip or a sound file.")
    path = Path(bpy.path.abspath(sound.filepath, library=sound.library))
    if sound.packed_file is None:
        if not path.is_file():
            raise UserInputError(f"The sound of the strip {item.name} is missing: {path}; put it back, or use File › "
                                 "External Data › Find Missing Files.")
        return path
    if folder is None:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = folder / f"packed{path.suffix or '.wav'}"
    unpacked.write_bytes(sound.packed_file.data)
    return unpacked

