"""Identity over the clip and expression per frame from landmarks, by alternating regularised least squares.

Observed points are brought into the head's own space; there, identity (Tikhonov, N(0, 1)) and expression (box [0, 1],
prior, time, symmetry) are linear. Only what a camera sees counts fully: x and y along its axes, depth a little.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import boxsolve, contacts, mouth_reader, partial, photo_prior, pose, priors, still
from ml_backend.reconstruct.appearance import appearance
from ml_backend.reconstruct.cuts import shots
from ml_backend.reconstruct.equations import System, View, observe, stable_weights
from ml_backend.reconstruct.mouth_view import mouth_view
from ml_backend.reconstruct.offset import landmark_offset
from ml_backend.reconstruct.points import IRIS_RIGHT, Measurements, Rig, noise
from ml_backend.reconstruct.pose import CONVERGED
from ml_backend.reconstruct.prepared import Prepared, identity_system, prepared
from ml_backend.reconstruct.tuck import tuck

SAMPLE = 160
ROUNDS, LATE, FEW = 5, 2, 40
"""Alternations; the first ones, all but the last two, see about 40 frames, which tell a person's shape as well."""
NEAR = 2e-4
"""A step of the pose that suffices where shape and expression change anyway, radians and metres."""
DENSE = 2
"""Frames from one sampled frame to the next from which on what lies between is no news for the pose."""
DRAFT, FINAL = 6, 4
"""Sweeps of the expression solve: where a better pose or person follows, and at last."""
HABIT_SHARE, HABIT_LIMIT = 0.9, 0.5


@dataclass(frozen=True)
class FitResult:
    """A clip explained by a face model. T frames, K expressions, I identities, V vertices.

    Attributes
    ----------
    expression : (T, K) float32 in [0, 1]
    rotation : (T, 3) float32, pitch, yaw, roll, radians
    translation : (T, 3) float32, metres, camera space
    identity : (I,) float32
    shape_offset : (V, 3) float32, metres
    focal : pixels
    residual_px : (T,) float32, root mean square distance of fitted and observed landmarks (without outline and iris)
    found : (T,) bool, False where landmarks were missing and interpolated
    landmarks : (T, 478, 3) float32 pixels, without gaps; where the fitted face has them if not `measured`
    measured : (478,) bool, which landmarks were seen at all
    """

    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    identity: np.ndarray
    shape_offset: np.ndarray
    focal: float
    residual_px: np.ndarray
    found: np.ndarray
    landmarks: np.ndarray
    measured: np.ndarray


def fit_landmarks(landmarks: np.ndarray, size: np.ndarray, model: FaceModel, fps: float, *,
                  focal: float | None = None, cuts: np.ndarray | None = None, progress: Progress = silent,
                  picture: np.ndarray | None = None) -> FitResult:
    """Explain a clip's landmarks by `model`.

    Parameters
    ----------
    landmarks : (T, 478, 3) float32 pixels, NaN where no face was found (at least one frame must have one); points that
        are NaN in all frames are those that the network does not know
    size : (2,) width and height of the frame, pixels
    model : its landmarks decide what is fitted
    fps : frames a second
    focal : pixels, default `pose.default_focal`
    cuts : (T,) bool, frames that begin a new shot; jumps of the face are found without
    progress : called after each step
    picture : (H, W, 3) RGB uint8, the one that the landmarks are of if they are of one: edges tell of the expression
    """
    measured = np.isfinite(landmarks).all(2).any(0)
    filled, found = fill_gaps(landmarks[:, measured], cuts)
    ready, centre = prepared(model, measured), np.asarray(size, float) / 2
    points = ready.points
    seen = filled[:, np.searchsorted(np.flatnonzero(measured), points.index)].astype(float)
    camera = guess_focal(seen, points, size) if focal is None else float(focal)
    if len(seen) == 1:
        identity, spread, view, expression = _photo(seen, model, ready, camera, centre, landmarks[0],
                                                    picture if measured.all() else None)
    else:
        identity, spread, view, expression = _clip(seen, found, model, ready, camera, centre,
                                                   pose.segments(filled, cuts), fps, progress)
    progress(ROUNDS + 1, ROUNDS + 2)
    neutral = points.mean + np.tensordot(identity, points.identity, 1) + spread[points.vertex]
    residual = _residual_px(view, neutral, expression, points)
    progress(ROUNDS + 2, ROUNDS + 2)
    result = FitResult(expression.astype(np.float32), pose.angles_of(view.rotation).astype(np.float32),
                       view.translation.astype(np.float32), identity.astype(np.float32), spread.astype(np.float32),
                       camera, residual.astype(np.float32), found, filled, measured)
    return result if measured.all() else partial.completed(result, model, centre)


