"""Somebody's own character as the goal of retargeting: its meshes' shape keys, read, judged and keyed."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..core.amounts import factors_of
from ..core.errors import UserInputError
from ..core.mapping_align import Raw
from . import amounts, compat, keyframes, layers, live

PART = "Parley Retarget"


@dataclass(frozen=True)
class Target:
    """A mesh object and what is to be known of its shape keys.

    Attributes
    ----------
    item : the object
    names : its keys without the basis
    driven, muted, locked : those of `names` that a driver (none of Parley's) holds, that are switched off, that are
        locked
    """

    item: Any
    names: list[str]
    driven: frozenset[str]
    muted: frozenset[str]
    locked: frozenset[str]

    @property
    def keys(self) -> Any:
        """The shape keys' data-block."""
        return self.item.data.shape_keys


def selected(context: bpy.types.Context) -> list[Target]:
    """The selected meshes with shape keys; raises `UserInputError` if there is none, or one can't be keyed."""
    return of(usable(context))


def usable(context: bpy.types.Context) -> list[Any]:
    """The objects of `selected`, fast enough for every redraw; raises the same."""
    meshes = [item for item in context.selected_objects if item.type == "MESH"]
    if not meshes and context.object is not None and context.object.type == "MESH":
        meshes = [context.object]
    if not meshes:
        raise UserInputError("No mesh is selected; select the character's head (and its teeth, brows and lashes).")
    found = [item for item in meshes if item.data.shape_keys is not None and len(item.data.shape_keys.key_blocks) > 1]
    if not found:
        names = ", ".join(item.name for item in meshes[:3])
        raise UserInputError(f"{names} has no shape keys; a face needs some before it can be animated.")
    for item in found:
        _check(item, item.data.shape_keys)
    return found


def of(meshes: Iterable[Any]) -> list[Target]:
    """`Target`s of the objects `meshes`, all with shape keys."""
    return [_target(item) for item in meshes]


def _target(item: Any) -> Target:
    keys = item.data.shape_keys
    blocks = [block for block in keys.key_blocks if block != keys.reference_key]
    names = {f'key_blocks["{bpy.utils.escape_identifier(block.name)}"].value': block.name for block in blocks}
    drivers = keys.animation_data.drivers if keys.animation_data is not None else ()
    return Target(item, [block.name for block in blocks],
                  frozenset(names[driver.data_path] for driver in drivers
                            if driver.data_path in names and not amounts.is_ours(driver)),
                  frozenset(block.name for block in blocks if block.mute),
                  frozenset(block.name for block in blocks if getattr(block, "lock_shape", False)))


def _check(item: Any, keys: Any) -> None:
    """Raise `UserInputError` where keys could not be written."""
    for block in (item, item.data, keys):
        if block.library is not None and block.override_library is None:
            raise UserInputError(f"{block.name} is linked from {block.library.filepath} and can't be keyed; make a "
                                 "library override of the object and of its mesh first.")
    if not keys.use_relative:
        raise UserInputError(f"The shape keys of {item.name} are absolute; tick Relative in their list first.")
    data = keys.animation_data
    if data is not None and data.use_tweak_mode:
        raise UserInputError(f"{item.name} is in the NLA editor's tweak mode; leave it (Tab) and press again.")


def notes(targets: Iterable[Target]) -> list[str]:
    """One sentence for each thing about `targets` that the user should know: drivers, muted, locked, scale."""
    said = []
    for target in targets:
        name = target.item.name
        if target.driven:
            said.append(f"Drivers of {name} are kept; not keyed: {_listed(target.driven)}.")
        if target.muted:
            said.append(f"Muted keys of {name} won't be seen: {_listed(target.muted)}.")
        if target.locked:
            said.append(f"Locked keys of {name} are keyed all the same: {_listed(target.locked)}.")
        if not evenly_scaled(target.item):
            said.append(f"{name} is scaled unevenly; apply the scale (Ctrl+A) before a geometric solve.")
    return said


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:4]) + (f" and {len(ordered) - 4} more" if len(ordered) > 4 else "")


def evenly_scaled(item: Any) -> bool:
    """Whether the object's scale is the same along its three axes, within a thousandth."""
    scale = np.abs(np.array(item.matrix_world.to_scale()))
    return bool(np.ptp(scale) <= 1e-3 * scale.max())


