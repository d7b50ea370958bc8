"""Parley's own animation beside the artist's: an action each for speech, eyes and head, as strips of the NLA.

Shape keys have one active action, and that place is the artist's: what they key there plays on top of Parley's
strips, which lie in tracks of their own. An action that Parley made carries marks and the hash of its keys; a new bake
removes only actions whose hash still fits, and only once the new ones are complete. Edited ones are put aside, muted.
This works the same from Blender 4.2 to 5.x; since 4.4 strips name a slot as well.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np
from mathutils import Euler

from ..core.errors import UserInputError
from ..core.performance import Performance, resample
from ..core.timing import FrameClock
from . import compat, keyframes, space
from .rig import Head

SPEECH, EYES, HEAD = "Parley Speech", "Parley Eyes", "Parley Head"
EYE_CHANNELS = ("eyeBlink", "eyeLook")
PART, TAKE, HASH = "parley_part", "parley_take", "parley_hash"
BASE, REST = "parley_base", "parley_rest"
LEGACY = (keyframes.FACE_ACTION, keyframes.HEAD_ACTION)


@dataclass
class Written:
    """What a bake did: the `frames` (N,) int64 keyed, and what the user should know."""

    frames: np.ndarray
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Layer:
    owner: Any
    part: str
    action: Any


def write(head: Head, performance: Performance, clock: FrameClock, take: str,
          window: tuple[int, int] | None = None) -> Written:
    """Key `head` with `performance` at the whole frames of `clock` in strips of its own.

    Parameters
    ----------
    take : which speech this is; what was baked of the same one before is replaced
    window : first and last scene frame that may be keyed; None = the whole performance

    Raises
    ------
    UserInputError
        If the head can't take animation, or nothing lies in the window; the scene is as before then.
    """
    _check(head)
    frames = _frames(performance, clock, window)
    times = np.clip(clock.seconds(frames.astype(np.float64)), performance.times[0], performance.times[-1])
    samples = resample(performance, times)
    written = Written(frames, _muted(head, performance))
    made: list[_Layer] = []
    try:
        made += _face(head, samples, frames)
        made.append(_head(head, samples, frames, performance.pose[:, 3:].mean(0)))
    except BaseException:
        for layer in made:
            bpy.data.actions.remove(layer.action)
        raise
    for layer in made:
        _free_the_active_place(layer.owner, written)
        _put(layer, take, frames, written)
    return written


def lay(owner: Any, part: str, action: Any, take: str, written: Written) -> None:
    """Lay the complete `action` made for `owner` as `part` into its NLA, in place of what `take` had there before."""
    _free_the_active_place(owner, written)
    _put(_Layer(owner, part, action), take, written.frames, written)


def owned(action: Any) -> bool:
    """Whether Parley made `action` and nobody has edited it since."""
    return PART in action and action.get(HASH) == fingerprint(action)


def fingerprint(action: Any) -> str:
    """Hash of all keys of `action`: which channels, when, what. Keys on every frame are interpolated in no way."""
    digest = hashlib.sha256()
    for curve in compat.action_curves(action):
        points = curve.keyframe_points
        values = np.empty(2 * len(points), np.float32)
        points.foreach_get("co", values)
        digest.update(f"{curve.data_path}[{curve.array_index}]{curve.mute}{len(curve.modifiers)}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:32]


def _check(head: Head) -> None:
    for item in (head.empty, head.keys):
        if item.library is not None:
            raise UserInputError(f"{item.name} is linked from {item.library.filepath} and can't be keyed; make a "
                                 "library override of the head first.")
        data = item.animation_data
        if data is not None and data.use_tweak_mode:
            raise UserInputError(f"{item.name} is in the NLA editor's tweak mode; leave it (Tab) and press again.")


def _frames(performance: Performance, clock: FrameClock, window: tuple[int, int] | None) -> np.ndarray:
    frames = clock.frames_until(float(performance.times[-1]))
    if window is not None:
        frames = frames[(frames >= window[0]) & (frames <= window[1])]
    if not len(frames):
        raise UserInputError("None of the speech lies in the chosen range of frames; widen the range.")
    return frames


def _muted(head: Head, performance: Performance) -> list[str]:
    blocks = head.keys.key_blocks
    muted = [name for name in performance.names if name in blocks and blocks[name].mute]
    if not muted:
        return []
    return [f"{len(muted)} shape keys of {head.mesh.name} are muted and won't be seen: {', '.join(muted[:3])}"
            f"{' …' if len(muted) > 3 else ''}."]


def _face(head: Head, samples: Performance, frames: np.ndarray) -> list[_Layer]:
    """The two layers of the shape keys."""
    keys, blocks = head.keys, head.keys.key_blocks
    made = []
    for part in (SPEECH, EYES):
        names = [name for name in samples.names
                 if name in blocks and name.startswith(EYE_CHANNELS) == (part == EYES)]
        if not names:
            continue
        action, bag = compat.new_action(keys, part)
        made.append(_Layer(keys, part, action))
        for name in names:
            path = f'key_blocks["{bpy.utils.escape_identifier(name)}"].value'
            _curve(bag, path, 0, "Expressions", frames, samples.expression[:, samples.names.index(name)])
    return made


def _head(head: Head, samples: Performance, frames: np.ndarray, home: np.ndarray) -> _Layer:
    """The layer of the empty: about the place where the artist put it."""
    euler, location = _placed(head, samples.pose, home)
    action, bag = compat.new_action(head.empty, HEAD)
    for axis in range(3):
        _curve(bag, "location", axis, "Pose", frames, location[:, axis])
        _curve(bag, "rotation_euler", axis, "Pose", frames, euler[:, axis])
    return _Layer(head.empty, HEAD, action)


def _placed(head: Head, pose: np.ndarray, home: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Euler angles and locations (T, 3) of `pose` (T, 6) for a head that stands where it was put.

    `home` (3,) is the performance's own mean position, metres in camera space.
    """
    empty = head.empty
    if BASE not in empty or not _strips_of(empty, HEAD):
        empty[BASE] = [*map(float, empty.location), *map(float, empty.rotation_euler)]
    base = np.array(empty[BASE], np.float64)
    rest = np.array(empty.get(REST, (0.0,) * 6), np.float64)
    rest_euler = space.pose_to_channels(rest[None], rest[3:])[0][0]
    euler, location = space.pose_to_channels(pose, home)
    if np.abs(base[3:] - rest_euler).max() < 1e-5:
        return euler, base[:3] + location
    last = Euler(base[3:].tolist(), space.ROTATION_MODE)
    turn = last.to_matrix() @ Euler(rest_euler.tolist(), space.ROTATION_MODE).to_matrix().inverted()
    turned = []
    for angles in euler.tolist():
        last = (turn @ Euler(angles, space.ROTATION_MODE).to_matrix()).to_euler(space.ROTATION_MODE, last)
        turned.append((last.x, last.y, last.z))
    return np.array(turned), base[:3] + location @ np.array(turn).T


