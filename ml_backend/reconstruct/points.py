"""Which of MediaPipe's 478 points means what, and how far each can be trusted.

The numbers are indices of MediaPipe's face mesh (its canonical face model); "left" is the person's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.face_model.model import FaceModel

COUNT = 478
SAME = 1e-6
"""Metres by which the landmarks of one and the same head may differ."""
IRIS_RIGHT, IRIS_LEFT = 468, 473
OUTLINE = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
           149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
EYE_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
EYE_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
CHIN = (152, 148, 377, 175, 171, 396, 199, 208, 428, 200, 201, 421, 18, 83, 313)
BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318))
"""Upper and lower point of the inner lips, middle pair first."""
OUTER_LIP_PAIRS = ((0, 17), (37, 84), (267, 314), (39, 181), (269, 405))
WIDTH_PAIRS = ((78, 308), (61, 291))
LID_PAIRS_RIGHT = ((159, 145), (158, 153), (160, 144))
LID_PAIRS_LEFT = ((386, 374), (385, 380), (387, 373))
EYE_CORNERS_RIGHT, EYE_CORNERS_LEFT = (33, 133), (263, 362)
BROW_PAIRS = ((105, 159), (66, 159), (107, 168), (334, 386), (296, 386), (336, 168))
"""Brow points against a point below them: what is seen of a brow, whatever the pose."""

DEFAULT_NOISE = 0.0020
_NOISE = ((OUTLINE, 0.0060), (LIPS_OUTER, 0.0014), (LIPS_INNER, 0.0012), (EYE_RIGHT, 0.0012), (EYE_LEFT, 0.0012),
          (BROWS, 0.0016), (CHIN, 0.0022), ((1, 4, 5, 195, 197, 6, 168, 2, 98, 327, 48, 278), 0.0016))
NOSE_BASE = (2, 98, 327, 97, 326, 99, 328, 60, 290, 75, 305, 94, 19, 20, 250, 242, 462, 370, 141)
SMOOTH_NOISE = 0.0060
_STILL_NOISE = ((OUTLINE, 0.0100), (LIPS_OUTER, 0.0012), (LIPS_INNER, 0.0012), (EYE_RIGHT, 0.0010),
                (EYE_LEFT, 0.0010), (BROWS, 0.0016), (NOSE_BASE, 0.0012))
"""In one picture smooth skin, the nose's ridge too, is where the network expects it on an average face: on rendered
heads it follows a turn by a seventh less than corners of eyes and mouth, lips and nostrils, which are seen."""
CORRELATION = 0.15
"""Neighbouring points err alike: hundreds of them count as this share of as many independent ones."""


@dataclass(frozen=True)
class Rig:
    """The part of a FaceModel that lies at landmarks. L landmarks.

    Attributes
    ----------
    index : (L,) int, MediaPipe index of each
    vertex : (L,) int
    mean : (L, 3), identity : (I, L, 3), expression : (K, L, 3), metres
    names : K expression names
    """

    index: np.ndarray
    vertex: np.ndarray
    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    names: list[str]

    def rows(self, points: tuple[int, ...]) -> np.ndarray:
        """Rows (of L) of those `points` that the model knows, in their order."""
        place = np.full(COUNT, -1)
        place[self.index] = np.arange(len(self.index))
        found = place[list(points)]
        return found[found >= 0]

    def pair_rows(self, pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
        """(P, 2) rows of those `pairs` of which the model knows both ends."""
        both = [self.rows(pair) for pair in pairs]
        return np.array([ends for ends in both if len(ends) == 2], int).reshape(-1, 2)

    def is_of(self, mean: np.ndarray, names: np.ndarray) -> bool:
        """Whether landmarks `mean` (L, 3) metres and expression `names` (K,) are this rig's: what was learned fits."""
        same = mean.shape == self.mean.shape and [str(name) for name in names] == self.names
        return same and bool(np.abs(mean - self.mean).max() < SAME)


def rig(model: FaceModel, measured: np.ndarray | None = None) -> Rig:
    """Cut `model` down to its landmarks, to those `measured` (478,) bool if given; one named twice counts once."""
    index, first = np.unique(model.landmark_index, return_index=True)
    if measured is not None:
        index, first = index[measured[index]], first[measured[index]]
    vertex = model.landmark_vertex[first].astype(int)
    return Rig(index.astype(int), vertex, model.mean_shape[vertex].astype(float),
               model.identity_basis[:, vertex].astype(float), model.expression_basis[:, vertex].astype(float),
               model.names)


def noise(points: Rig, *, still: bool = False) -> np.ndarray:
    """(L,) standard deviation of each landmark, metres on a face of natural size; `still` for one picture."""
    sigma = np.full(len(points.index), SMOOTH_NOISE if still else DEFAULT_NOISE)
    for group, value in _STILL_NOISE if still else _NOISE:
        sigma[points.rows(group)] = value
    sigma[points.index >= IRIS_RIGHT] = 0.0030
    return sigma


@dataclass(frozen=True)
class Measurements:
    """What the expression solve looks at: landmarks themselves and differences of two. P measurements.

    Attributes
    ----------
    first, second : (P,) int rows of the rig; value = first − second, or first alone where second is −1
    weight : (P,) 1/σ², σ in metres
    side : (P,) in [0, 1], 1 = wholly on the person's left (+x)
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    side: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(…, P, 3) from (…, L, 3)."""
        out = values[..., self.first, :].copy()
        paired = self.second >= 0
        out[..., paired, :] -= values[..., self.second[paired], :]
        return out


def measurements(points: Rig, *, still: bool = False) -> Measurements:
    """Absolute rows for every landmark and, sharper, the differences an animator looks at: lips, lids, gaze, brows.

    `still` where there is one picture, see `noise`.
    """
    groups = [(LIP_PAIRS, 0.0002), (OUTER_LIP_PAIRS, 0.0008), (WIDTH_PAIRS, 0.0003),
              (LID_PAIRS_RIGHT + LID_PAIRS_LEFT, 0.0003), (BROW_PAIRS, 0.0010)]
    gaze = tuple((IRIS_RIGHT, corner) for corner in EYE_CORNERS_RIGHT)
    gaze += tuple((IRIS_LEFT, corner) for corner in EYE_CORNERS_LEFT)
    groups.append((gaze, 0.0009))
    keep = points.index < IRIS_RIGHT
    first, second = [np.flatnonzero(keep)], [np.full(int(keep.sum()), -1)]
    weight = [CORRELATION / noise(points, still=still)[keep] ** 2]
    for pairs, sigma in groups:
        rows = points.pair_rows(pairs)
        first.append(rows[:, 0])
        second.append(rows[:, 1])
        weight.append(np.full(len(rows), CORRELATION / sigma**2))
    one, two = np.concatenate(first), np.concatenate(second)
    x = np.where(two >= 0, (points.mean[one, 0] + points.mean[two, 0]) / 2, points.mean[one, 0])
    return Measurements(one, two, np.concatenate(weight), np.clip(0.5 + x / 0.03, 0, 1))
