"""Identity over the clip and expression per frame from landmarks, by alternating regularised least squares.

Observed points are brought into the head's own space; there, identity (Tikhonov, N(0, 1)) and expression (box [0, 1],
prior, time, symmetry) are linear. Only what a camera sees counts fully: x and y along its axes, depth a little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import boxsolve, contacts, pose, priors
from ml_backend.reconstruct.cuts import shots
from ml_backend.reconstruct.offset import landmark_offset, spread_offset
from ml_backend.reconstruct.points import CORRELATION, Measurements, Rig, measurements, noise, rig

DEPTH_TRUST = 0.06
"""Weight of a squared error along the camera's axis beside one across it."""
SAMPLE = 160
ROUNDS = 5
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
    landmarks : (T, 478, 3) float32 pixels, without gaps
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


def fit_landmarks(landmarks: np.ndarray, size: np.ndarray, model: FaceModel, fps: float, *,
                  focal: float | None = None, cuts: np.ndarray | None = None, progress: Progress = silent
                  ) -> FitResult:
    """Explain a clip's landmarks by `model`.

    Parameters
    ----------
    landmarks : (T, 478, 3) float32 pixels, NaN where no face was found (at least one frame must have one)
    size : (2,) width and height of the frame, pixels
    model : its landmarks decide what is fitted
    fps : frames a second
    focal : pixels, default `pose.default_focal`
    cuts : (T,) bool, frames that begin a new shot; jumps of the face are found without
    progress : called after each step
    """
    filled, found = fill_gaps(landmarks, cuts)
    points, centre = rig(model), np.asarray(size, float) / 2
    seen = filled[:, points.index].astype(float)
    camera = _guess_focal(seen, points, size) if focal is None else float(focal)
    known = np.flatnonzero(found)
    sample = known[np.unique(np.linspace(0, len(known) - 1, min(SAMPLE, len(known))).round().astype(int))]
    identity, offset, at = _person(seen[sample], points, camera, centre, progress)
    spread = spread_offset(model, points, offset)
    neutral = points.mean + np.tensordot(identity, points.identity, 1) + spread[points.vertex]
    runs = pose.segments(filled, cuts)
    view, expression = _all_frames(seen, neutral, points, at, camera, centre, runs, fps)
    progress(ROUNDS + 1, ROUNDS + 2)
    residual = _residual_px(view, neutral, expression, points)
    progress(ROUNDS + 2, ROUNDS + 2)
    return FitResult(expression.astype(np.float32), pose.angles_of(view.rotation).astype(np.float32),
                     view.translation.astype(np.float32), identity.astype(np.float32), spread.astype(np.float32),
                     camera, residual.astype(np.float32), found, filled)


def _guess_focal(seen: np.ndarray, points: Rig, size: np.ndarray) -> float:
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
    if cuts is None or found.all():
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


def stable_weights(points: Rig) -> np.ndarray:
    """(L,) weights for the rigid pose: low where expressions move a point or MediaPipe is unsure of it."""
    moves = np.einsum("k,klc->l", (0.5 * priors.sizes(points.names)) ** 2, points.expression**2)
    weight = 1.0 / (noise(points) ** 2 + moves)
    weight[points.index >= 468] = 0.0
    return weight / weight.sum()


def _person(seen: np.ndarray, points: Rig, focal: float, centre: np.ndarray, progress: Progress
            ) -> tuple[np.ndarray, np.ndarray, contacts.Levels]:
    """Identity, landmark offset (L, 3) and contact levels from sampled frames (N, L, 3)."""
    weight, rows = stable_weights(points), measurements(points)
    identity, offset = np.zeros(len(points.identity)), np.zeros_like(points.mean)
    deformed: np.ndarray = points.mean
    rotation, translation = pose.initial_pose(seen, deformed, weight, focal, centre)
    view, expression = View(seen, rotation, translation, focal, centre), None
    at = contacts.levels(observe(view, np.broadcast_to(deformed, seen.shape), weight), points)
    for step in range(ROUNDS):
        view = _repose(view, deformed, weight)
        neutral = points.mean + np.tensordot(identity, points.identity, 1) + offset
        raw = observe(view, np.broadcast_to(deformed, seen.shape), weight)
        at = contacts.levels(raw, points)
        target = contacts.correct(raw, points, at)
        expression = solve_expressions(target, neutral, view.rotation, points, rows, start=expression)
        moved = np.tensordot(expression - _habit(expression), points.expression, 1)
        identity = _solve_identity(target - moved - points.mean - offset, view.rotation, points)
        if step >= ROUNDS - 2:
            shape = points.mean + np.tensordot(identity, points.identity, 1)
            offset = landmark_offset(target - moved - shape, view.rotation, points, moved, at, shape)
        deformed = points.mean + np.tensordot(identity, points.identity, 1) + offset + moved
        progress(step + 1, ROUNDS + 2)
    return identity, offset, at


def _habit(expression: np.ndarray) -> np.ndarray:
    """(K,) what a channel never falls below in a clip: it belongs to the person's shape, not to the expression."""
    if len(expression) < contacts.ENOUGH_FRAMES:
        return np.zeros(expression.shape[1])
    return HABIT_SHARE * np.minimum(np.percentile(expression, 10, axis=0), HABIT_LIMIT)