def _curve(bag: Any, path: str, index: int, group: str, frames: np.ndarray, values: np.ndarray) -> None:
    keyframes.fill_curve(compat.curve_in(bag, path, index, group), frames, values)


def _strips_of(owner: Any, part: str) -> list[tuple[Any, Any]]:
    """(track, strip) of every strip of `owner` that plays an action made as `part`."""
    data = owner.animation_data
    if data is None:
        return []
    return [(track, strip) for track in data.nla_tracks for strip in track.strips
            if strip.action is not None and strip.action.get(PART) == part]


def _free_the_active_place(owner: Any, written: Written) -> None:
    """Take an action of Parley's own that an earlier way of keying made active out of the way; it is kept."""
    data = owner.animation_data
    action = data.action if data is not None else None
    if action is not None and PART not in action and action.name.startswith(LEGACY):
        action.use_fake_user = True
        data.action = None
        written.notes.append(f"The earlier keys of {owner.name} are kept as the action {action.name}.")


def _put(layer: _Layer, take: str, frames: np.ndarray, written: Written) -> None:
    """Make room for the new action, which is complete, and lay it there."""
    first, last = float(frames[0]), float(max(frames[-1], frames[0] + 1))
    for track, strip in _strips_of(layer.owner, layer.part):
        if strip.action.get(TAKE) == take or (strip.frame_start < last and strip.frame_end > first):
            _clear(layer.owner, track, strip, written)
    layer.action[PART], layer.action[TAKE] = layer.part, take
    layer.action[HASH] = fingerprint(layer.action)
    layer.action.name = layer.part
    data = layer.owner.animation_data or layer.owner.animation_data_create()
    track = _track(data, layer.part, first, last)
    strip = track.strips.new(layer.part, int(first), layer.action)
    compat.assign_strip_slot(strip)
    strip.blend_type, strip.use_auto_blend = "REPLACE", False
    for index, one in enumerate(track.strips):
        one.extrapolation = "HOLD_FORWARD" if index else "HOLD"


def _track(data: Any, name: str, first: float, last: float) -> Any:
    """A track of Parley's with room between two frames."""
    for track in data.nla_tracks:
        if track.name.startswith(name) and not track.name.endswith(_ASIDE) and not track.lock and all(
                strip.frame_start >= last or strip.frame_end <= first for strip in track.strips):
            return track
    track = data.nla_tracks.new()
    track.name = name
    return track


_ASIDE = "(edited)"


def _clear(owner: Any, track: Any, strip: Any, written: Written) -> None:
    """Remove a strip that Parley made; one with edited keys goes to a muted track and is the artist's from now on."""
    action, start = strip.action, int(strip.frame_start)
    mine = owned(action)
    track.strips.remove(strip)
    if mine:
        if action.users == 0:
            bpy.data.actions.remove(action)
        return
    for mark in (PART, TAKE, HASH):
        del action[mark]
    action.name, action.use_fake_user = f"{action.name} {_ASIDE}", True
    aside = owner.animation_data.nla_tracks.new()
    aside.name, aside.mute = f"{track.name} {_ASIDE}", True
    compat.assign_strip_slot(aside.strips.new(action.name, start, action))
    written.notes.append(f"Your edits of {track.name} are kept, muted, in the NLA track {aside.name}.")
