"""Landmarks as linear measurements of a face: what a camera saw in the head's own space, and how well it saw it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.reconstruct import pose, priors
from ml_backend.reconstruct.points import Measurements, Rig, noise

DEPTH_TRUST = 0.06
"""Weight of a squared error along the camera's axis beside one across it."""


@dataclass(frozen=True)
class View:
    """Landmarks (T, L, 3) px with the camera and pose they are seen under."""

    points: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    centre: np.ndarray

    def part(self, frames: np.ndarray) -> View:
        """The same for some `frames`."""
        return replace(self, points=self.points[frames], rotation=self.rotation[frames],
                       translation=self.translation[frames])


def stable_weights(points: Rig, *, still: bool = False) -> np.ndarray:
    """(L,) weights for the rigid pose: low where expressions move a point or MediaPipe is unsure of it."""
    moves = np.einsum("k,klc->l", (0.5 * priors.sizes(points.names)) ** 2, points.expression**2)
    weight = 1.0 / (noise(points, still=still) ** 2 + moves)
    weight[points.index >= 468] = 0.0
    return weight / weight.sum()


def observe(view: View, deformed: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(T, L, 3) landmarks in model space, metres: seen x and y at the model's depth, MediaPipe's own relative depth.

    `deformed` (T, L, 3) is the current shape, `weight` (L,) says which points fix the level of the depth.
    """
    turned = deformed @ view.rotation.transpose(0, 2, 1)
    depth = turned[..., 2] + view.translation[:, None, 2]
    across = (view.points[..., :2] - view.centre) * (depth / view.focal)[..., None] - view.translation[:, None, :2]
    scale = view.translation[:, 2] / view.focal
    deep = view.points[..., 2] * scale[:, None]
    deep = deep - (deep @ weight - turned[..., 2] @ weight)[:, None]
    camera = np.concatenate([across, deep[..., None]], -1)
    return camera @ view.rotation


def normal_equations(residual: np.ndarray, basis: np.ndarray, rows: Measurements, rotation: np.ndarray
                     ) -> tuple[np.ndarray, np.ndarray]:
    """G (T, K, K) and b (T, K) of the weighted problem: residual (T, P, 3), basis (K, P, 3)."""
    return System.of(basis, rows).normal(residual, rotation)


@dataclass(frozen=True)
class System:
    """What the normal equations of K shapes in P measurements have in common in all frames.

    Attributes
    ----------
    basis : (K, 3 P); rows : the measurements
    shares : (2, P), how much each belongs to the −x and to the +x half of the face
    blocks : (18, K²), products of the shapes along each pair of axes in each half, weighted
    """

    basis: np.ndarray
    rows: Measurements
    shares: np.ndarray
    blocks: np.ndarray

    @classmethod
    def of(cls, basis: np.ndarray, rows: Measurements) -> System:
        """Of shapes `basis` (K, P, 3)."""
        shares, count = np.stack([1 - rows.side, rows.side]), len(basis)
        planes = np.ascontiguousarray(basis.transpose(2, 0, 1)).reshape(3 * count, -1)
        blocks = np.stack([((planes * w) @ planes.T).reshape(3, count, 3, count).transpose(0, 2, 1, 3)
                           for w in shares * rows.weight])
        return cls(basis.reshape(count, -1), rows, shares, blocks.reshape(-1, count * count))

    def normal(self, residual: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """G (T, K, K) and b (T, K) for a residual (T, P, 3) of frames with these rotations (T, 3, 3)."""
        factors, pulled = self._seen(residual, rotation)
        count = len(self.basis)
        return (factors @ self.blocks).reshape(-1, count, count), pulled.reshape(len(rotation), -1) @ self.basis.T

    def summed(self, residual: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same added up over the frames, (K, K) and (K,)."""
        factors, pulled = self._seen(residual, rotation)
        count = len(self.basis)
        return (factors.sum(0) @ self.blocks).reshape(count, count), self.basis @ pulled.sum(0).ravel()

    def _seen(self, residual: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, 18) the blocks' factors, and the residual (T, P, 3) as it counts."""
        metric, sides = seen_metric(rotation), side_visibility(rotation)
        factors = (sides[:, :, None, None] * metric[:, None]).reshape(len(rotation), -1)
        return factors, residual @ metric * ((sides @ self.shares) * self.rows.weight)[..., None]


def seen_metric(rotation: np.ndarray) -> np.ndarray:
    """(T, 3, 3) Rᵀ diag(1, 1, depth trust) R: squared errors in model space as the camera sees them."""
    return np.einsum("tia,i,tib->tab", rotation, np.array([1.0, 1.0, DEPTH_TRUST]), rotation)


def side_visibility(rotation: np.ndarray) -> np.ndarray:
    """(T, 2) trust in the −x and the +x half of the face: the half that a yaw over 20° turns away fades out."""
    yaw = np.degrees(pose.angles_of(rotation)[:, 1])
    fade = np.stack([yaw, -yaw], 1)
    return 1.0 - 0.9 * np.clip((fade - 20.0) / 25.0, 0, 1)
