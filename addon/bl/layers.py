"""Parley's own animation beside the artist's: an action each for speech, eyes and head, as strips of the NLA.

Shape keys have one active action, and that place is the artist's: what they key there plays on top of Parley's
strips, which lie in tracks of their own. An action that Parley made carries marks and the hash of its keys; a new bake
removes only actions whose hash still fits, and only once the new ones are complete. Edited ones are put aside, muted.
This works the same from Blender 4.2 to 5.x; since 4.4 strips name a slot as well. With live amounts a strip plays
custom properties, and drivers put those onto the sliders (see `amounts`).
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np
from mathutils import Euler

from ..core.amounts import factors
from ..core.errors import UserInputError
from ..core.performance import Performance, resample
from ..core.timing import FrameClock
from . import amounts, compat, keyframes, space
from . import live as lives
from .rig import Head
from .strips import ASIDE, HASH, PART, TAKE, Digest, fingerprint, legacy, owned

SPEECH, EYES, HEAD = "Parley Speech", "Parley Eyes", "Parley Head"
EYE_CHANNELS = ("eyeBlink", "eyeLook")
BASE, REST = "parley_base", "parley_rest"


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
    digest: Digest | None = None


def write(head: Head, performance: Performance, clock: FrameClock, take: str,
          window: tuple[int, int] | None = None, live: bool = False) -> Written:
    """Key `head` with `performance` at the whole frames of `clock` in strips of its own.

    Parameters
    ----------
    take : which speech this is; what was baked of the same one before is replaced
    window : first and last scene frame that may be keyed; None = the whole performance
    live : amounts stay adjustable, by drivers; False = the sliders themselves are keyed

    Raises
    ------
    UserInputError
        If the head can't take animation, or nothing lies in the window; the scene is as before then.
    """
    check(head)
    frames = _frames(performance, clock, window)
    times = np.clip(clock.seconds(frames.astype(np.float64)), performance.times[0], performance.times[-1])
    samples = resample(performance, times)
    written = Written(frames, _muted(head, performance))
    sliders = lives.sliders(head.keys, set(performance.names) | amounts.live(head.keys)) if live else set()
    turns = live and lives.turns(head.empty)
    made: list[_Layer] = []
    try:
        made += _face(head, samples, frames, sliders)
        made.append(_head(head, samples, frames, performance.pose[:, 3:].mean(0), turns))
    except BaseException:
        for layer in made:
            bpy.data.actions.remove(layer.action)
        raise
    written.notes += _switch(head, sliders, turns, live)
    for layer in made:
        _free_the_active_place(layer.owner, written)
        _put(layer, take, frames, written)
    return written


def switch(head: Head, live: bool) -> list[str]:
    """Have all that Parley keyed on `head` follow live amounts, or none of it; returns what the user should know.

    What is seen stays as it is. Raises `UserInputError` if the head can't take animation.
    """
    check(head)
    sliders = lives.sliders(head.keys, [block.name for block in head.keys.key_blocks[1:]]) if live else set()
    return _switch(head, sliders, live and lives.turns(head.empty), live)


def _switch(head: Head, sliders: set[str], turns: bool, live: bool) -> list[str]:
    base = _base(head)
    if not live:
        if lives.is_live(head):
            lives.go_direct(head.keys)
            lives.go_direct_head(head.empty, base)
        return []
    lives.go_live(head.keys, head.empty, {name: factors(name) for name in sorted(sliders)})
    notes = []
    if lives.borrowed(head.keys):
        notes.append(f"{head.keys.name} is a library override: amounts are baked into its keys.")
    if turns:
        lives.go_live_head(head.empty, base)
    else:
        notes.append(f"{head.empty.name} is moved by you as well, so its amounts are baked into Parley's keys.")
    return notes


def lay(owner: Any, part: str, action: Any, take: str, written: Written) -> None:
    """Lay the complete `action` made for `owner` as `part` into its NLA, in place of what `take` had there before."""
    _free_the_active_place(owner, written)
    _put(_Layer(owner, part, action), take, written.frames, written)


def check(head: Head) -> None:
    """Raise `UserInputError` if the head can't take animation: linked, or in tweak mode."""
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


def _face(head: Head, samples: Performance, frames: np.ndarray, sliders: set[str]) -> list[_Layer]:
    """The two layers of the shape keys; those in `sliders` are keyed by their custom properties."""
    keys, blocks = head.keys, head.keys.key_blocks
    made = []
    for part in (SPEECH, EYES):
        names = [name for name in samples.names
                 if name in blocks and name.startswith(EYE_CHANNELS) == (part == EYES)]
        if not names:
            continue
        action, bag = compat.new_action(keys, part)
        digest = Digest()
        made.append(_Layer(keys, part, action, digest))
        for name in names:
            path = amounts.path(name) if name in sliders else amounts.slider(name)
            _curve(bag, path, 0, "Expressions", frames, samples.expression[:, samples.names.index(name)], digest)
    return made


