"""What MediaPipe's habits hide in one picture: a guess at the pose's error and at some expressions' weights.

Its landmarks lag behind a turn and show puckered lips and raised brows too small, much alike on everybody. Random heads
of the built-in model, drawn and tracked, tell by how much, and single frames of people, whose whole clips tell more,
what of it holds for them (`blender_assets.head.learn_still`). Where the picture itself is at hand, edges around lips
and brows (`appearance`) tell more than the landmarks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require
from ml_backend.config import head_model
from ml_backend.reconstruct.appearance import COUNT
from ml_backend.reconstruct.points import Rig

SCHEMA, VERSION = "parley.photo_prior", 2
UNIT, DEPTH, ANGLE, CHANNEL, CROSSED = 0.002, 0.5, 3.0, 4.0, 2.0
"""Scales of the features: metres of a landmark, its depth's share, radians, weights, products with an angle."""
TURN_UNIT = 0.1
"""Radians: unit of the guessed turn."""
SEEN_YAW = 2.0
"""Scale of the yaw's sine, by which the picture's features count once more."""


@dataclass(frozen=True)
class PhotoPrior:
    """A map learned for one face model. L landmarks, K expressions, M modes of the landmarks, C channels guessed.

    Attributes
    ----------
    mean : (L, 3) float32 metres, the model's landmarks, by which the model is known again
    expression_names : (K,) str; names : (C,) str, those that are guessed
    centre : (3 L,) float32 and modes : (M, 3 L) float32, of what `moved` gives
    weights : (3 + C, D) float32, of `features`; bias : (3 + C,) float32
    seen_weights : (3 + C, D + 2 F) float32 and seen_bias : (3 + C,) float32, the same with the picture's `seen` beside
    """

    mean: np.ndarray
    expression_names: np.ndarray
    names: np.ndarray
    centre: np.ndarray
    modes: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    seen_weights: np.ndarray
    seen_bias: np.ndarray

    def guess(self, target: np.ndarray, expression: np.ndarray, angles: np.ndarray, look: np.ndarray | None = None
              ) -> tuple[np.ndarray, np.ndarray]:
        """Turns (N, 3) in radians about the head's own axes and weights (N, C) in [0, 1].

        Arguments of `features`, and `look` (N, F), the `appearance` of the pictures if they are at hand.
        """
        shape = (moved(target, self.mean) - self.centre) @ self.modes.T
        inputs = features(shape, expression, angles)
        if look is None:
            found = inputs @ self.weights.T + self.bias
        else:
            found = np.concatenate([inputs, seen(look, angles)], 1) @ self.seen_weights.T + self.seen_bias
        return found[:, :3] * TURN_UNIT, np.clip(found[:, 3:], 0, 1)


def moved(target: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(N, 3 L) how `target` (N, L, 3), landmarks in model space, lie beside `mean` (L, 3); in units of its own."""
    return ((target - mean) / UNIT * [1, 1, DEPTH]).reshape(len(target), -1)


def features(shape: np.ndarray, expression: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(N, 3 M + 2 K + 6) what the map is linear in: landmarks, channels, angles, and how a turn changes what they say.

    Parameters
    ----------
    shape : (N, M) the landmarks' modes
    expression : (N, K) as solved; angles : (N, 3) radians, pitch, yaw, roll as solved
    """
    turn = np.sin(angles)
    pitch, yaw = turn[:, :1], turn[:, 1:2]
    crossed = [shape * yaw, shape * pitch, ANGLE * expression * yaw]
    return np.concatenate([shape, CHANNEL * expression, ANGLE * turn, *(CROSSED * part for part in crossed),
                           (ANGLE * turn) ** 2], 1)


def seen(look: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(N, 2 F) what a picture's `look` (N, F) adds to `features`, plain and by how far the head (N, 3) is turned."""
    return np.concatenate([look, look * (SEEN_YAW * np.sin(angles[:, 1:2]))], 1)


def beside(model: Path) -> Path:
    """The file that belongs to the face model at `model`."""
    return model.with_name("still.npz")


def prior_of(points: Rig) -> PhotoPrior | None:
    """The map for this face model, or None if none was learned for it or some of its landmarks are not seen."""
    found = _embedded()
    return found if found is not None and points.is_of(found.mean, found.expression_names) else None


@lru_cache(maxsize=1)
def _embedded() -> PhotoPrior | None:
    path = beside(head_model())
    return read(path) if path.exists() else None


def read(path: Path) -> PhotoPrior:
    """The map at `path`; raises `ArtefactError` if it is none."""
    found = load_fields(PhotoPrior, path, SCHEMA, VERSION)
    inputs = 3 * len(found.modes) + 2 * len(found.expression_names) + 6
    require(found.modes.shape[1:] == found.centre.shape == (found.mean.size,), path, "modes and landmarks differ")
    require(found.weights.shape == (3 + len(found.names), inputs), path, "weights and names differ in number")
    require(found.bias.shape == (len(found.weights),), path, "bias and weights differ in number")
    require(found.seen_weights.shape == (len(found.weights), inputs + 2 * COUNT), path, "weights fit no picture")
    require(found.seen_bias.shape == found.bias.shape, path, "bias and weights differ in number")
    require(set(found.names) <= set(found.expression_names), path, "a guessed channel is no expression")
    return found