def raw(target: Target) -> Raw:
    """The mesh and its undriven keys, in milliseconds."""
    keys = target.keys
    names = [name for name in target.names if name not in target.driven]
    rest = _positions(keys.reference_key)
    moved = np.empty((len(names), *rest.shape), np.float32)
    for index, name in enumerate(names):
        moved[index] = _positions(keys.key_blocks[name])
    bases = [keys.key_blocks[name].relative_key.name for name in names]
    relative = np.array([names.index(base) if base in names else -1 for base in bases], np.int64)
    return Raw(target.item.name, rest, moved, relative, np.array(target.item.matrix_world)[:3], names)


def _positions(block: Any) -> np.ndarray:
    """(V, 3) float32."""
    values = np.empty(3 * len(block.data), np.float32)
    block.points.foreach_get("co", values)  # a hundred times as fast as `data`
    return values.reshape(-1, 3)


def raws(targets: Iterable[Target]) -> list[Raw]:
    """`raw` of each; raises `UserInputError` for an unevenly scaled object."""
    found = []
    for target in targets:
        if not evenly_scaled(target.item):
            raise UserInputError(f"{target.item.name} is scaled unevenly; apply its scale (Ctrl+A, Scale) first.")
        found.append(raw(target))
    return found


def gram(target: Target) -> tuple[list[str], np.ndarray]:
    """Names of the undriven keys, and the (K, K) products of their displacements."""
    part = raw(target).shapes()
    flat = part.moves.reshape(len(part.names), -1)
    return part.names, flat @ flat.T


def write(targets: Iterable[Target], values: Mapping[tuple[str, str], np.ndarray], frames: np.ndarray,
          take: str, sources: Mapping[tuple[str, str], Mapping[str, float]] | None = None) -> layers.Written:
    """Key the meshes' shape keys in actions of Parley's own, laid below whatever the artist has made active.

    Parameters
    ----------
    values : (object, key) → (N,) weights; keys that a driver holds are left alone
    frames : (N,) whole scene frames
    take : what the weights come from; an earlier bake of the same is replaced
    sources : (object, key) → the shapes that it shows: amounts on the first object stay adjustable, by drivers; None =
        the sliders themselves are keyed
    """
    written, targets = layers.Written(frames), list(targets)
    made = []
    parts = {target.item.name: _parts(target, values, sources or {}) for target in targets}
    try:
        for target in targets:
            names = [name for name in target.names
                     if name not in target.driven and (target.item.name, name) in values]
            if names:
                action, bag = compat.new_action(target.keys, PART)
                made.append((target.keys, action))
                for name in names:
                    _curve(target.keys, bag, name, frames, values[target.item.name, name],
                           name in parts[target.item.name])
    except BaseException:
        for _, action in made:
            bpy.data.actions.remove(action)
        raise
    for target in targets:
        if parts[target.item.name]:
            live.go_live(target.keys, targets[0].item, parts[target.item.name])
        elif amounts.live(target.keys):
            live.go_direct(target.keys)
    for owner, action in made:
        layers.lay(owner, PART, action, take, written)
        written.notes += artists_own(owner)
    return written


def _parts(target: Target, values: Mapping[tuple[str, str], np.ndarray],
           sources: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, tuple[str, ...]]:
    """Key → its amounts, for the keys of `target` that amounts can drive."""
    names = {name for mesh, name in values if mesh == target.item.name and (mesh, name) in sources}
    wanted = live.sliders(target.keys, names) if names else set()
    return {name: factors_of(sources[target.item.name, name]) for name in sorted(wanted)}


def _curve(keys: Any, bag: Any, name: str, frames: np.ndarray, values: np.ndarray, driven: bool) -> None:
    block = keys.key_blocks[name]
    path = amounts.path(name) if driven else amounts.slider(name)
    inside = np.clip(values, block.slider_min, block.slider_max)
    keyframes.fill_curve(compat.curve_in(bag, path, 0, "Expressions"), frames, inside)


def artists_own(owner: Any) -> list[str]:
    """A sentence if `owner` has an active action of the artist's, whose curves win over Parley's strips."""
    action = owner.animation_data.action if owner.animation_data is not None else None
    if action is None or not compat.fcurves(owner):
        return []
    return [f"The channels that your action {action.name} keys stay as you keyed them."]
