"""A clip or a photo → FaceTrack: landmarks, pose, identity, expressions, light and texture in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from ml_backend.artefacts.face_track import FaceTrack, validate
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import illumination, landmarks, pose
from ml_backend.reconstruct.fit import FitResult, fit_landmarks
from ml_backend.reconstruct.posed import neutral_shape, place
from ml_backend.reconstruct.prepared import prepared
from ml_backend.reconstruct.texture import neutral_cost
from ml_backend.reconstruct.tracklets import LARGEST

CROP_MARGIN = 1.55
"""Side of the crop over the face's extent over the whole clip."""
LIGHT_FRAMES = 6
LEAST_FACE = 40
"""Pixels: below this a face has no lips to speak of."""
LONG_GAP = 1.0


def track_clip(frames: Sequence[np.ndarray], model: FaceModel, *, fps: float = 25.0, face: str = LARGEST,
               progress: Progress = silent, warn: Callable[[str], None] = lambda sentence: None,
               source: str = "the clip", detect: Callable[..., landmarks.LandmarkTrack] = landmarks.detect
               ) -> FaceTrack:
    """The first result of `track_with_cuts`."""
    return track_with_cuts(frames, model, fps=fps, face=face, progress=progress, warn=warn, source=source,
                           detect=detect)[0]


def track_with_cuts(frames: Sequence[np.ndarray], model: FaceModel, *, fps: float = 25.0, face: str = LARGEST,
                    progress: Progress = silent, warn: Callable[[str], None] = lambda sentence: None,
                    source: str = "the clip", detect: Callable[..., landmarks.LandmarkTrack] = landmarks.detect
                    ) -> tuple[FaceTrack, np.ndarray]:
    """Measure one person in a clip; also returns (T,) bool, true where a frame begins a new shot.

    Parameters
    ----------
    frames : T frames, RGB uint8 (H, W, 3) of one size; one frame is a photo
    model : with landmarks
    fps : frames a second
    face : which one of several, see `landmarks.detect`
    progress : called about once a frame
    warn : takes one sentence for the user
    source : what to call the input in messages
    detect : finds and follows the face, see `providers`

    Raises
    ------
    UserInputError
        If there is no frame, no face, not the one that is wanted, or the face is lost in more than half of the clip.
    """
    if not len(frames):
        raise UserInputError(f"There is no picture in {source}; use a clip of at least one frame.")
    total = len(frames) + max(len(frames) // 8, 12)
    with ThreadPoolExecutor(1) as pool:
        # Networks that measure all points find ready what the fit needs of the model.
        pool.submit(lambda: prepared(model).spreading(model))
        found = detect(frames, face=face, progress=lambda done, _: progress(done, total), source=source)
    for sentence in found.warnings:
        warn(sentence)
    size = np.array([frames[0].shape[1], frames[0].shape[0]], np.int32)
    rest = total - len(frames) - 1
    # Matrices as small as these are multiplied faster than threads can be told to.
    with threadpool_limits(1, user_api="blas"):
        fit = fit_landmarks(found.landmarks, size, model, fps, cuts=found.cuts,
                            picture=frames[0] if len(frames) == 1 else None,
                            progress=lambda done, of: progress(len(frames) + rest * done // of, total))
        runs = pose.segments(fit.landmarks, found.cuts)
        _remarks(fit, runs, fps, warn)
        track = assemble(fit, found.confidence, size, model, fps)
        light, texture = _colours(track, frames, model)
    track = FaceTrack(**{**vars(track), "light": light, "texture": texture, "source": np.array(found.source)})
    validate(track)
    progress(total, total)
    cuts = np.zeros(len(track), bool)
    cuts[[run.start for run in runs[1:]]] = True
    return track, cuts


def assemble(fit: FitResult, confidence: np.ndarray, size: np.ndarray, model: FaceModel, fps: float) -> FaceTrack:
    """A FaceTrack of a fit, with white light and mean texture."""
    light = np.zeros((9, 3), np.float32)
    light[0] = 1 / (np.pi * 0.282095)
    turned = np.abs(fit.rotation[:, :2]).max(1)
    sure = confidence * np.clip(1.0 - (np.degrees(turned) - 40) / 50, 0.2, 1.0)
    return FaceTrack(np.array(float(fps)), size.astype(np.int32), np.array(fit.focal), fit.landmarks.astype(np.float32),
                     sure.astype(np.float32), fit.expression, np.array(model.names), fit.rotation, fit.translation,
                     fit.identity, fit.shape_offset, np.zeros(len(model.texture_basis), np.float32), light,
                     crop_square(fit.landmarks[fit.found], size), measured=fit.measured)


def crop_square(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(3,) float32 x, y, side: an even square of whole pixels around the face in all frames, within the frame.

    `points` (T, L, 3) pixels, `size` (2,) width and height.
    """
    low, high = (np.percentile(edge, at, axis=0) for edge, at in
                 ((points[..., :2].min(1), 1), (points[..., :2].max(1), 99)))
    tall = float(np.median(np.ptp(points[..., 1], axis=1)))
    # MediaPipe's outline ends below the hair: the head's middle lies a little higher than the landmarks'.
    middle = (low + high) / 2 - [0, 0.06 * tall]
    side = min(CROP_MARGIN * float((high - low).max()), float(min(size)))
    even = max(2, 2 * round(side / 2))
    even -= 2 if even > min(size) and even > 2 else 0
    corner = np.clip(np.round(middle - even / 2), 0, np.maximum(np.asarray(size) - even, 0))
    return np.array([corner[0], corner[1], even], np.float32)


def _colours(track: FaceTrack, frames: Sequence[np.ndarray], model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Light and texture from calm frames and from those turned furthest."""
    neutral, triangles = neutral_shape(track, model), model.triangles()
    views = [place(track, model, number, frames[number], neutral, triangles) for number in light_frames(track, model)]
    return illumination.estimate(views, model)


def light_frames(track: FaceTrack, model: FaceModel) -> list[int]:
    """A few frames, calm ones and of different yaw."""
    cost = neutral_cost(track, model)
    usable = np.flatnonzero(np.isfinite(cost))
    if not len(usable):
        return [0]
    calm = usable[np.argsort(cost[usable], kind="stable")]
    yaw = track.rotation[calm, 1]
    near = np.abs(yaw) < np.radians(35)
    picks = [calm[0], calm[min(len(calm) - 1, 2)], calm[len(calm) // 4]]
    if near.any():
        picks += [calm[near][yaw[near].argmin()], calm[near][yaw[near].argmax()]]
    return [int(number) for number in dict.fromkeys(picks)][:LIGHT_FRAMES]


def _remarks(fit: FitResult, runs: list[slice], fps: float, warn: Callable[[str], None]) -> None:
    face = float(np.median(np.ptp(fit.landmarks[..., 1], axis=1)))
    if face < LEAST_FACE:
        warn(f"The face is only {face:.0f} pixels high; lips and eyes are measured roughly.")
    lost = np.concatenate([[0], (~fit.found).astype(int), [0]])
    edges = np.flatnonzero(np.diff(lost))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    if longest > LONG_GAP * fps:
        warn(f"The face is out of sight for {longest / fps:.1f} s on end; its motion there is made up.")
    cuts = len(runs) - 1
    if cuts:
        warn(f"The picture jumps {cuts} time{'s' if cuts > 1 else ''}; motion is not smoothed across cuts.")
