"""What a clip showed between lips and lids, recalled on strips that go with them; see `strips`.

Where the mesh errs, what its rendering lacked in one frame is of no use to another: part of the real picture itself is
recalled instead, by the same regression as elsewhere (`likeness`), and part of the rendering stays, which knows what no
frame like this one shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.metrics.landmarks import lip_operator
from ml_backend.reconstruct.likeness import LEAST_FRAMES, likeness, sheet_axes
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.strips import COLUMNS, STEPS, Strip

LIPS_MM, EYES_SCALE = 20.0, 2.0
"""Millimetres by which lips move that count as much as an expression, and how much more than others those of eyes do.
"""
MOST_HIDDEN, LEAST_SHOWN = 0.3, 0.5
"""Share of a strip that may be hidden in a frame that is remembered; share of the rendering that a texel must show."""
BLUR = 1.5
"""Texels, of a strip with `COLUMNS`, within which a picture's edges are made crisper."""


class Crisp(NamedTuple):
    """Shares of the rendering that stay, around the opening and in it, and how much crisper what is recalled is made.
    """

    outer: float
    inner: float
    more: float


@dataclass(frozen=True)
class StripMemory:
    """What F frames showed on a strip of (R, C) texels. P features, M sheets.

    Attributes
    ----------
    metric : (P, P) float32, turns features into ones whose distances say how like frames are
    known : (F, P) float32, the frames' features, turned
    vectors : (F, M) float32, from likeness to the frames to amounts of the sheets
    whole : (M,) float32, what the sheets would be, had every frame shown 1 everywhere
    sheets : (M, R, C, 3) float16, display colours: the real less what stays of the rendering
    kept : (R, C) float32, share of the rendering that stays
    cover : (R, C) float32, how much of this is used
    """

    metric: np.ndarray
    known: np.ndarray
    vectors: np.ndarray
    whole: np.ndarray
    sheets: np.ndarray
    kept: np.ndarray
    cover: np.ndarray

    def at(self, features: np.ndarray) -> tuple[np.ndarray, float]:
        """(R, C, 3) float32, what is recalled at `features` (P,), and how much, 1 for features like those known."""
        amounts = likeness((features @ self.metric)[None], self.known)[0] @ self.vectors
        return (amounts @ self._flat).reshape(self.sheets.shape[1:]), float(amounts @ self.whole)

    @cached_property
    def _flat(self) -> np.ndarray:
        """(M, R · C · 3) float32 `sheets`: turned once, not for every frame."""
        return self.sheets.reshape(len(self.sheets), -1).astype(np.float32)

    def fits(self) -> bool:
        """Whether the arrays' shapes go together."""
        frames, features = self.known.shape if self.known.ndim == 2 else (0, 0)
        return (frames > 0 and self.metric.shape == (features, features) and self.sheets.ndim == 4
                and self.vectors.shape == (frames, len(self.sheets)) and self.whole.shape == (len(self.sheets),)
                and self.sheets.shape[1:] == (*self.kept.shape, 3) and self.cover.shape == self.kept.shape)


@dataclass(frozen=True)
class Notes:
    """What F frames show on a strip of (R, C) texels.

    Attributes
    ----------
    real, drawn : (F, R, C, 3) float16, display colours
    seen : (F, R, C) bool, where the rendering shows
    """

    real: np.ndarray
    drawn: np.ndarray
    seen: np.ndarray

    @classmethod
    def empty(cls, strip: Strip, count: int) -> Notes:
        """Of `count` frames, to be taken."""
        pictures = np.zeros((2, count, *strip.shape, 3), np.float16)
        return cls(pictures[0], pictures[1], np.zeros((count, *strip.shape), bool))

    def take(self, place: int, strip: Strip, view: Posed, pictures: Sequence[np.ndarray]) -> None:
        """Note frame `place`: its real picture, its composite (S, S, 3) uint8 and the rendering's share (S, S)."""
        real, drawn, shown = pictures
        self.real[place], self.drawn[place] = strip.read(real, view), strip.read(drawn, view)
        self.seen[place] = 255 * strip.read(shown[..., None], view)[..., 0] > LEAST_SHOWN

    def usable(self) -> np.ndarray:
        """Numbers of the frames in which enough is seen."""
        return np.flatnonzero((~self.seen).mean((1, 2)) <= MOST_HIDDEN)