def _head(head: Head, samples: Performance, frames: np.ndarray, home: np.ndarray, live: bool) -> _Layer:
    """The layer of the empty: about the place where the artist put it."""
    ways, location = _placed(head, samples.pose, home)
    base = _base(head)
    action, bag = compat.new_action(head.empty, HEAD)
    digest = Digest()
    for axis in range(3):
        if not live:
            _curve(bag, "location", axis, "Pose", frames, base[axis] + location[:, axis], digest)
            turned = base[3 + axis] + np.sum(ways, axis=0)[:, axis]
            _curve(bag, "rotation_euler", axis, "Pose", frames, turned, digest)
            continue
        for key, values in zip((*amounts.ROTATIONS, "move"), (*ways, location), strict=True):
            # A head that was not turned by hand nods about one axis alone: no curves that are nothing.
            if np.abs(values[:, axis]).max() > 1e-7:
                _curve(bag, amounts.path(amounts.MOTIONS[key]), axis, "Pose", frames, values[:, axis], digest)
    return _Layer(head.empty, HEAD, action, digest)


def _base(head: Head) -> np.ndarray:
    """(6,) location and Euler angles where the artist put the head, before Parley moved it."""
    empty = head.empty
    if BASE not in empty or not (_strips_of(empty, HEAD) or lives.is_live(head)):
        empty[BASE] = [*map(float, empty.location), *map(float, empty.rotation_euler)]
    return np.array(empty[BASE], np.float64)


def _placed(head: Head, pose: np.ndarray, home: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """What nodding, turning and tilting, each (T, 3), add to the head's Euler angles, and (T, 3) to its location.

    `pose` (T, 6); `home` (3,) is the performance's own mean position, metres in camera space. The three add up to the
    pose exactly; scaled they are exact for a head that stands upright, and close to it for one that was turned by hand.
    """
    base = _base(head)
    rest = np.array(head.empty.get(REST, (0.0,) * 6), np.float64)
    rest_euler = space.pose_to_channels(rest[None], rest[3:])[0][0]
    euler, location = space.pose_to_channels(pose, home)
    turn = _turn(base[3:], rest_euler)
    before, ways, angles = np.tile(base[3:], (len(euler), 1)), [], np.tile(rest_euler, (len(euler), 1))
    for axis in (lives.ROTATION.index(key) for key in amounts.ROTATIONS):
        angles[:, axis] = euler[:, axis]
        after = _turned(turn, angles, base[3:])
        ways.append(after - before)
        before = after
    return ways, location if turn is None else location @ np.array(turn).T


def _turn(base: np.ndarray, rest: np.ndarray) -> Any | None:
    """The rotation by which the artist turned the head away from `rest`; None for none."""
    if np.abs(base - rest).max() < 1e-5:
        return None
    matrices = [Euler(angles.tolist(), space.ROTATION_MODE).to_matrix() for angles in (base, rest)]
    return matrices[0] @ matrices[1].inverted()


def _turned(turn: Any | None, angles: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(T, 3) Euler `angles` (T, 3) after `turn`, going on from `start` (3,) without jumps."""
    if turn is None:
        return angles.copy()
    last, turned = Euler(start.tolist(), space.ROTATION_MODE), []
    for row in angles.tolist():
        last = (turn @ Euler(row, space.ROTATION_MODE).to_matrix()).to_euler(space.ROTATION_MODE, last)
        turned.append((last.x, last.y, last.z))
    return np.array(turned)


def _curve(bag: Any, path: str, index: int, group: str, frames: np.ndarray, values: np.ndarray,
           digest: Digest) -> None:
    curve = compat.curve_in(bag, path, index, group)
    keyframes.fill_curve(curve, frames, values)
    digest.add(curve, np.column_stack([frames, values]).astype(np.float32))


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
    if legacy(action):
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
    layer.action[HASH] = fingerprint(layer.action) if layer.digest is None else layer.digest.text
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
        if track.name.startswith(name) and not track.name.endswith(ASIDE) and not track.lock and all(
                strip.frame_start >= last or strip.frame_end <= first for strip in track.strips):
            return track
    track = data.nla_tracks.new()
    track.name = name
    return track


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
    action.name, action.use_fake_user = f"{action.name} {ASIDE}", True
    aside = owner.animation_data.nla_tracks.new()
    aside.name, aside.mute = f"{track.name} {ASIDE}", True
    compat.assign_strip_slot(aside.strips.new(action.name, start, action))
    written.notes.append(f"Your edits of {track.name} are kept, muted, in the NLA track {aside.name}.")
