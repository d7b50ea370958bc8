"""The cheapest way through the source frames: dynamic programming over (source frame, last step)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

STEPS = np.array([-2, -1, 0, 1, 2])  # source frames per output frame
# In squared standard deviations of the clip's pose. Playing backwards costs a little, double speed more, standing still
# most: a frozen room is the first thing one sees. Set by trial on four natural clips for about one turn a second and
# standstills of a frame or two; the pose error hardly depends on them.
STEP_COST = np.array([0.27, 0.02, 2.5, 0.0, 0.25], np.float32)
TURN_COST = 3.0  # per squared change of step, at the clip's usual head speed
CUT_COST = 2500.0  # a cut seen in the film is a jump: more than any pose costs while a window lasts
LONG_SHOT = 50  # source frames from which that counts whole; in a shorter shot staying would be a loop
JUMP = 1.35  # of the clip's own largest motion between frames: what may move in one step
JUMP_COST = 20.0
NEVER = np.float32(1e9)
WINDOW = 75  # output frames decided at a time, after which it is known which source frames were shown
LOOK_AHEAD = 125  # and those behind them that are only looked at
REPEAT = 0.5  # for a source frame shown just before, so that a short clip is shown whole before it is shown again
FORGOTTEN = 250.0  # output frames after which that is a third of it
NEIGHBOURS = 3.0  # source frames: what looks the same


@dataclass(frozen=True)
class PathCosts:
    """What moving costs in a clip of T frames.

    Attributes
    ----------
    turn : (5, 5, T) float32, [step before, step, frame]
    move : (5, T) float32, [step, frame arrived at]: speed, cuts crossed, unusable frames, the clip's ends
    """

    turn: np.ndarray
    move: np.ndarray

    @classmethod
    def build(cls, speed: np.ndarray, usable: np.ndarray, cuts: np.ndarray,
              motion: np.ndarray | None = None) -> PathCosts:
        """Costs of a clip.

        Parameters
        ----------
        speed : (T,) head speed at each source frame, any unit
        usable : (T,) bool
        cuts : (T,) bool, true where a frame does not continue the one before
        motion : (T,) how much the surroundings move from each frame to the next
        """
        count = len(speed)
        usual = np.median(speed[speed > 0]) if (speed > 0).any() else 1.0
        # Turning back is seen least where the head stands still anyway.
        ease = np.clip(0.4 + 0.6 * speed / usual, 0.4, 3).astype(np.float32)
        change = (STEPS[:, None] - STEPS[None]).astype(np.float32) ** 2
        crossed = np.concatenate([[0], np.cumsum(_severity(cuts))])
        move = np.zeros((len(STEPS), count), np.float32)
        for number, step in enumerate(STEPS):
            arrived = np.arange(count)
            left = arrived - step
            inside = (left >= 0) & (left < count)
            low, high = np.minimum(arrived, left), np.maximum(arrived, left)
            jumps = crossed[np.clip(high, 0, count - 1) + 1] - crossed[np.clip(low, 0, count - 1) + 1]
            move[number] = np.where(inside & usable, STEP_COST[number] + CUT_COST * jumps, NEVER)
        if motion is not None and count > 2:
            move[0, :-2] += _jumps(motion)
            move[4, 2:] += _jumps(motion)
        return cls(TURN_COST * change[..., None] * ease, move)


def _severity(cuts: np.ndarray) -> np.ndarray:
    """(T,) of cuts (T,) bool: 1 between long shots, less beside a short one, 0 where there is none."""
    edges = np.flatnonzero(np.concatenate([[True], cuts[1:], [True]]))
    lengths = np.diff(edges) / LONG_SHOT
    out = np.zeros(len(cuts))
    out[edges[1:-1]] = np.minimum(np.minimum(lengths[1:], lengths[:-1]), 1)
    return out


def _jumps(motion: np.ndarray) -> np.ndarray:
    """(T − 2,) float32 what two frames at once cost, from the first of three: nothing that looks like a jump."""
    two = np.asarray(motion[:-2], np.float64) + motion[1:-1]
    return np.where(two > JUMP * float(np.max(motion)), JUMP_COST, 0).astype(np.float32)


def best_path(unary: Callable[[int, int], np.ndarray], frames: int, costs: PathCosts) -> np.ndarray:
    """Source frame per output frame, (frames,) int64, of least total cost.

    Parameters
    ----------
    unary : ``unary(first, last)`` gives (last − first, T) float32, what each source frame costs behind these outputs
    frames : output frames
    costs : of the clip

    Notes
    -----
    Speech is decided in windows that look ahead; source frames shown lately cost more in the next one.
    """
    path = np.empty(frames, np.int64)
    begin: tuple[int, int] | None = None
    first, seen = 0, np.zeros(costs.move.shape[1], np.float32)
    while first < frames:
        last = min(frames, first + WINDOW + LOOK_AHEAD)
        again = REPEAT * gaussian_filter1d(seen, NEIGHBOURS) * (2.5 * NEIGHBOURS)
        states = _decide(unary(first, last) + again.astype(np.float32), costs, begin)
        keep = last if last == frames else first + WINDOW
        path[first:keep] = states[: keep - first, 1]
        seen *= np.float32(np.exp((first - keep) / FORGOTTEN))
        seen += np.bincount(path[first:keep], minlength=len(seen)) / NEIGHBOURS**2
        begin = (int(states[keep - first - 1, 0]), int(states[keep - first - 1, 1]))
        first = keep
    return path


def _decide(unary: np.ndarray, costs: PathCosts, begin: tuple[int, int] | None) -> np.ndarray:
    """(N, 2) last step's number and source frame per output frame; `begin` is the state before the first."""
    frames, count = unary.shape
    choice = np.empty((frames, len(STEPS), count), np.int8)
    total = np.full((len(STEPS), count), NEVER, np.float32)
    if begin is None:
        standing = np.where(costs.move[2] < NEVER, 0, NEVER)
        total[:] = unary[0] + standing
        choice[0] = 0
    else:
        total[begin] = 0
        total = _advance(total, unary[0], costs, choice[0])
    for frame in range(1, frames):
        total = _advance(total, unary[frame], costs, choice[frame])
    states = np.empty((frames, 2), np.int64)
    step, source = np.unravel_index(int(np.argmin(total)), total.shape)
    for frame in range(frames - 1, -1, -1):
        states[frame] = step, source
        step, source = choice[frame, step, source], source - STEPS[step]
    return states


def _advance(total: np.ndarray, unary: np.ndarray, costs: PathCosts, choice: np.ndarray) -> np.ndarray:
    """Costs after one more output frame; `choice` receives the step before the best one."""
    options = total[:, None] + costs.turn
    before = options.argmin(0)
    best = np.take_along_axis(options, before[None], 0)[0]
    after = np.full_like(total, NEVER)
    for number, step in enumerate(STEPS):
        arrive, leave = slice(max(0, step), len(unary) + min(0, step)), slice(max(0, -step), len(unary) - max(0, step))
        after[number, arrive] = best[number, leave]
        choice[number, arrive] = before[number, leave]
    # Bounded, so that forbidden states stay comparable however long the speech.
    return np.minimum(after + costs.move + unary, NEVER)