def _all_frames(seen: np.ndarray, neutral: np.ndarray, points: Rig, at: contacts.Levels, focal: float,
                centre: np.ndarray, runs: list[slice], fps: float) -> tuple[View, np.ndarray]:
    """Pose and expression of every frame, given the person."""
    weight, rows = stable_weights(points), measurements(points)
    rotation, translation = pose.initial_pose(seen, neutral, weight, focal, centre)
    view = _repose(View(seen, rotation, translation, focal, centre), neutral, weight)
    joined = np.ones(max(len(seen) - 1, 0), bool)
    joined[[run.start - 1 for run in runs[1:]]] = False
    chain = boxsolve.Chain(priors.temporal_weights(points.names, fps), joined)
    deformed, expression = np.broadcast_to(neutral, seen.shape), None
    for last in (False, True):
        if last:
            view = _repose(view, deformed, weight)
            angles, move = pose.smooth_pose(pose.angles_of(view.rotation), view.translation, runs, fps)
            view = replace(view, rotation=pose.matrices_of(angles), translation=move)
        target = contacts.correct(observe(view, deformed, weight), points, at)
        expression = solve_expressions(target, neutral, view.rotation, points, rows, chain=chain, start=expression)
        deformed = neutral + np.tensordot(expression, points.expression, 1)
    return view, expression


def _repose(view: View, deformed: np.ndarray, weight: np.ndarray) -> View:
    rotation, translation = pose.refine_pose(view.points, deformed, weight, view.focal, view.centre, view.rotation,
                                             view.translation)
    return replace(view, rotation=rotation, translation=translation)


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


def solve_expressions(target: np.ndarray, neutral: np.ndarray, rotation: np.ndarray, points: Rig, rows: Measurements, *,
                      chain: boxsolve.Chain | None = None, start: np.ndarray | None = None) -> np.ndarray:
    """Expression weights (T, K) in [0, 1] that bring `neutral` (L, 3) onto `target` (T, L, 3), both in model space.

    `rotation` (T, 3, 3) says which direction of each frame was seen well; without a `chain` frames are independent.
    """
    names = points.names
    basis = rows.apply(points.expression)
    gram, right = _normal_equations(rows.apply(target - neutral), basis, rows, rotation)
    gram += priors.precision(names)
    if chain is None:
        chain = boxsolve.Chain(np.zeros(len(names)), np.zeros(max(len(target) - 1, 0), bool))
    return boxsolve.solve(gram, right, chain, below=priors.caps(names), start=start)


def _normal_equations(residual: np.ndarray, basis: np.ndarray, rows: Measurements, rotation: np.ndarray
                      ) -> tuple[np.ndarray, np.ndarray]:
    """G (T, K, K) and b (T, K) of the weighted problem: residual (T, P, 3), basis (K, P, 3)."""
    metric = seen_metric(rotation)
    sides = side_visibility(rotation)
    shares = np.stack([1 - rows.side, rows.side])
    count = len(basis)
    planes = basis.transpose(2, 0, 1)
    blocks = np.stack([[[(planes[a] * w) @ planes[b].T for b in range(3)] for a in range(3)]
                       for w in shares * rows.weight])
    factors = np.einsum("ts,tab->tsab", sides, metric).reshape(len(rotation), -1)
    gram = (factors @ blocks.reshape(-1, count * count)).reshape(-1, count, count)
    weights = (sides @ shares) * rows.weight
    pulled = residual @ metric * weights[..., None]
    return gram, pulled.reshape(len(rotation), -1) @ basis.reshape(count, -1).T


def seen_metric(rotation: np.ndarray) -> np.ndarray:
    """(T, 3, 3) Rᵀ diag(1, 1, depth trust) R: squared errors in model space as the camera sees them."""
    return np.einsum("tia,i,tib->tab", rotation, np.array([1.0, 1.0, DEPTH_TRUST]), rotation)


def side_visibility(rotation: np.ndarray) -> np.ndarray:
    """(T, 2) trust in the −x and the +x half of the face: the half that a yaw over 20° turns away fades out."""
    yaw = np.degrees(pose.angles_of(rotation)[:, 1])
    fade = np.stack([yaw, -yaw], 1)
    return 1.0 - 0.9 * np.clip((fade - 20.0) / 25.0, 0, 1)


def _solve_identity(residual: np.ndarray, rotation: np.ndarray, points: Rig) -> np.ndarray:
    """(I,) coefficients that explain the mean residual (N, L, 3); prior N(0, 1), all frames count as a few."""
    plain = points.index < 468
    count = int(plain.sum())
    x = points.mean[plain, 0]
    rows = Measurements(np.flatnonzero(plain), np.full(count, -1), CORRELATION / noise(points)[plain] ** 2,
                        np.clip(0.5 + x / 0.03, 0, 1))
    gram, right = _normal_equations(rows.apply(residual), rows.apply(points.identity), rows, rotation)
    share = min(len(residual), 8) / len(residual)
    return np.linalg.solve(gram.sum(0) * share + np.eye(len(points.identity)), right.sum(0) * share)


def _residual_px(view: View, neutral: np.ndarray, expression: np.ndarray, points: Rig) -> np.ndarray:
    """(T,) RMS reprojection error in pixels over landmarks that are neither outline nor iris."""
    inner = (noise(points) < 0.005) & (points.index < 468)
    deformed = (neutral + np.tensordot(expression, points.expression, 1))[:, inner]
    camera = deformed @ view.rotation.transpose(0, 2, 1) + view.translation[:, None]
    error = project(camera, view.focal, view.centre) - view.points[:, inner, :2]
    return np.sqrt((error**2).sum(-1).mean(1))
