"""Amounts in Blender: custom properties that drivers multiply into what Parley's strips play.

While amounts are live, a strip animates a custom property named like its shape key (of the head: *Nod*, *Turn*, *Tilt*
and *Move*), and a driver puts property × amounts onto the slider. The drivers only multiply and add, so Blender works
them out itself: with Python in drivers switched off, on a farm without this add-on, in every version since 4.2.
Sliders that an artist keys, and such that have drivers of their own, are left as they are.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np

from ..core.amounts import ALL, MOST
from . import compat

MARK = "parley"
"""Name of the variable by which a driver of Parley's own is known."""
MOTIONS = {"nod": "Nod", "turn": "Turn", "tilt": "Tilt", "move": "Move"}
"""Amount → custom property (3 floats) with the motion that it scales; rotations in radians, the last in metres."""
ROTATIONS = ("nod", "turn", "tilt")


def has(item: Any, key: str = "mouth") -> bool:
    """Whether the object `item` carries the amount `key`."""
    return item is not None and ALL[key].key in item


def add(item: Any, names: Iterable[str]) -> None:
    """Give the object `item` the amounts `names` at 1; those that it has keep their values."""
    for name in names:
        amount = ALL[name]
        if amount.key in item:
            continue
        item[amount.key] = 1.0
        item.id_properties_ui(amount.key).update(min=0.0, max=MOST, soft_min=0.0, soft_max=2.0, default=1.0, step=0.05,
                                                 precision=2, description=amount.about)
        # So that a head that is linked from another file can be adjusted through a library override.
        item.property_overridable_library_set(path(amount.key), True)


def remove(item: Any) -> None:
    """Take all amounts, and what animates the head through them, from `item`."""
    for name in (*(amount.key for amount in ALL.values()), *MOTIONS.values()):
        if name in item:
            del item[name]


def path(name: str) -> str:
    """Data path of the custom property `name`."""
    return f'["{bpy.utils.escape_identifier(name)}"]'


def slider(name: str) -> str:
    """Data path of the slider of the shape key `name`."""
    return f'key_blocks["{bpy.utils.escape_identifier(name)}"].value'


def is_ours(driver: Any) -> bool:
    """Whether the driver's F-curve `driver` was made here."""
    return any(variable.name == MARK for variable in driver.driver.variables)


def foreign_drivers(owner: Any) -> set[tuple[str, int]]:
    """(data path, index) of the drivers of `owner` that aren't Parley's."""
    data = owner.animation_data
    return {(driver.data_path, driver.array_index) for driver in (data.drivers if data is not None else ())
            if not is_ours(driver)}


def live(keys: Any) -> set[str]:
    """Names of the shape keys whose sliders Parley's drivers hold."""
    data = keys.animation_data
    found = {driver.data_path for driver in (data.drivers if data is not None else ()) if is_ours(driver)}
    return {block.name for block in keys.key_blocks if slider(block.name) in found} if found else set()


def drive_slider(keys: Any, name: str, item: Any, parts: Iterable[str]) -> None:
    """Have the shape key `name` follow its custom property times the amounts `parts` of the object `item`."""
    if name not in keys:
        keys[name] = 0.0
    _drive(keys, slider(name), -1, [(keys, "KEY", path(name)), *((item, "OBJECT", path(ALL[part].key))
                                                                for part in parts)],
           " * ".join([MARK, *(f"a{number}" for number, _ in enumerate(parts, 1))]))


def drive_head(empty: Any, base: np.ndarray) -> None:
    """Have the empty follow its motions times its amounts about the place `base` (6,): location, Euler angles."""
    for key, name in MOTIONS.items():
        if name not in empty:
            empty[name] = [0.0, 0.0, 0.0]
            empty.id_properties_ui(name).update(subtype="TRANSLATION" if key == "move" else "EULER")
    for axis in range(3):
        _channel(empty, "location", axis, base[axis], ("move",))
        _channel(empty, "rotation_euler", axis, base[3 + axis], ROTATIONS)


def _channel(empty: Any, channel: str, axis: int, base: float, keys: Iterable[str]) -> None:
    sources, terms = [], [f"{base:.9g}"]
    for number, key in enumerate(keys):
        sources += [(empty, "OBJECT", f"{path(MOTIONS[key])}[{axis}]"), (empty, "OBJECT", path(ALL[key].key))]
        terms.append(f"{MARK if not number else f'a{2 * number}'} * a{2 * number + 1}")
    _drive(empty, channel, axis, sources, " + ".join(terms))


def _drive(owner: Any, data_path: str, index: int, sources: list[tuple[Any, str, str]], expression: str) -> None:
    """One driver of Parley's; an older one is brought up to date."""
    data = owner.animation_data or owner.animation_data_create()
    found = data.drivers.find(data_path, index=max(index, 0))
    if found is None:
        found = owner.driver_add(data_path) if index < 0 else owner.driver_add(data_path, index)
    driver = found.driver
    while len(driver.variables) > len(sources):
        driver.variables.remove(driver.variables[-1])
    for number, (item, kind, source) in enumerate(sources):
        variable = driver.variables[number] if number < len(driver.variables) else driver.variables.new()
        variable.name = f"a{number}" if number else MARK
        target = variable.targets[0]
        if target.id != item or target.data_path != source:
            target.id_type = kind
            target.id, target.data_path = item, source
    driver.type = "SCRIPTED"
    if driver.expression != expression:
        driver.expression = expression


def undrive(owner: Any) -> None:
    """Remove Parley's drivers from `owner`."""
    data = owner.animation_data
    for driver in [driver for driver in (data.drivers if data is not None else ()) if is_ours(driver)]:
        data.drivers.remove(driver)


def at(item: Any, name: str, frames: np.ndarray) -> np.ndarray:
    """(N,) values of the amount `name` of `item` at `frames` (N,), from its active action where that keys it."""
    key = ALL[name].key
    if key not in item:
        return np.ones(len(frames))
    for curve in compat.fcurves(item):
        if curve.data_path == path(key):
            return np.array([curve.evaluate(float(frame)) for frame in frames])
    return np.full(len(frames), float(item[key]))