def _photo(seen: np.ndarray, model: FaceModel, ready: Prepared, focal: float, centre: np.ndarray, mark: np.ndarray,
           picture: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, View, np.ndarray]:
    """Identity, offset (V, 3), view and expression (1, K) of one picture's landmarks (1, L, 3).

    The `picture` itself, of all landmarks `mark` (478, 3) px, tells more if it is at hand.
    """
    points = ready.points
    look = None if picture is None else appearance(picture, mark)[0]
    found = still.solve(first_view(seen, points, 2 * centre, focal), points, photo_prior.prior_of(points), look,
                        _reader(picture, points))
    moved = np.tensordot(found.expression, points.expression, 1)
    shape = points.mean + np.tensordot(found.identity, points.identity, 1)
    offset = landmark_offset(found.target - moved - shape, found.view.rotation, points, moved,
                             still.levels(found, points), shape)
    spread = _spread(model, ready.spreading(model).carry(offset), found.identity)
    return found.identity, spread, found.view, found.expression


def _reader(picture: np.ndarray | None, points: Rig) -> Callable[[still.Still, np.ndarray], still.Reading] | None:
    """What reads the mouth in a `picture`, if it is at hand and a reader was learned for this model."""
    reader = None if picture is None else mouth_reader.reader_of(points)
    if reader is None or picture is None:
        return None

    def read(found: still.Still, guess: np.ndarray) -> still.Reading:
        view = mouth_view(picture, found.view, found.target[0], points)
        weights, believe = reader.read(view[None], found.expression, pose.angles_of(found.view.rotation), guess)
        return still.Reading(dict(zip(reader.names.tolist(), weights[0].tolist(), strict=True)), float(believe[0]))

    return read


def first_view(seen: np.ndarray, points: Rig, size: np.ndarray, focal: float | None = None) -> View:
    """Pose of the mean face for landmarks (T, L, 3) px in a frame of `size`; `focal` in pixels is guessed if None."""
    camera = guess_focal(seen, points, size) if focal is None else focal
    weight, centre = stable_weights(points), np.asarray(size, float) / 2
    view = View(seen, *pose.initial_pose(seen, points.mean, weight, camera, centre), camera, centre)
    return _repose(view, points.mean, weight)


def _clip(seen: np.ndarray, found: np.ndarray, model: FaceModel, ready: Prepared, focal: float, centre: np.ndarray,
          runs: list[slice], fps: float, progress: Progress) -> tuple[np.ndarray, np.ndarray, View, np.ndarray]:
    """Identity, offset (V, 3), view and expressions (T, K) of a clip's landmarks (T, L, 3), those `found` first."""
    known, points = np.flatnonzero(found), ready.points
    sample = known[np.unique(np.linspace(0, len(known) - 1, min(SAMPLE, len(known))).round().astype(int))]
    with ThreadPoolExecutor(1) as pool:
        # What the mesh is like takes a while to factorise, if it isn't yet, and waits for nobody.
        spreading = pool.submit(ready.spreading, model)
        identity, offset, at, sampled = _person(seen[sample], ready, focal, centre, progress)
        spread = _spread(model, spreading.result().carry(offset), identity)
    neutral = points.mean + np.tensordot(identity, points.identity, 1) + spread[points.vertex]
    start = _between(sampled, sample, len(seen))
    dense = bool((np.diff(sample, prepend=-1, append=len(seen)) <= DENSE).all())
    deformed = neutral + np.tensordot(start, points.expression, 1) if dense else np.broadcast_to(neutral, seen.shape)
    view = View(seen, *pose.initial_pose(seen, deformed, ready.weight, focal, centre), focal, centre)
    view = _repose(view, deformed, ready.weight, CONVERGED if dense else NEAR)
    if not dense:
        view, start = _drafted(view, neutral, ready, at, start)
    return identity, spread, *_all_frames(view, neutral, ready, at, runs, fps, start)


def _between(sampled: np.ndarray, sample: np.ndarray, count: int) -> np.ndarray:
    """(T, K) of `count` frames, those between the frames `sample` (N,) on the line from one of `sampled` (N, K) on."""
    frames = np.arange(count)
    after = np.clip(np.searchsorted(sample, frames), 0, len(sample) - 1)
    before = np.maximum(after - 1, 0)
    share = np.clip((frames - sample[before]) / np.maximum(sample[after] - sample[before], 1), 0, 1)[:, None]
    return sampled[before] * (1 - share) + sampled[after] * share


