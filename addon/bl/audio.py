"""Sound as numbers, of any file that Blender plays: by its `aud` module, or mixed down where that is missing."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import importlib
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core.errors import UserInputError
from ..core.instant.sound import is_wav, read_wav
from . import compat

Reader = Callable[[Callable[[], None]], tuple[np.ndarray, float]]
"""Reads the sound, in any thread: (N, C) float32 in [-1, 1] and the rate in Hz. Takes a pulse that may stop it."""
EXACT = (".wav", ".flac", ".aif", ".aiff")
"""Formats in which a place is found to the sample; `aud` holds up Blender while it reads, so they are read in parts."""
PART_SECONDS = 20.0
MIX_FPS = 25


def reader(path: Path, folder: Path) -> Reader:
    """How the sound of the file at `path` is read; call it in the main thread, and the result in any.

    Parameters
    ----------
    folder : takes the sound as WAV where Blender can play the file but not hand out its samples

    Raises
    ------
    UserInputError
        If this Blender can't read the file.
    """
    if is_wav(path):
        return lambda pulse: read_wav(path)
    try:
        aud = importlib.import_module("aud")
    except ImportError:
        return _mixed(path, folder)
    return lambda pulse: _decoded(aud, path, pulse)


def _decoded(aud: Any, path: Path, pulse: Callable[[], None]) -> tuple[np.ndarray, float]:
    """All samples of the file's first sound."""
    try:
        sound = aud.Sound(str(path))
        rate, length = float(sound.specs[0]), int(sound.length)
        if path.suffix.lower() not in EXACT or length <= 0:
            return np.asarray(sound.data(), np.float32), rate
        parts = []
        for start in range(ceil(length / rate / PART_SECONDS)):
            pulse()
            parts.append(sound.limit(start * PART_SECONDS, (start + 1) * PART_SECONDS).data())
        return np.concatenate(parts).astype(np.float32, copy=False), rate
    except (aud.error, RuntimeError, ValueError) as error:
        raise UserInputError(f"Blender can't read a sound from {path} ({error}); convert it to WAV or FLAC.") from error


def _mixed(path: Path, folder: Path) -> Reader:
    """By a scene of its own that holds nothing but this sound, rendered to WAV: slower, and Blender waits for it."""
    if not bpy.app.build_options.audaspace:
        raise UserInputError(f"This Blender was built without sound and reads uncompressed WAV files only; convert "
                             f"{path} to 16-bit WAV.")
    made = folder / "sound.wav"
    scene, before = bpy.data.scenes.new("Parley Sound"), set(bpy.data.sounds)
    try:
        scene.render.fps, scene.render.fps_base = MIX_FPS, 1.0
        strip = compat.sound_strips(scene).new_sound("Sound", str(path), 1, 1)
        scene.frame_start, scene.frame_end = 1, max(int(compat.strip_frames(strip)[2]) - 1, 1)
        with bpy.context.temp_override(scene=scene):
            bpy.ops.sound.mixdown(filepath=str(made), check_existing=False, relative_path=False, container="WAV",
                                  codec="PCM", format="S16")
    except RuntimeError as error:
        raise UserInputError(f"Blender can't read a sound from {path} ({error}); convert it to WAV or FLAC.") from error
    finally:
        bpy.data.scenes.remove(scene)
        for left in set(bpy.data.sounds) - before:
            bpy.data.sounds.remove(left)
    return lambda pulse: read_wav(made)
