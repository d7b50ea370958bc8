"""What twelve seconds teach: a person's own opening of the lips, as a linear filter over what the network says.

Fine-tuning millions of weights on so little changes nothing for the better. A ridge regression with a strong pull to
the general answer does: the opening that is left over is explained by the network's lips around each frame, by the main
ways its mouth moves, and by the cepstra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.audio.features import CEPSTRA, CONTEXT_FRAMES, STEPS_PER_FRAME
from ml_backend.motion.network import POSE_SIZE

REACH, NEAR = 4, 2
"""Frames to either side at which the network's lips, and everything else, are looked at."""
WAYS = 8
"""Principal components of the network's mouth."""
STRENGTH = 4.0
"""Pull to the general answer, in units of the variance of a typical input."""
LEAST_SLOPE = 0.2
_CEPSTRUM_SCALE = 0.5


@dataclass(frozen=True)
class Adapter:
    """A person's opening on top of the general one.

    Attributes
    ----------
    kernel : (9, K + C) float32, mm of opening per unit of the network's expression and of the cepstra, per frame around
    offset : () float32, mm
    direction : (K,) float32, the network's units that part the lips by a mm and leave the mouth's width alone
    limits : (2,) float32, mm, least and most of what was added in the clip: other voices get no more
    """

    kernel: np.ndarray
    offset: np.ndarray
    direction: np.ndarray
    limits: np.ndarray

    def apply(self, raw: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """(T, K + 6) float32: the network's output `raw` for feature `steps` (4T + 24, D) with the person's opening."""
        added = np.clip(_filtered(inputs(raw, steps), self.kernel) + self.offset, *self.limits)
        result = raw.copy()
        result[:, :-POSE_SIZE] += added[:, None] * self.direction
        return result.astype(np.float32)

    def scaled(self, share: float) -> Adapter:
        """The same, `share` of the way."""
        return Adapter(self.kernel * share, self.offset * share, self.direction, self.limits * share)


def inputs(raw: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(T, K + C) what the filter sees: the network's expression, and the mean cepstra of each frame."""
    frames, first = len(raw), CONTEXT_FRAMES * STEPS_PER_FRAME
    own = steps[first:first + frames * STEPS_PER_FRAME, :CEPSTRA]
    return np.concatenate([raw[:, :-POSE_SIZE], own.reshape(frames, STEPS_PER_FRAME, -1).mean(1)], 1)


def fit(raw: np.ndarray, steps: np.ndarray, opening: np.ndarray, use: np.ndarray, lips: np.ndarray, share: np.ndarray
        ) -> Adapter:
    """Learn the filter.

    Parameters
    ----------
    raw : (T, K + 6) the general network's output for the clip
    steps : (4T + 24, D) its input
    opening : (T,) what the person's lips did, in any unit
    use : (N,) frames to learn from
    lips : (K, 2) opening and width, mm per unit of the network's output
    share : (K,) the variance of each expression in the network's units; 0 for those that stay out of it
    """
    seen = inputs(raw, steps)
    heard = raw[:, :-POSE_SIZE] @ lips[:, 0]
    bases = _bases(raw[use, :-POSE_SIZE], lips, share > 0, seen.shape[1])
    columns = np.concatenate([_around(seen @ base, reach) for base, reach in bases], 1)
    mean = columns[use].mean(0)
    wanted = opening[use] / max(float(opening[use].std()), 1e-9)
    spread = max(float(heard[use].std()), 1e-9)
    slope = max(float(np.cov(heard[use], wanted)[0, 1]) / spread ** 2, LEAST_SLOPE / spread)
    left = wanted - slope * heard[use]
    centred = columns[use] - mean
    gram = centred.T @ centred + STRENGTH * len(use) * np.eye(len(mean))
    solved = np.linalg.solve(gram, centred.T @ (left - left.mean())) / slope
    added = centred @ solved
    return Adapter(_kernel(solved, bases, seen.shape[1]), np.array(-mean @ solved, np.float32), parting(lips, share),
                   np.array([added.min(), added.max()], np.float32))


def parting(lips: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(K,) float32: the least change, weighed by the variances `share` (K,), that opens by 1 mm and widens by none."""
    weighed = lips * share[:, None]
    both = lips.T @ weighed
    return (weighed @ np.linalg.solve(both + 1e-9 * np.trace(both) * np.eye(2), np.array([1.0, 0.0]))
            ).astype(np.float32)


def _bases(expression: np.ndarray, lips: np.ndarray, mouth: np.ndarray, size: int) -> list[tuple[np.ndarray, int]]:
    """Matrices (K + C, n) that make the regression's inputs, and how many frames around each of them are looked at."""
    count = expression.shape[1]
    heard = np.zeros((size, 2))
    heard[:count] = lips / np.maximum((expression @ lips).std(0), 1e-9)
    moved = np.where(mouth, expression - expression.mean(0), 0)
    _, length, ways = np.linalg.svd(moved, full_matrices=False)
    keep = min(WAYS, int((length > 1e-6 * max(length[0], 1e-9)).sum()))
    main = np.zeros((size, keep))
    main[:count] = ways[:keep].T / (length[:keep] / np.sqrt(len(expression)))
    cepstra = np.zeros((size, size - count))
    cepstra[count:] = np.eye(size - count) * _CEPSTRUM_SCALE
    return [(heard, REACH), (main, NEAR), (cepstra, NEAR)]


def _around(values: np.ndarray, reach: int) -> np.ndarray:
    """(T, (2 reach + 1) n): `values` (T, n) of the frames around each, the ends held."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.concatenate([padded[by:by + len(values)] for by in range(2 * reach + 1)], 1)


def _kernel(solved: np.ndarray, bases: list[tuple[np.ndarray, int]], size: int) -> np.ndarray:
    """The regression's weights as one filter on the inputs."""
    kernel, start = np.zeros((2 * REACH + 1, size)), 0
    for base, reach in bases:
        for by in range(-reach, reach + 1):
            kernel[REACH + by] += base @ solved[start:start + base.shape[1]]
            start += base.shape[1]
    return kernel.astype(np.float32)


def _filtered(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(T,) sum over the frames around each of `values` (T, n) times `kernel` (2R + 1, n), the ends held."""
    reach = len(kernel) // 2
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.sum([padded[by:by + len(values)] @ row for by, row in enumerate(kernel)], axis=0)
