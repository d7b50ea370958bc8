"""How a tongue gets out of the mouth: over the teeth and the lip, not through them.

A shape key moves every point on a straight line, and from where a tongue rests behind the lower teeth no straight line
leads out. Half-way out (`tongueOut` 0.5) it therefore goes by a second shape as well, at weight 4 t (1 − t) for
`tongueOut` t: nothing at rest and nothing at 1, so both stay what the face model has.
"""

from __future__ import annotations

import numpy as np

from .face_model import FaceModel, index_of

SHAPE, PART = "tongueOut", "tongue"
PATH = "tongueOut path"
"""The second shape's key."""
LIFT, ROOT, DELAY = 0.0095, 0.8, 0.21
"""Metres by which the tip is higher half-way, the power of the way out by which points nearer the root are less, and
the share of it that points are behind, so that the lips part first."""
LEAST = 0.01
"""Metres that a tongue comes out at least for there to be anything in its way."""


def path(model: FaceModel) -> np.ndarray | None:
    """(V, 3) metres, the second shape at weight 1, or None for a model without a tongue that comes out."""
    if PART not in model.part_names or SHAPE not in model.expression_names:
        return None
    move = model.expression_basis[index_of(model.expression_names, SHAPE)].astype(float)
    forward = np.where(model.vertex_part == index_of(model.part_names, PART), np.maximum(-move[:, 2], 0), 0)
    reach = float(forward.max())
    if reach < LEAST:
        return None
    out = np.zeros_like(move)
    out[:, 1] = -LIFT * (forward / reach) ** ROOT
    out[:, 2] = DELAY * forward
    return out


def weight(out: float) -> float:
    """The second shape's weight at `tongueOut` `out`; what the key's driver works out."""
    return 4 * out * (1 - out)
