"""How far a head may turn from the pose of its only picture: what that never showed can only be guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRAIGHT = 0.6
"""Share of a limit up to which motion stays as it is; beyond, it bends towards the limit."""


@dataclass(frozen=True)
class HeadLimits:
    """Greatest distances from the picture's pose: degrees for `pitch`, `yaw`, `roll`, metres for `shift`.

    A head that is turned already turns less far the same way: `profile` degrees of yaw and `nod` of pitch in all, but
    never less than `least`.
    """

    pitch: float = 15.0
    yaw: float = 25.0
    roll: float = 12.0
    shift: float = 0.03
    profile: float = 42.0
    nod: float = 30.0
    least: float = 5.0


def within(pose: np.ndarray, rest: np.ndarray, limits: HeadLimits | None = None) -> np.ndarray:
    """`pose` (T, 6) bent so that it stays near `rest` (6,): radians and metres, the same dtype.

    Smooth, and unchanged for small motion.
    """
    limits = limits or HeadLimits()
    centre = np.asarray(rest, np.float64)
    ends = np.array([limits.pitch, limits.yaw, limits.roll])
    totals = np.array([limits.nod, limits.profile, np.inf])
    turned = np.degrees(centre[:3])
    up = np.clip(totals - turned, limits.least, ends)
    down = np.clip(totals + turned, limits.least, ends)
    high = np.concatenate([np.radians(up), np.full(3, limits.shift)])
    low = np.concatenate([np.radians(down), np.full(3, limits.shift)])
    offset = np.asarray(pose, np.float64) - centre
    bent = np.where(offset > 0, _bent(offset, high), -_bent(-offset, low))
    return (centre + bent).astype(np.asarray(pose).dtype)


def _bent(offset: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """`offset` ≥ 0 as it is up to `STRAIGHT` of the limit, then towards it without ever getting there."""
    knee = STRAIGHT * limit
    room = limit - knee
    return np.where(offset <= knee, offset, knee + room * np.tanh((offset - knee) / room))