def _spread(model: FaceModel, spread: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """(V, 3) metres: an offset `spread` (V, 3) of a person's mesh, with what has to stay inside tucked in."""
    return spread + tuck(model, model.mean_shape + np.tensordot(identity, model.identity_basis, 1) + spread)


def guess_focal(seen: np.ndarray, points: Rig, size: np.ndarray) -> float:
    """Default focal length for landmarks (T, L, 3) in a frame of `size`."""
    weight = stable_weights(points)
    some = seen[:: max(1, len(seen) // 50)]
    unit = max(np.asarray(size, float))
    depth = pose.initial_pose(some, points.mean, weight, unit, np.asarray(size, float) / 2)[1][:, 2]
    return pose.default_focal(size, float(np.median(unit / depth)))


def fill_gaps(landmarks: np.ndarray, cuts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(T, 478, 3) float32 without NaN and (T,) bool what was really there.

    Linear in between, constant at the ends of the clip and of each shot; a shot without a face holds its neighbours'.
    """
    found = np.isfinite(landmarks).all(axis=(1, 2))
    if found.all():
        return landmarks.astype(np.float32, copy=False), found
    if cuts is None:
        return _bridge(landmarks, found), found
    out = np.full(landmarks.shape, np.nan, np.float32)
    for shot in shots(cuts):
        if found[shot].any():
            out[shot] = _bridge(landmarks[shot], found[shot])
    return _bridge(out, np.isfinite(out).all(axis=(1, 2))), found


def _bridge(landmarks: np.ndarray, found: np.ndarray) -> np.ndarray:
    known, frames = np.flatnonzero(found), np.arange(len(landmarks))
    after = np.clip(np.searchsorted(known, frames), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    a, b = known[before], known[after]
    share = np.clip((frames - a) / np.maximum(b - a, 1), 0, 1)[:, None, None]
    out = (landmarks[a] * (1 - share) + landmarks[b] * share).astype(np.float32)
    out[found] = landmarks[found]
    return out


@dataclass
class _Person:
    """What `_person` improves from round to round: identity (I,), landmark offset (L, 3), contact levels, expressions
    (N, K) of the sampled frames, and their landmarks as they are deformed, (L, 3) at first, then (N, L, 3)."""

    identity: np.ndarray
    offset: np.ndarray
    deformed: np.ndarray
    at: contacts.Levels | None = None
    expression: np.ndarray | None = None

    def upsampled(self, step: int, count: int) -> _Person:
        """From every `step`-th of `count` frames to all of them, each as the nearest one."""
        assert self.expression is not None
        nearest = np.minimum((np.arange(count) + step // 2) // step, len(self.expression) - 1)
        return replace(self, expression=self.expression[nearest], deformed=self.deformed[nearest])


def _person(seen: np.ndarray, ready: Prepared, focal: float, centre: np.ndarray, progress: Progress
            ) -> tuple[np.ndarray, np.ndarray, contacts.Levels, np.ndarray]:
    """Identity, landmark offset (L, 3), contact levels and expressions (N, K) from sampled frames (N, L, 3)."""
    points = ready.points
    found = _Person(np.zeros(len(points.identity)), np.zeros_like(points.mean), points.mean)
    thin = max(1, len(seen) // FEW)
    for first, last, step in ((0, ROUNDS - LATE, thin), (ROUNDS - LATE, ROUNDS, 1)):
        if first:
            found = found.upsampled(thin, len(seen))
        some = seen[::step]
        start = pose.initial_pose(some, found.deformed, ready.weight, focal, centre)
        view = View(some, *start, focal, centre)
        for number in range(first, last):
            view = _round(found, view, ready, shift=number >= ROUNDS - LATE)
            progress(number + 1, ROUNDS + 2)
    assert found.at is not None and found.expression is not None
    return found.identity, found.offset, found.at, np.clip(found.expression - _habit(found.expression), 0, 1)


def _round(found: _Person, view: View, ready: Prepared, *, shift: bool) -> View:
    """Pose, contact levels, expressions, identity and, with `shift`, the offset, each given the others."""
    points = ready.points
    view = _repose(view, found.deformed, ready.weight, NEAR)
    neutral = points.mean + np.tensordot(found.identity, points.identity, 1) + found.offset
    raw = observe(view, np.broadcast_to(found.deformed, view.points.shape), ready.weight)
    at = contacts.levels(raw, points)
    target = contacts.correct(raw, points, at)
    expression = solve_expressions(target, neutral, view.rotation, points, ready.rows, start=found.expression,
                                   sweeps=DRAFT, system=ready.expressions)
    moved = np.tensordot(expression - _habit(expression), points.expression, 1)
    found.identity = solve_identity(target - moved - points.mean - found.offset, view.rotation, points, ready.persons)
    shape = points.mean + np.tensordot(found.identity, points.identity, 1)
    if shift:
        found.offset = landmark_offset(target - moved - shape, view.rotation, points, moved, at, shape)
    found.deformed, found.at, found.expression = shape + found.offset + moved, at, expression
    return view


def _habit(expression: np.ndarray) -> np.ndarray:
    """(K,) what a channel never falls below in a clip: it belongs to the person's shape, not to the expression."""
    if len(expression) < contacts.ENOUGH_FRAMES:
        return np.zeros(expression.shape[1])
    return HABIT_SHARE * np.minimum(np.percentile(expression, 10, axis=0), HABIT_LIMIT)


def _drafted(view: View, neutral: np.ndarray, ready: Prepared, at: contacts.Levels, start: np.ndarray
             ) -> tuple[View, np.ndarray]:
    """Pose and expression (T, K) of every frame by itself, which tell the pose how the face is deformed."""
    points = ready.points
    target = contacts.correct(observe(view, np.broadcast_to(neutral, view.points.shape), ready.weight), points, at)
    draft = solve_expressions(target, neutral, view.rotation, points, ready.rows, start=start, sweeps=DRAFT,
                              system=ready.expressions)
    return _repose(view, neutral + np.tensordot(draft, points.expression, 1), ready.weight), draft


def _all_frames(view: View, neutral: np.ndarray, ready: Prepared, at: contacts.Levels, runs: list[slice], fps: float,
                start: np.ndarray) -> tuple[View, np.ndarray]:
    """Pose, smoothed, and expression of every frame, given the person and expressions (T, K) to start from."""
    points = ready.points
    angles, move = pose.smooth_pose(pose.angles_of(view.rotation), view.translation, runs, fps)
    view = replace(view, rotation=pose.matrices_of(angles), translation=move)
    deformed = neutral + np.tensordot(start, points.expression, 1)
    target = contacts.correct(observe(view, deformed, ready.weight), points, at)
    joined = np.ones(max(len(start) - 1, 0), bool)
    joined[[run.start - 1 for run in runs[1:]]] = False
    chain = boxsolve.Chain(priors.temporal_weights(points.names, fps), joined)
    return view, solve_expressions(target, neutral, view.rotation, points, ready.rows, chain=chain, start=start,
                                   system=ready.expressions)


def _repose(view: View, deformed: np.ndarray, weight: np.ndarray, tolerance: float = CONVERGED) -> View:
    rotation, translation = pose.refine_pose(view.points, deformed, weight, view.focal, view.centre, view.rotation,
                                             view.translation, tolerance=tolerance)
    return replace(view, rotation=rotation, translation=translation)


def solve_expressions(target: np.ndarray, neutral: np.ndarray, rotation: np.ndarray, points: Rig, rows: Measurements, *,
                      chain: boxsolve.Chain | None = None, start: np.ndarray | None = None, sweeps: int = FINAL,
                      system: System | None = None) -> np.ndarray:
    """Expression weights (T, K) in [0, 1] that bring `neutral` (L, 3) onto `target` (T, L, 3), both in model space.

    `rotation` (T, 3, 3) says which direction of each frame was seen well; without a `chain` frames are independent.
    `sweeps` bounds the effort, see `boxsolve.solve`; `system` is that of the expressions, if it is at hand.
    """
    names = points.names
    system = system or System.of(rows.apply(points.expression), rows)
    gram, right = system.normal(rows.apply(target - neutral), rotation)
    gram += priors.precision(names, gaze=bool((points.index >= IRIS_RIGHT).any()))
    if chain is None:
        chain = boxsolve.Chain(np.zeros(len(names)), np.zeros(max(len(target) - 1, 0), bool))
    return boxsolve.solve(gram, right, chain, below=priors.caps(names), start=start, sweeps=sweeps)


def solve_identity(residual: np.ndarray, rotation: np.ndarray, points: Rig, system: System | None = None) -> np.ndarray:
    """(I,) coefficients that explain the mean residual (N, L, 3); prior N(0, 1), all frames count as a few.

    `system` is `identity_system` of the points, if it is at hand.
    """
    system = system or identity_system(points)
    gram, right = system.summed(system.rows.apply(residual), rotation)
    share = min(len(residual), 8) / len(residual)
    return np.linalg.solve(gram * share + np.eye(len(points.identity)), right * share)


def _residual_px(view: View, neutral: np.ndarray, expression: np.ndarray, points: Rig) -> np.ndarray:
    """(T,) RMS reprojection error in pixels over landmarks that are neither outline nor iris."""
    inner = (noise(points) < 0.005) & (points.index < 468)
    deformed = neutral[inner] + np.tensordot(expression, points.expression[:, inner], 1)
    camera = deformed @ view.rotation.transpose(0, 2, 1) + view.translation[:, None]
    error = project(camera, view.focal, view.centre) - view.points[:, inner, :2]
    return np.sqrt((error**2).sum((1, 2)) / error.shape[1])
