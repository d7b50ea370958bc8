"""What tells Parley's own actions, strips and tracks from the artist's."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
import re
from typing import Any

import bpy
import numpy as np

from . import compat, keyframes

PART, TAKE, HASH = "parley_part", "parley_take", "parley_hash"
LEGACY = re.compile(rf"({keyframes.FACE_ACTION}|{keyframes.HEAD_ACTION})(\.\d{{3}})?")
"""Actions that film scenes play, made active by an earlier way of keying; an artist's keys on the same objects make
Blender call theirs "Parley HeadAction"."""
ASIDE = "(edited)"


def owned(action: Any) -> bool:
    """Whether Parley made `action` and nobody has edited it since."""
    return PART in action and action.get(HASH) == fingerprint(action)


def fingerprint(action: Any) -> str:
    """Hash of all keys of `action`: which channels, when, what. Keys on every frame are interpolated in no way."""
    digest = Digest()
    for curve in compat.action_curves(action):
        points = curve.keyframe_points
        values = np.empty(2 * len(points), np.float32)
        points.foreach_get("co", values)
        digest.add(curve, values)
    return digest.text


class Digest:
    """A fingerprint in the making: of curves as they are written, for reading them back takes longer than writing."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, curve: Any, values: np.ndarray) -> None:
        """The next curve of the action, with its frames and values, (2 N,) or (N, 2) float32."""
        self._hash.update(f"{curve.data_path}[{curve.array_index}]{curve.mute}{len(curve.modifiers)}".encode())
        self._hash.update(np.ascontiguousarray(values, np.float32).tobytes())

    @property
    def text(self) -> str:
        """The fingerprint."""
        return self._hash.hexdigest()[:32]


def legacy(action: Any) -> bool:
    """Whether `action` is Parley's from an earlier way of keying, which made it active."""
    return action is not None and PART not in action and LEGACY.fullmatch(action.name) is not None


def channels(strip: Any) -> Any:
    """The collection with the F-curves that the NLA strip `strip` plays, its slot's alone; None where there is none."""
    action, slot = strip.action, getattr(strip, "action_slot", None)
    if not hasattr(action, "slots"):
        return action
    for layer in action.layers:
        for part in layer.strips:
            bag = part.channelbag(slot) if slot is not None else None
            if bag is not None:
                return bag
    return None


def curves(strip: Any) -> list[bpy.types.FCurve]:
    """The F-curves that `strip` plays."""
    bag = channels(strip) if strip.action is not None else None
    return list(bag.fcurves) if bag is not None else []


def parleys(owner: Any) -> list[Any]:
    """The strips of `owner` whose actions Parley made, also those put aside after the artist edited them."""
    data = owner.animation_data
    return [strip for track in (data.nla_tracks if data is not None else ()) for strip in track.strips
            if strip.action is not None and (PART in strip.action or track.name.endswith(ASIDE))]


def artists(owner: Any) -> set[tuple[str, int]]:
    """(data path, index) of what the artist's own action and strips animate of `owner`; muted tracks don't count."""
    data = owner.animation_data
    if data is None:
        return set()
    found = [] if data.action is None or PART in data.action or legacy(data.action) else compat.fcurves(owner)
    for track in data.nla_tracks:
        for strip in track.strips if not track.mute else ():
            if strip.action is not None and PART not in strip.action:
                found = [*found, *curves(strip)]
    return {(curve.data_path, curve.array_index) for curve in found}
