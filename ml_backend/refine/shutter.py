"""The camera's shutter: faces that move are drawn as unsharp along their way as the camera shows them.

A real frame shows all that happened while the shutter was open; a drawn one shows an instant. How long it is open is
told from a clip's own frames, by how much less the brightness of a moving face varies along its way than across it,
compared to the drawing, and to the face at rest: what is unsharp, noisy or badly drawn is so in every direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.face_model.synthesis import project, to_camera
from ml_backend.reconstruct.recall_frames import Drawn, FaceMap

OPENINGS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of a frame's time for which the shutter may be open."""
REST, FAST, FASTEST = 1.0, 2.0, 8.0
"""Pixels a frame: below the first a face rests; from the second its unsharpness shows; above the last it shows no
more than there."""
LEAST = 8
"""Frames at rest, and fast ones, that are needed to tell anything."""
CLEAR = 2.0
"""How many times as large as its standard error the difference must be."""
CUT = 0.1
"""Sides of the crop, about a quarter of the face, that no face moves in a frame: there is a cut."""
SURE, EDGE = 0.98, 28
"""Share of the rendering in a pixel that tells, and how many times a mask's border goes into the crop's side."""
SHORTEST = 0.25
"""Pixels of a way that is too short to be seen."""
STEPS, MARGIN, TINY = 24, 2, 1e-6


def motion(face: FaceMap, pose: np.ndarray, index: int) -> np.ndarray:
    """(2,) float, pixels that the middle of the `face` moves in the time of frame `index` of (T, 6) `pose`.

    The mean of the steps from the frame before and to the frame after; a cut is no step.
    """
    return _motion(face, _middle(face), pose, index)


def _middle(face: FaceMap) -> np.ndarray:
    """(3,) of the eyes and the mouth of the `face` at rest."""
    chart, inner = face.texels.chart, face.texels.inner
    corners = chart.triangles[np.unique(chart.cover.triangle[inner])] if inner.any() else chart.triangles
    return face.character.neutral_shape[corners].mean((0, 1))


def _motion(face: FaceMap, middle: np.ndarray, pose: np.ndarray, index: int) -> np.ndarray:
    person, near = face.character, pose[max(index - 1, 0):index + 2]
    camera = np.concatenate([to_camera(middle[None], one) for one in near])
    pixel = project(camera, float(person.focal), np.asarray(person.size, float) / 2)
    steps = np.diff(pixel, axis=0) * (face.size / float(person.crop[2]))
    steps = steps[np.linalg.norm(steps, axis=1) < CUT * face.size]
    return steps.mean(0) if len(steps) else np.zeros(2)


def exposed(picture: np.ndarray, shown: np.ndarray, way: np.ndarray) -> np.ndarray:
    """`picture` (S, S, 3) uint8 as a shutter shows it that is open while it goes along `way`, where it is `shown`.

    Parameters
    ----------
    shown : (S, S) in [0, 1], the drawing's share of each pixel
    way : (2,) pixels
    """
    if np.hypot(*way) < SHORTEST:
        return picture
    moved = _along(picture, way).astype(np.float32)
    return (picture + (moved - picture) * shown[..., None] + 0.5).astype(np.uint8)


