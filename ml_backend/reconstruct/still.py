"""One picture: pose, person and expression solved together, since no other frame tells the one from the other.

In a clip a person's shape is what stays while the expression changes, and solving for the two in turns finds it. In a
photo the first one asked takes all: a narrow eye is half a blink, a wide mouth half a smile. So person and a step of
the pose are eliminated from the normal equations (their Schur complement), which leaves the expression its most likely
value over all persons (Gaussian, N(0, 1)) rather than for one of them.

For the built-in head a learned guess (`photo_prior`) then moves pose and some channels part of the way to where
MediaPipe's habits say that they are, and what is read of the mouth itself (`mouth_reader`) some channels most of the
way; person and other channels are solved once more around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.reconstruct import boxsolve, contacts, pose, priors
from ml_backend.reconstruct.equations import View, normal_equations, observe, stable_weights
from ml_backend.reconstruct.photo_prior import PhotoPrior
from ml_backend.reconstruct.points import IRIS_RIGHT, LIP_PAIRS, Rig, measurements

ROUNDS = 6
TRUST = 0.3
"""Share of a clip's frame that a photo's landmarks count for: their errors, alike all over a face, do not average."""
TURN, MOVE, FREE = 0.1, 0.01, 1e-3
"""Units of the pose's step, radians and metres, and the precision of its prior in them."""

TURN_BELIEF, BELIEF, HOLD, AFTER = 0.85, 0.6, 0.03, 2
"""Shares of the way to the learned guess, standard deviation about what this gives, and rounds that follow."""
HOLD_POSE = 1e5
READ = {"mouthPucker": 0.65, "jawOpen": 0.5, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5}
"""Share of the way to what is read of the mouth's picture, of channels that are better for it on drawn heads and on
frames of people alike."""
FARTHEST = 0.7
"""How far at most a reading takes a channel from what the landmarks say."""


@dataclass(frozen=True)
class Still:
    """One picture explained. L landmarks.

    Attributes
    ----------
    view : with the pose found, one frame
    expression : (1, K) in [0, 1]; identity : (I,)
    target : (1, L, 3) metres, the landmarks in model space under that pose, lips corrected
    """

    view: View
    expression: np.ndarray
    identity: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Reading:
    """What a mouth's picture says: `weights` of channels by name, and how far to `believe` them, all in [0, 1]."""

    weights: dict[str, float]
    believe: float


@dataclass(frozen=True)
class _Held:
    """What is held in place besides the prior: precision (N,) and centre (N,) of the unknowns, of which most are 0."""

    precision: np.ndarray
    centre: np.ndarray


def solve(view: View, points: Rig, learned: PhotoPrior | None = None, look: np.ndarray | None = None,
          read: Callable[[Still, np.ndarray], Reading] | None = None) -> Still:
    """Explain the one frame of `view`, whose pose is a first guess; `learned` moves the answer a part of the way.

    If the picture is at hand, `look` (F,) is its `appearance`, and `read` reads the mouth in it, given what the
    landmarks alone say and the guess (1, C) of `learned`, without which nothing is read.
    """
    count = len(points.names) + len(points.identity) + 6
    found = _rounds(view, points, ROUNDS, _Held(np.zeros(count), np.zeros(count)))
    if learned is None:
        return found
    view, held, guess = _believed(found, points, learned, count, look)
    if read is not None:
        held = _with_reading(held, found, read(found, guess), points)
    return _rounds(view, points, AFTER, held, found)


def _rounds(view: View, points: Rig, rounds: int, held: _Held, start: Still | None = None) -> Still:
    """`rounds` of solving expression and person with a step of the pose, from `start` or from the mean face."""
    rows, weight, channels = measurements(points, still=True), stable_weights(points, still=True), len(points.names)
    basis = np.concatenate([points.expression, points.identity, _pose_basis(points)])
    seen_basis, prior = rows.apply(basis), _prior(points, len(basis)) + np.diag(held.precision)
    chain = boxsolve.Chain(np.zeros(channels), np.zeros(0, bool))
    expression = None if start is None else start.expression
    identity = np.zeros(len(points.identity)) if start is None else start.identity
    deformed = _deformed(points, expression, identity)
    for _ in range(rounds):
        target = touching(observe(view, deformed, weight), points)
        gram, right = normal_equations(rows.apply(target - points.mean), seen_basis, rows, view.rotation)
        right = TRUST * right[0] + held.precision * held.centre
        expression, rest = eliminate(TRUST * gram[0] + prior, right, channels, chain, points.names, expression)
        view, identity = _stepped(view, rest[-6:]), rest[:-6]
        deformed = _deformed(points, expression, identity)
    assert expression is not None
    return Still(view, expression, identity, touching(observe(view, deformed, weight), points))


def _deformed(points: Rig, expression: np.ndarray | None, identity: np.ndarray) -> np.ndarray:
    """(1, L, 3) landmarks of a person (I,) with an expression (1, K) or none."""
    shape = points.mean[None] + np.tensordot(identity, points.identity, 1)
    return shape if expression is None else shape + np.tensordot(expression, points.expression, 1)


