"""Parts of the mouth stay behind the skin when a person's face is flatter than the model's."""

from __future__ import annotations

import numpy as np

from ml_backend.reconstruct.tuck import tuck
from tests.ml.reconstruct_toys import head


def test_nothing_moves_in_the_mean_face() -> None:
    assert np.abs(tuck(head(), head().mean_shape.astype(float))).max() == 0


def test_a_flat_chin_pushes_the_lower_teeth_back_and_nothing_else() -> None:
    model = head()
    teeth = model.part("teeth_lower")
    shape = model.mean_shape.astype(float)
    forward = shape.copy()
    forward[teeth, 2] -= 0.009
    back = tuck(model, forward)
    moved = back[teeth, 2]
    assert 0.001 < moved[0] <= 0.008 and np.ptp(moved) == 0, "teeth keep their shape"
    assert (back[~teeth & ~model.part("mouth_bag")] == 0).all() and (back[:, :2] == 0).all()
    again = tuck(model, forward + back)
    assert np.abs(again[teeth]).max() < 1e-6 or moved[0] == 0.008


def test_a_model_without_a_mouth() -> None:
    from tests.fixtures import small_model

    model = small_model()
    assert (tuck(model, model.mean_shape.astype(float)) == 0).all()