def _along(picture: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The mean of `picture` moved to places evenly along `way`, its middle where it was."""
    reach = int(np.ceil(np.abs(way).max() / 2)) + MARGIN
    place = np.arange(-reach, reach + 1)
    share = (np.arange(STEPS) + 0.5) / STEPS - 0.5
    across, down = (_cubic(place - share[:, None] * step) for step in way)
    kernel = down.T @ across
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _cubic(away: np.ndarray) -> np.ndarray:
    """Weights of samples so far `away` (Keys 1981, a = -1/2): unlike a linear one's, they don't make it unsharp."""
    away = np.abs(away)
    near = (1.5 * away - 2.5) * away**2 + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return np.where(away < 1, near, np.where(away < 2, far, 0))


@dataclass(frozen=True)
class Watch:
    """What T frames of a `face` say of the shutter.

    Attributes
    ----------
    ways : (T, 2) pixels that the face moves in a frame's time
    real : (T, 2, 2) how much the real brightness varies, as the mean product of its slopes; NaN where not seen
    drawn : (T, G, 2, 2) how much the drawing's does with the shutter open for each of `OPENINGS`
    error : (T, G) the drawing's mean squared error
    """

    face: FaceMap
    ways: np.ndarray
    real: np.ndarray
    drawn: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, face: FaceMap, pose: np.ndarray) -> Watch:
        """Of frames to be taken, in `pose` (T, 6)."""
        count, middle = len(pose), _middle(face)
        return cls(face, np.array([_motion(face, middle, pose, index) for index in range(count)]).reshape(count, 2),
                   np.full((count, 2, 2), np.nan), np.full((count, len(OPENINGS), 2, 2), np.nan),
                   np.full((count, len(OPENINGS)), np.nan))

    def over(self, drawn: Callable[[int], Drawn]) -> Callable[[int], Drawn]:
        """`drawn`, each of whose frames is watched."""
        def one(index: int) -> Drawn:
            frame = drawn(index)
            self.take(index, frame)
            return frame
        return one

    def take(self, index: int, frame: Drawn) -> None:
        """Watch frame `index`."""
        speed = np.hypot(*self.ways[index])
        if REST < speed < FAST:
            return
        border = np.ones((self.face.size // EDGE | 1,) * 2, np.uint8)
        sure = cv2.erode((frame.shown > SURE).astype(np.uint8), border) > 0
        if not sure.any():
            return
        real, drawn = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
                       for picture in (frame.real, frame.composite))
        self.real[index] = _varying(real, sure)
        for number, opening in enumerate(OPENINGS if speed >= FAST else OPENINGS[:1]):
            moved = _along(drawn, opening * self.ways[index]) if opening else drawn
            self.drawn[index, number] = _varying(moved, sure)
            self.error[index, number] = float(((moved - real)[sure]**2).mean())

    def shutter(self) -> float:
        """Share of a frame's time for which the shutter is open; 0 where the frames don't clearly say that it is.

        The longest that leaves the drawing no less varied along the way, and compared to across it, than what is real.
        """
        speed, seen = np.linalg.norm(self.ways, axis=1), np.isfinite(self.real[:, 0, 0])
        rest, fast = np.flatnonzero(seen & (speed <= REST)), np.flatnonzero(seen & (speed >= FAST))
        if min(len(rest), len(fast)) < LEAST:
            return 0.0
        along = self.ways[fast] / speed[fast, None]
        gaps = [self._gap(one, rest, fast) for one in (along, along[:, ::-1] * [-1, 1])]
        weight = np.minimum(speed[fast], FASTEST)**2
        weight /= weight.sum()
        against = gaps[0] - gaps[1]
        mean, error = weight @ against, weight @ self.error[fast]
        spread = np.sqrt(weight**2 @ (against[:, 0] - mean[0])**2)
        fits = (mean <= 0) & (weight @ gaps[0] <= 0) & (error <= error[0])
        if mean[0] > -CLEAR * spread:
            return 0.0
        return max((opening for opening, good in zip(OPENINGS, fits, strict=True) if good), default=0.0)

    def _gap(self, along: np.ndarray, rest: np.ndarray, fast: np.ndarray) -> np.ndarray:
        """(N, G) how much more than at `rest` the real brightness of N `fast` frames varies than that drawn, `along`
        directions (N, 2), as logarithms."""
        def varying(tensors: np.ndarray) -> np.ndarray:
            return np.log(np.einsum("ni,n...ij,nj->n...", along, tensors, along) + TINY)

        still = [np.broadcast_to(tensors[rest].mean(0), (len(fast), 2, 2)) for tensors in (self.real, self.drawn[:, 0])]
        usual = varying(still[0]) - varying(still[1])
        return varying(self.real[fast])[:, None] - varying(self.drawn[fast]) - usual[:, None]


def _varying(picture: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """(2, 2) mean product of the slopes of `picture` (S, S) float32 in the pixels that are `sure` (S, S)."""
    slopes = np.stack([cv2.Sobel(picture, cv2.CV_32F, 1 - down, down)[sure] for down in (0, 1)]).astype(float)
    return slopes @ slopes.T / slopes.shape[1]
