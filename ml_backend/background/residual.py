"""How far the head may be turned within a plate: the wanted pose as far as a warp can bring it about unseen."""

from __future__ import annotations

import numpy as np

LIMIT = np.array([0.105, 0.115, 0.14, 0.03, 0.03])
"""Most that is turned (pitch, yaw, roll, radians) and shifted (x, y, metres): 6°, 6.6°, 8°, 3 cm. Beyond, hair and
ears, which the plate shows from one side only, begin to look wrong."""
NEARER = 0.03
"""Most by which the distance is changed, of itself."""
FREE = 0.6
"""Up to this share of the limit the wanted pose is met exactly; beyond, it is approached ever more slowly."""


def reachable_pose(wanted: np.ndarray, plate: np.ndarray, *, amount: float = 1.0) -> np.ndarray:
    """The pose to show over a plate: the wanted one where the plate's head is near it, else part of the way.

    Parameters
    ----------
    wanted : (N, 6) pitch, yaw, roll (radians), x, y, z (metres)
    plate : (N, 6) of the heads in the plates
    amount : scale of the limits; 0 gives the plates' own poses

    Returns
    -------
    (N, 6) float64
    """
    wanted, plate = np.asarray(wanted, np.float64), np.asarray(plate, np.float64)
    if amount <= 0:
        return plate.copy()
    limit = amount * np.concatenate([np.broadcast_to(LIMIT, (len(plate), 5)), NEARER * np.abs(plate[:, 5:])], 1)
    return plate + limit * _soft((wanted - plate) / np.maximum(limit, 1e-9))


def _soft(value: np.ndarray) -> np.ndarray:
    """The value up to `FREE`, then smoothly towards ±1."""
    beyond = np.maximum(np.abs(value) - FREE, 0)
    room = 1 - FREE
    return np.sign(value) * (np.minimum(np.abs(value), FREE) + room * np.tanh(beyond / room))
