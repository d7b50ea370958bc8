"""The speech on the sequencer, so that the scene plays in sync."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import shutil
from pathlib import Path

import bpy

from ..core.errors import UserInputError
from . import compat

STRIP_NAME = "Parley Speech"
PACK_LIMIT = 32 << 20
"""Sound files up to this many bytes travel inside the .blend; larger ones are copied beside it."""


def possible() -> bool:
    """Whether this Blender was built with sound; some bpy wheels are not."""
    return bool(bpy.app.build_options.audaspace)


def add(scene: bpy.types.Scene, path: Path, start_frame: int, beside: Path | None = None) -> None:
    """Put the sound of the file at `path` on the sequencer at `start_frame` and let playback follow it.

    Parameters
    ----------
    beside : folder that takes a copy of a file too large to pack; None to leave the path as it is

    Raises
    ------
    UserInputError
        If Blender can't read a sound from the file.
    """
    large = path.stat().st_size > PACK_LIMIT
    if large and beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
        path = Path(shutil.copy2(path, beside / path.name))
    try:
        strip = compat.sound_strips(scene).new_sound(STRIP_NAME, str(path.resolve()), 1, start_frame)
        if not large:
            strip.sound.pack()
            strip.sound.filepath = f"//{path.name}"
    except RuntimeError as error:
        raise UserInputError(f"Blender can't read a sound from {path} ({error}); convert it to WAV or FLAC.") from error
    scene.sync_mode = "AUDIO_SYNC"
