"""Background matching: which source frame stands behind each output frame, and the pose that comes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ml_backend.artefacts.plates import Plates
from ml_backend.background.between import snapped
from ml_backend.background.keyframes import key_frames
from ml_backend.background.path import PathCosts, best_path
from ml_backend.background.residual import reachable_pose
from ml_backend.errors import StageError, UserInputError

CONFIGS = ("path", "yi2020")
SPEED = 1  # source frames per output frame in yi2020: never faster than real time
LEAST_SPREAD = np.array([0.03, 0.03, 0.03, 0.01, 0.01, 0.02])  # radians, metres: smaller differences don't show
AXIS_WEIGHT = np.array([1.0, 1.0, 1.0, 0.15, 0.15, 0.15])
FAR = 8.0  # squared deviations: where no frame is near, being a little less far is worth no standstill
BLINK_WEIGHT = 2.0
AVOID_COST = 25.0  # squared deviations: as much as a pose far away
EASE = 0.8  # frames by which the path is smoothed, so that a swaying body doesn't bounce off its turning points
CUT_ANGLE, CUT_SHIFT = 0.12, 0.03  # radians and metres within one frame: no head moves so fast, it is a cut


def match(predicted_pose: np.ndarray, source_pose: np.ndarray, *, config: str = "path",
          confidence: np.ndarray | None = None, source_blink: np.ndarray | None = None,
          wanted_blink: np.ndarray | None = None, cuts: np.ndarray | None = None,
          motion: np.ndarray | None = None, avoid: np.ndarray | None = None) -> Plates:
    """Choose a source frame for each output frame.

    ``yi2020``: key frames where the predicted roll turns, each given the source frame nearest in the three angles
    within reach at real-time speed, linear in between (Yi et al. 2020, §3.3).
    ``path``: the sequence of source frames, played forwards or backwards at up to double speed, that together is
    nearest to the prediction in all three angles and position, with few turns and standstills; found by dynamic
    programming.

    Parameters
    ----------
    predicted_pose : (N, 6) pitch, yaw, roll (radians), x, y, z (metres)
    source_pose : (T, 6), the same of the clip
    config : "path" or "yi2020"
    confidence : (T,), source frames of confidence 0 are never used
    source_blink, wanted_blink : (T,) and (N,) lid closure in [0, 1]; given both, closed lids are sought for closed
        lids (path only)
    cuts : (T,) bool, true where a source frame does not continue the one before it; jumps of pose are found without
        (path only)
    motion : (T,) how much the surroundings move from each source frame to the next; where playing at double speed would
        jump, it is not done (path only)
    avoid : (T,) bool, source frames to be used only where nothing else is near, e.g. with a hand over the face (path
        only)

    Returns
    -------
    Plates, with the poses of the chosen source frames, between two of them where ``path`` turns round softly;
    `key_frames` are the matched ones (yi2020) or, for ``path``, where every frame is matched, those at which the
    playing direction turns

    Raises
    ------
    UserInputError
        If `config` is unknown.
    StageError
        If no source frame is usable.
    """
    if config not in CONFIGS:
        raise UserInputError(f"There is no background matching called {config}; choose one of {', '.join(CONFIGS)}.")
    wanted, given = np.asarray(predicted_pose, np.float64), np.asarray(source_pose, np.float64)
    usable = np.ones(len(given), bool) if confidence is None else np.asarray(confidence) > 0
    usable &= np.isfinite(given).all(1)
    if not usable.any():
        raise StageError("No frame of the clip shows a face that could be tracked, so there is no plate to match; "
                         "choose a clip in which the face is seen.")
    if usable.sum() == 1:
        source, keys = np.full(len(wanted), int(np.argmax(usable))), np.unique([0, max(0, len(wanted) - 1)])
    elif config == "yi2020":
        source, keys = _yi2020(wanted[:, :3], given[:, :3], usable)
    else:
        broken = _broken(given, cuts)
        extra = _sum(_blink_cost(source_blink, wanted_blink), _avoid_cost(avoid))
        source = _path(wanted, given, usable, extra, broken, motion)
        return _eased(source, given, usable, broken)
    return Plates(source.astype(np.int32), given[source].astype(np.float32), keys.astype(np.int32))


def turned(plates: Plates, wanted: np.ndarray, *, amount: float = 1.0) -> Plates:
    """The same plates with the head to be turned in them towards the wanted poses (N, 6); see `residual`."""
    return replace(plates, pose=reachable_pose(wanted, plates.pose, amount=amount).astype(np.float32),
                   plate_pose=plates.pose)


def _eased(source: np.ndarray, given: np.ndarray, usable: np.ndarray, broken: np.ndarray) -> Plates:
    """Plates of a path that slows down before it turns, between frames where both neighbours can be shown."""
    position = snapped(gaussian_filter1d(source.astype(float), EASE, mode="nearest", truncate=3.0))
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, len(given) - 1)
    possible = (position == below) | (usable[below] & usable[above] & ~broken[above])
    position = np.where(possible, position, source)
    nearest = np.rint(position).astype(int)
    position = np.where(usable[nearest], position, source)
    below = np.floor(position).astype(int)
    share = (position - below)[:, None]
    known = np.where(usable[:, None], given, 0.0)
    pose = known[below] * (1 - share) + known[np.minimum(below + 1, len(given) - 1)] * share
    return Plates(np.rint(position).astype(np.int32), pose.astype(np.float32), _turns(source).astype(np.int32),
                  position.astype(np.float32))


def _broken(given: np.ndarray, cuts: np.ndarray | None) -> np.ndarray:
    """(T,) bool: the frame does not continue the one before."""
    change = np.nan_to_num(np.abs(np.diff(given, axis=0)))
    broken = np.zeros(len(given), bool)
    broken[1:] = (change[:, :3].max(1) > CUT_ANGLE) | (change[:, 3:].max(1) > CUT_SHIFT)
    return broken if cuts is None else broken | np.asarray(cuts, bool)


def _sum(*costs: Callable[[int, int], np.ndarray] | None) -> Callable[[int, int], np.ndarray] | None:
    there = [cost for cost in costs if cost is not None]
    return (lambda first, last: np.sum([cost(first, last) for cost in there], axis=0)) if there else None


def _avoid_cost(avoid: np.ndarray | None) -> Callable[[int, int], np.ndarray] | None:
    if avoid is None or not np.any(avoid):
        return None
    row = AVOID_COST * np.asarray(avoid, np.float32)[None]
    return lambda first, last: np.repeat(row, last - first, 0)


def _yi2020(wanted: np.ndarray, given: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys = key_frames(wanted)
    index = np.arange(len(given))
    matched = []
    for number, key in enumerate(keys):
        distance = np.abs(given - wanted[key]).sum(1)
        distance[~usable] = np.inf
        if number:
            reach = SPEED * (key - keys[number - 1])
            near = np.abs(index - matched[-1]) <= reach
            distance[~near] = np.inf
        # The frame matched before is always within reach and usable, so the minimum is finite.
        matched.append(int(np.argmin(distance)))
    source = np.rint(np.interp(np.arange(len(wanted)), keys, matched)).astype(int)
    good = np.flatnonzero(usable)
    nearest = good[np.abs(good[None] - index[:, None]).argmin(1)] if len(good) < len(given) else index
    return nearest[source], keys


def _path(wanted: np.ndarray, given: np.ndarray, usable: np.ndarray,
          extra: Callable[[int, int], np.ndarray] | None, broken: np.ndarray,
          motion: np.ndarray | None) -> np.ndarray:
    spread = np.maximum(given[usable].std(0), LEAST_SPREAD)
    scale = np.sqrt(AXIS_WEIGHT) / spread
    speed = np.zeros(len(given))
    speed[1:] = (np.nan_to_num(np.abs(np.diff(given[:, :3], axis=0))) * scale[:3]).sum(1)
    costs = PathCosts.build(speed, usable, broken, motion)
    # Beyond the clip's own range nothing is nearer than its extreme, and the clip would stand still there.
    wanted = np.clip(wanted, given[usable].min(0), given[usable].max(0))
    target = (wanted * scale).astype(np.float32)
    have = np.where(usable[:, None], given * scale, 0).astype(np.float32)
    own = (have * have).sum(1)

    def unary(first: int, last: int) -> np.ndarray:
        part = target[first:last]
        squared = np.maximum((part * part).sum(1)[:, None] + own - 2 * part @ have.T, 0)
        cost = squared / (1 + squared / FAR)
        return (cost if extra is None else cost + extra(first, last)).astype(np.float32)

    return best_path(unary, len(wanted), costs)


def _blink_cost(source: np.ndarray | None, wanted: np.ndarray | None) -> Callable[[int, int], np.ndarray] | None:
    if source is None or wanted is None:
        return None
    have, want = np.asarray(source, np.float32), np.asarray(wanted, np.float32)
    return lambda first, last: BLINK_WEIGHT * (want[first:last, None] - have[None]) ** 2


def _turns(source: np.ndarray) -> np.ndarray:
    """First and last frame and those at which the playing direction turns."""
    step = np.sign(np.diff(source))
    moving = np.flatnonzero(step)
    turns = moving[1:][step[moving[1:]] != step[moving[:-1]]]
    return np.unique(np.concatenate([[0], turns, [len(source) - 1]]))
