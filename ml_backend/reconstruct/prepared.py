"""What fitting a clip needs of a face model and not of the clip: worked out once for a model, and ahead of time."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.equations import System, stable_weights
from ml_backend.reconstruct.offset import Spreading
from ml_backend.reconstruct.points import (
    CORRELATION,
    IRIS_RIGHT,
    Measurements,
    Rig,
    measurements,
    noise,
    rig,
)

KEPT = 2
"""Models that are kept ready: one clip after the other is mostly fitted by the same."""
_LOCK = Lock()
_SPREADING = Lock()
_READY: list[tuple[weakref.ref[FaceModel], bytes, Prepared]] = []


@dataclass(frozen=True)
class Prepared:
    """A model's landmarks with what follows from them.

    Attributes
    ----------
    points : those that are measured
    weight : (L,) of the rigid pose
    rows : what the expression solve looks at
    expressions, persons : the normal equations of the expressions and of the identity modes
    """

    points: Rig
    weight: np.ndarray
    rows: Measurements
    expressions: System
    persons: System
    _spreading: list[Spreading] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, model: FaceModel, measured: np.ndarray | None = None) -> Prepared:
        """Of the landmarks of `model`, of those `measured` (478,) bool if given."""
        points = rig(model, measured)
        rows = measurements(points)
        return cls(points, stable_weights(points), rows, System.of(rows.apply(points.expression), rows),
                   identity_system(points))

    def spreading(self, model: FaceModel) -> Spreading:
        """How the mesh of the `model` follows its landmarks; who asks first waits as long as for dozens of frames."""
        with _SPREADING:
            if not self._spreading:
                self._spreading.append(Spreading.of(model, self.points))
            return self._spreading[0]


def prepared(model: FaceModel, measured: np.ndarray | None = None) -> Prepared:
    """`Prepared.of` the same arguments, from memory if one of the last calls asked for it."""
    key = b"" if measured is None or measured.all() else measured.tobytes()
    with _LOCK:
        for known, of, ready in _READY:
            if known() is model and of == key:
                return ready
        ready = Prepared.of(model, measured if key else None)
        _READY[:] = [*_READY[1 - KEPT:], (weakref.ref(model), key, ready)]
        return ready


def identity_system(points: Rig) -> System:
    """Normal equations of the identity modes at the landmarks, irises apart."""
    plain = points.index < IRIS_RIGHT
    count = int(plain.sum())
    rows = Measurements(np.flatnonzero(plain), np.full(count, -1), CORRELATION / noise(points)[plain] ** 2,
                        np.clip(0.5 + points.mean[plain, 0] / 0.03, 0, 1))
    return System.of(rows.apply(points.identity), rows)
