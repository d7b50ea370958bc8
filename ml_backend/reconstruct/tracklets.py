"""One person out of several faces: candidates are chained through time and the most prominent chain is kept."""

from __future__ import annotations

import numpy as np

from ml_backend.reconstruct.points import COUNT

MOVE, GROW = 0.5, 1.5
"""Between neighbouring frames a face moves by less than this share of its size and grows by less than this factor."""
PATIENCE = 12
"""Frames a chain may miss."""
LOOKALIKE = 0.045
"""Mean distance of two aligned faces, in units of their spread, below which they may be one person's."""


def choose(candidates: list[list[np.ndarray]]) -> tuple[np.ndarray, int]:
    """Landmarks (T, 478, 3) of one person, NaN where absent, and the number of other people beside it.

    `candidates` holds the faces (478, 3) of every frame. With at most one face a frame there is nothing to choose.
    """
    out = np.full((len(candidates), COUNT, 3), np.nan, np.float32)
    if max((len(faces) for faces in candidates), default=0) <= 1:
        for frame, faces in enumerate(candidates):
            if faces:
                out[frame] = faces[0]
        return out, 0
    chains = _chains(candidates)
    chains.sort(key=lambda chain: -_prominence(chain))
    main = dict(chains[0])
    face = _canonical(chains[0])
    # After a cut the person is whoever looks most like before; whoever stood beside them is someone else.
    likeness = [(_distance(face, _canonical(chain)), number) for number, chain in enumerate(chains) if number]
    for distance, number in sorted(likeness):
        if distance < LOOKALIKE and not any(frame in main for frame, _ in chains[number]):
            main.update(chains[number])
    for frame, points in main.items():
        out[frame] = points
    others = [chain for chain in chains[1:] if any(f in main for f, _ in chain) and len(chain) > 0.1 * len(candidates)]
    return out, min(len(others), 1 + max(len(faces) for faces in candidates) - 2)


def _chains(candidates: list[list[np.ndarray]]) -> list[list[tuple[int, np.ndarray]]]:
    """Runs of (frame, points) in which position and size change steadily."""
    done: list[list[tuple[int, np.ndarray]]] = []
    for frame, faces in enumerate(candidates):
        free = [chain for chain in done if 0 < frame - chain[-1][0] <= PATIENCE]
        for points in faces:
            costs = [_step(chain[-1][1], points) for chain in free]
            best = int(np.argmin(costs)) if costs else -1
            if best >= 0 and np.isfinite(costs[best]):
                free.pop(best).append((frame, points))
            else:
                done.append([(frame, points)])
    return done


def _step(before: np.ndarray, after: np.ndarray) -> float:
    """Distance in face sizes; infinite where the two can't be one face in motion."""
    a, b = np.ptp(before[:, 1]), np.ptp(after[:, 1])
    distance = float(np.linalg.norm(before[:, :2].mean(0) - after[:, :2].mean(0)) / max(a, b, 1e-6))
    return distance if distance < MOVE and max(a, b) < GROW * min(a, b) else np.inf


def _prominence(chain: list[tuple[int, np.ndarray]]) -> float:
    return float(sum(np.ptp(points[:, 1]) for _, points in chain))


def _canonical(chain: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """(468, 3) mean of up to 20 of the chain's faces, aligned to the first, centred, of unit spread."""
    picks = np.unique(np.linspace(0, len(chain) - 1, min(20, len(chain))).round().astype(int))
    shapes = [_unit(chain[pick][1][:468].astype(float)) for pick in picks]
    return _unit(np.mean([_aligned(shape, shapes[0]) for shape in shapes], 0))


def _unit(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(0)
    return centred / np.sqrt((centred**2).sum(1).mean())


def _aligned(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """`points` rotated to fit `onto` best (Kabsch)."""
    u, _, vt = np.linalg.svd(points.T @ onto)
    return points @ (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(_aligned(a, b) - b, axis=1).mean())
