"""Going over to live amounts and back: what Parley's strips animate changes, what is seen does not.

Live: a strip plays custom properties, drivers put them onto sliders and transforms (see `amounts`). Direct: a strip
plays sliders and transforms themselves, which an artist can key as well; the amounts are multiplied into its keys then.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..core.amounts import FACE, HEAD
from . import amounts, compat, keyframes, strips
from .rig import Head

ROTATION = ("nod", "tilt", "turn")
"""By the axis of `space.ROTATION_MODE` that each turns about where the head was not turned by hand."""


def sliders(keys: Any, names: Iterable[str]) -> set[str]:
    """Those of the shape keys `names` that amounts can drive: not keyed by the artist, without other drivers."""
    if borrowed(keys):
        return set()  # new custom properties don't stay on what belongs to another file
    taken = strips.artists(keys) | amounts.foreign_drivers(keys)
    return {name for name in names if name in keys.key_blocks and (amounts.slider(name), 0) not in taken}


def borrowed(keys: Any) -> bool:
    """Whether the shape keys, or the mesh that has them, belong to another file."""
    return any(block is not None and (block.library is not None or block.override_library is not None)
               for block in (keys, keys.user))


def turns(empty: Any) -> bool:
    """Whether amounts can drive the head: the artist moves it by neither keys nor drivers."""
    if empty.override_library is not None:
        return False
    taken = {name for name, _ in strips.artists(empty) | amounts.foreign_drivers(empty)}
    return not taken & {"location", "rotation_euler"}


def go_live(keys: Any, item: Any, parts: Mapping[str, tuple[str, ...]]) -> None:
    """Have the sliders of the shape keys in `parts` follow what their strips play times amounts of the object `item`.

    `parts` : shape key → names of the amounts that scale it.
    """
    amounts.add(item, FACE)
    names = {amounts.slider(name): amounts.path(name) for name in parts}
    for action, found, _ in _played(keys):
        direct = [curve for curve in found if curve.data_path in names]
        mine = bool(direct) and strips.owned(action)
        for curve in direct:
            curve.data_path = names[curve.data_path]
        _sign(action, mine)
    for name, factors in parts.items():
        amounts.drive_slider(keys, name, item, factors)


def go_live_head(empty: Any, base: np.ndarray) -> None:
    """Have the head follow its motions times its amounts about its place `base` (6,): location, Euler angles."""
    amounts.add(empty, HEAD)
    for action, found, _ in _played(empty):
        direct = [curve for curve in found if curve.data_path in ("location", "rotation_euler")]
        mine = bool(direct) and strips.owned(action)
        for curve in direct:
            axis, far = curve.array_index, curve.data_path == "location"
            _shift(curve, -base[axis if far else 3 + axis])
            curve.data_path = amounts.path(amounts.MOTIONS["move" if far else ROTATION[axis]])
        _sign(action, mine)
    amounts.drive_head(empty, base)


def go_direct(keys: Any) -> None:
    """Multiply the amounts into the keys of Parley's strips on shape keys, and give the sliders free."""
    factors = _factors(keys)
    names = {amounts.path(name): name for name in factors}
    for action, found, offset in _played(keys):
        mine = strips.owned(action)
        for curve in found:
            name = names.get(curve.data_path)
            if name is None:
                continue
            points = _points(curve)
            for item, part in factors[name]:
                points[:, 1] *= amounts.at(item, part, points[:, 0] + offset)
            block = keys.key_blocks[name]
            points[:, 1] = np.clip(points[:, 1], block.slider_min, block.slider_max)
            curve.keyframe_points.foreach_set("co", points.astype(np.float32).ravel())
            curve.data_path = amounts.slider(name)
            curve.update()
        _sign(action, mine)
    amounts.undrive(keys)
    for name in factors:
        if name in keys:
            del keys[name]


def go_direct_head(empty: Any, base: np.ndarray) -> None:
    """Multiply the amounts into the keys of Parley's strips of the head about `base` (6,), and give it free."""
    for action, found, offset in _played(empty):
        mine = strips.owned(action)
        table = {(curve.data_path, curve.array_index): curve for curve in found}
        for axis in range(3):
            _together(empty, table, "location", axis, base[axis], ("move",), offset)
            _together(empty, table, "rotation_euler", axis, base[3 + axis], amounts.ROTATIONS, offset)
        _sign(action, mine)
    amounts.undrive(empty)
    amounts.remove(empty)