def metrics(model: FaceModel, names: np.ndarray) -> tuple[np.ndarray, ...]:
    """(P, P) float32 for each of `ml_backend.reconstruct.strips.strips`, by which features `names` (P,) are compared:
    at the mouth also by where lips are, at the eyes above all by lids and gaze."""
    moved = dict(zip(model.names, lip_operator(model), strict=True))
    nothing = np.zeros(lip_operator(model).shape[1])
    lips = np.stack([moved.get(str(name), nothing) for name in names]) / LIPS_MM
    size, axes = np.linalg.eigh(np.eye(len(names)) + lips @ lips.T)
    mouth = (axes * np.sqrt(np.maximum(size, 0))) @ axes.T
    eyes = np.diag([EYES_SCALE if str(name).startswith("eye") else 1.0 for name in names])
    return mouth.astype(np.float32), eyes.astype(np.float32), eyes.astype(np.float32)


def learn(strip: Strip, notes: Notes, values: np.ndarray, metric: np.ndarray, crisp: Crisp) -> StripMemory | None:
    """Remember F frames of features `values` (F, P); None where too few are seen."""
    rows = notes.usable()
    if len(rows) < LEAST_FRAMES:
        return None
    known, kept, seen = (values[rows] @ metric).astype(np.float32), _kept(strip, crisp), notes.seen[rows][..., None]
    axes, vectors = sheet_axes(known)
    sheets, count = np.zeros((axes.shape[1], *strip.shape, 3), np.float32), seen.sum(0)
    for pictures, share in ((notes.real, 1.0), (notes.drawn, -kept[..., None])):
        shown = pictures[rows].astype(np.float32)
        # What a frame hides is as it is in the others.
        shown = np.where(seen, shown, (shown * seen).sum(0) / np.maximum(count, 1))
        # Each by itself: where what is kept changes there is no edge to be made crisp.
        sheets += share * _crisper(np.tensordot(axes.T, shown, 1), crisp.more)
    cover = strip.fade() * (count[..., 0] >= LEAST_FRAMES)
    return StripMemory(metric, known, vectors, axes.sum(0),
                       sheets.astype(np.float16), kept, cover.astype(np.float32))


def trusted(memory: StripMemory, notes: Notes, base: np.ndarray, features: np.ndarray, area: np.ndarray) -> float:
    """The share in [0, 1] of `memory` that is best for frames that show `notes`, being `base` (F, R, C, 3) without it.

    Parameters
    ----------
    features : (F, P) of these frames
    area : (F, R, C) pixels that texels take up there
    """
    along, across = 0.0, 1e-6
    for place, one in enumerate(features):
        recalled, much = memory.at(one)
        change = recalled + much * (memory.kept[..., None] * notes.drawn[place] - base[place])
        weight = area[place] * notes.seen[place] * memory.cover
        gap = notes.real[place].astype(np.float32) - base[place]
        along += float((weight * (change * gap).sum(2)).sum())
        across += float((weight * (change * change).sum(2)).sum())
    return float(np.clip(along / across, 0, 1))


def given(strip: Strip, memory: StripMemory, features: np.ndarray, view: Posed, pictures: Sequence[np.ndarray]
          ) -> np.ndarray:
    """(S, S, 3) uint8: a picture with what is recalled at `features` (P,).

    Parameters
    ----------
    pictures : the picture and the composite (S, S, 3) uint8, and the rendering's share (S, S) of it
    """
    picture, drawn, shown = pictures
    recalled, much = memory.at(features)
    cover = (memory.cover * strip.shown(view))[..., None]
    values = np.concatenate([recalled, np.full_like(cover, much), much * memory.kept[..., None]], 2) * cover
    box, painted = strip.paint(values, view, len(picture))
    change = 255 * painted[..., :3] + painted[..., 4:] * drawn[box] - painted[..., 3:4] * picture[box]
    out = picture.copy()
    out[box] = np.clip(picture[box] + change * shown[box][..., None] + 0.5, 0, 255)
    return out


def _crisper(sheets: np.ndarray, more: float) -> np.ndarray:
    """`sheets` (M, R, C, 3) with `more` of their finest detail."""
    blur = BLUR * sheets.shape[2] / COLUMNS
    return sheets + more * (sheets - np.stack([cv2.GaussianBlur(sheet, (0, 0), blur) for sheet in sheets]))


def _kept(strip: Strip, crisp: Crisp) -> np.ndarray:
    """(R, C) float32: the share of the rendering that stays, `crisp.inner` within the opening."""
    rows = strip.shape[0]
    band, row = rows * STEPS[0] / sum(STEPS), np.arange(rows) + 0.5
    within = np.clip(np.minimum(row - band, rows - band - row) / (rows / 24) + 0.5, 0, 1)
    line = crisp.outer + (crisp.inner - crisp.outer) * within
    return np.repeat(line[:, None], strip.shape[1], 1).astype(np.float32)