def _believed(found: Still, points: Rig, learned: PhotoPrior, count: int, look: np.ndarray | None = None
              ) -> tuple[View, _Held, np.ndarray]:
    """The view turned, and the channels held, part of the way from `found` to the guess (1, C); `count` unknowns."""
    angles = pose.angles_of(found.view.rotation)
    turn, guess = learned.guess(found.target, found.expression, angles, None if look is None else look[None])
    view = _turned(found.view, TURN_BELIEF * turn, points.mean.mean(0))
    rows = [points.names.index(str(name)) for name in learned.names]
    precision, centre = np.zeros(count), np.zeros(count)
    precision[rows], precision[-6:-3] = HOLD**-2, HOLD_POSE
    centre[rows] = (1 - BELIEF) * found.expression[0, rows] + BELIEF * guess[0]
    return view, _Held(precision, centre), guess


def _with_reading(held: _Held, found: Still, reading: Reading, points: Rig) -> _Held:
    """`held` with the channels of `READ` held most of the way from where they were, or were `found`, to the reading."""
    precision, centre = held.precision.copy(), held.centre.copy()
    for name, share in READ.items():
        if name not in reading.weights or reading.believe <= 0:
            continue
        row = points.names.index(name)
        before = found.expression[0, row]
        start = centre[row] if precision[row] else before
        wanted = start + share * reading.believe * (reading.weights[name] - start)
        precision[row], centre[row] = HOLD**-2, before + np.clip(wanted - before, -FARTHEST, FARTHEST)
    return _Held(precision, centre)


def _turned(view: View, turn: np.ndarray, about: np.ndarray) -> View:
    """`view` with the head turned by `turn` (1, 3) radians in its own axes about the point `about` (3,) of it."""
    rotation = view.rotation @ pose.exponential(turn)
    return replace(view, rotation=rotation, translation=view.translation + (view.rotation - rotation) @ about)


def eliminate(gram: np.ndarray, right: np.ndarray, count: int, chain: boxsolve.Chain, names: list[str],
              start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Minimise xᵀ G x − 2 bᵀ x where the first `count` unknowns lie in [0, 1] and the others are free.

    Parameters
    ----------
    gram, right : (N, N) positive definite, (N,)
    count : of unknowns in [0, 1], which are the expressions `names`
    chain : of one frame
    start : (1, count)

    Returns
    -------
    (1, count) and (N − count,)
    """
    inner, mixed, free = gram[:count, :count], gram[:count, count:], gram[count:, count:]
    solved = np.linalg.solve(free, np.concatenate([mixed.T, right[count:, None]], 1))
    reduced, pull = inner - mixed @ solved[:, :-1], right[:count] - mixed @ solved[:, -1]
    bounded = boxsolve.solve(reduced[None], pull[None], chain, below=priors.caps(names), start=start)
    return bounded, solved[:, -1] - solved[:, :-1] @ bounded[0]


def touching(observed: np.ndarray, points: Rig) -> np.ndarray:
    """`observed` (T, L, 3) with the lips' gap by so much smaller as MediaPipe shows shut ones apart."""
    lips = points.pair_rows(LIP_PAIRS)
    measured = contacts.gap(observed, lips)
    out = observed.copy()
    contacts.respread(out, lips, measured, contacts.gap(points.mean, lips)
                      + np.maximum(measured - contacts.LIP_BIAS_TYPICAL, 0))
    return out


def levels(still: Still, points: Rig) -> contacts.Levels:
    """Contact levels of the person in `still`: lids rest as far open as the identity has them."""
    found = contacts.levels(still.target, points)
    lids = points.pair_rows(contacts.LID_PAIRS_RIGHT + contacts.LID_PAIRS_LEFT)
    usual = contacts.gap(points.mean, lids)
    own = contacts.gap(points.mean + np.tensordot(still.identity, points.identity, 1), lids)
    return replace(found, lid_rest=np.clip(own, contacts.NEUTRAL_LIDS[0] * usual, contacts.NEUTRAL_LIDS[1] * usual))


def _pose_basis(points: Rig) -> np.ndarray:
    """(6, L, 3) motion of the landmarks by a small turn about each axis of the head and a shift along it."""
    axes = np.eye(3)
    turns = np.cross(axes[:, None], points.mean[None]) * TURN
    return np.concatenate([turns, np.broadcast_to(axes[:, None] * MOVE, turns.shape)])


def _prior(points: Rig, count: int) -> np.ndarray:
    """(N, N) precision of expressions, identity and the pose's step."""
    channels, out = len(points.names), np.eye(count)
    gaze = bool((points.index >= IRIS_RIGHT).any())
    out[:channels, :channels] = priors.precision(points.names, gaze=gaze)
    inner = slice(channels, count - 6)
    out[inner, inner] = np.diag(priors.identity_precision(points.mean, points.identity))
    out[-6:, -6:] *= FREE
    return out


def _stepped(view: View, step: np.ndarray) -> View:
    """`view` after the `step` (6,) of the pose."""
    turn = pose.exponential(np.clip(TURN * step[None, :3], -0.5, 0.5))
    move = np.einsum("tij,j->ti", view.rotation, MOVE * step[3:])
    return replace(view, rotation=view.rotation @ turn, translation=view.translation + move)