def is_live(head: Head) -> bool:
    """Whether any of the head's sliders or its place follows amounts."""
    data = head.empty.animation_data
    return bool(amounts.live(head.keys)) or any(map(amounts.is_ours, data.drivers if data is not None else ()))


def _played(owner: Any) -> list[tuple[Any, list[Any], float]]:
    """(action, its curves, scene frame of its frame 0) of all Parley's strips, and of its active action if it has one.

    Actions that somebody else plays as well are made `owner`'s own first.
    """
    found, seen = [], set()
    own = [strip for strip in strips.parleys(owner)]
    for strip in own:
        uses = sum(other.action == strip.action for other in own)
        if strip.action.users - bool(strip.action.use_fake_user) > uses:
            _copy(own, strip.action)
        if strip.action not in seen:
            seen.add(strip.action)
            found.append((strip.action, strips.curves(strip), strip.frame_start - strip.action_frame_start))
    data = owner.animation_data
    if data is not None and strips.legacy(data.action):
        found.append((data.action, compat.fcurves(owner), 0.0))
    return found


def _copy(own: list[Any], action: Any) -> None:
    copied = action.copy()
    for strip in own:
        if strip.action == action:
            strip.action = copied
            compat.assign_strip_slot(strip)


def _sign(action: Any, mine: bool) -> None:
    """Keep an action that nobody had edited known as such."""
    if mine:
        action[strips.HASH] = strips.fingerprint(action)


def _points(curve: Any) -> np.ndarray:
    """(N, 2) frames and values."""
    values = np.empty(2 * len(curve.keyframe_points), np.float32)
    curve.keyframe_points.foreach_get("co", values)
    return values.reshape(-1, 2).astype(np.float64)


def _shift(curve: Any, by: float) -> None:
    points = _points(curve)
    points[:, 1] += by
    curve.keyframe_points.foreach_set("co", points.astype(np.float32).ravel())
    curve.update()


def _factors(keys: Any) -> dict[str, list[tuple[Any, str]]]:
    """Shape key → (object, amount) of what its driver multiplies."""
    names = {amount.key: name for name, amount in FACE.items()}
    blocks = {amounts.slider(block.name): block.name for block in keys.key_blocks}
    found: dict[str, list[tuple[Any, str]]] = {}
    data = keys.animation_data
    for driver in data.drivers if data is not None else ():
        if amounts.is_ours(driver) and driver.data_path in blocks:
            targets = [variable.targets[0] for variable in driver.driver.variables if variable.name != amounts.MARK]
            found[blocks[driver.data_path]] = [
                (target.id, names[target.data_path[2:-2]]) for target in targets
                if target.id is not None and target.data_path[2:-2] in names]
    return found


def _together(empty: Any, table: Mapping[tuple[str, int], Any], channel: str, axis: int, base: float,
              parts: Iterable[str], offset: float) -> None:
    """One direct curve of what the amounts `parts` scaled, in place of theirs."""
    ways = {part: curve for part in parts
            if (curve := table.get((amounts.path(amounts.MOTIONS[part]), axis))) is not None}
    if not ways:
        return
    frames = np.unique(np.concatenate([_points(curve)[:, 0] for curve in ways.values()]))
    values = np.full(len(frames), base)
    for part, curve in ways.items():
        values += amounts.at(empty, part, frames + offset) * [curve.evaluate(float(frame)) for frame in frames]
    first, *rest = ways.values()
    first.data_path = channel
    first.keyframe_points.clear()
    keyframes.fill_curve(first, frames, values)
    for curve in rest:
        curve.id_data.fcurves.remove(curve) if not hasattr(curve.id_data, "slots") else _drop(curve)


def _drop(curve: Any) -> None:
    for layer in curve.id_data.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                if any(one == curve for one in bag.fcurves):
                    bag.fcurves.remove(curve)
                    return
