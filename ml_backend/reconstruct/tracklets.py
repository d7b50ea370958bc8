"""Several people in a clip: sparse sightings of faces are chained through time, and one person is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.errors import UserInputError

MOVE, GROW = 0.8, 1.6
"""Between two looks a face moves by less than this share of its size and grows by less than this factor."""
PATIENCE = 40
"""Frames a chain may miss."""
LOOKALIKE = 0.045
"""Mean distance of two aligned faces, in units of their spread, below which they may be one person's."""
RIVAL = 0.3
"""A face counts when it is at least this share of the largest one's size."""
LEAST_SHARE = 0.08
"""A person counts who is seen in at least this share of the looks: else it may be a poster or a mistake."""
LARGEST, LEFT, RIGHT, SPEAKING = "largest", "left", "right", "speaking"


@dataclass(frozen=True)
class Sighting:
    """One face in one frame.

    Attributes
    ----------
    frame : number of the frame
    box : (3,) centre x, y and side of the face, pixels
    points : (468 or 478, 3) landmarks in pixels, None where only a box is known
    """

    frame: int
    box: np.ndarray
    points: np.ndarray | None = None

    @classmethod
    def of(cls, frame: int, points: np.ndarray) -> Sighting:
        """From landmarks (468 or 478, 3) in pixels."""
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        return cls(frame, np.array([*(low + high) / 2, (high - low).max()]), points)


Chain = list[Sighting]


def check_face(face: str) -> str:
    """`face` if it is one of the four words or a number from 1; raises `UserInputError` otherwise."""
    word = str(face).strip().lower()
    if word in (LARGEST, LEFT, RIGHT, SPEAKING) or (word.isascii() and word.isdigit() and int(word) > 0):
        return word
    raise UserInputError(f"--face {face} is no face; give left, right, largest, speaking or a number counted from "
                         "the left, from 1.")


def people(sightings: list[Sighting], shots: list[slice]) -> list[Chain]:
    """Sightings by person, from left to right in the picture; people who hardly appear are left out.

    Within a shot a face is followed by its place; from shot to shot by its likeness where landmarks are known, else by
    its place. Who is seen beside a person is someone else.
    """
    chains = [chain for shot in shots for chain in _chains([s for s in sightings if shot.start <= s.frame < shot.stop])]
    chains.sort(key=lambda chain: -_prominence(chain))
    found: list[Chain] = []
    for chain in chains:
        costs = [_unlikeness(person, chain) for person in found]
        best = int(np.argmin(costs)) if costs else -1
        if best >= 0 and costs[best] < 1:
            found[best] = sorted(found[best] + chain, key=lambda sighting: sighting.frame)
        else:
            found.append(chain)
    looks = len({sighting.frame for sighting in sightings})
    largest = max((_size(person) for person in found), default=0.0)
    kept = [person for person in found
            if len(person) >= max(min(2, looks), LEAST_SHARE * looks) and _size(person) > RIVAL * largest]
    shared = _shared_frames(kept)
    return sorted(kept or found[:1], key=lambda person: _across(person, shared))


def choose(found: list[Chain], face: str, source: str) -> int:
    """Which of the people `found`, from left to right, `face` asks for; raises `UserInputError` if nobody.

    Who speaks can't be seen here: `motion.speaker` finds out, and asks for a number then.
    """
    if face == LEFT:
        return 0
    if face == RIGHT:
        return len(found) - 1
    if face in (LARGEST, SPEAKING):
        return int(np.argmax([_prominence(person) for person in found]))
    number = int(face)
    if number > len(found):
        some = "one face is" if len(found) == 1 else f"{len(found)} faces are"
        raise UserInputError(f"There is no face {number} in {source}, where {some} well in view; give --face a number "
                             f"up to {len(found)}, left or right.")
    return number - 1


def boxes(person: Chain, shots: list[slice], count: int, step: int) -> np.ndarray:
    """(T, 3) centre and side of `person` in each of `count` frames, NaN where they are not in view.

    Linear between sightings, carried on for up to `step` frames beyond the first and the last one of a shot.
    """
    out = np.full((count, 3), np.nan)
    for shot in shots:
        seen = [sighting for sighting in person if shot.start <= sighting.frame < shot.stop]
        if not seen:
            continue
        frames = np.arange(max(shot.start, seen[0].frame - step), min(shot.stop, seen[-1].frame + step + 1))
        known = [sighting.frame for sighting in seen]
        for axis in range(3):
            out[frames, axis] = np.interp(frames, known, [sighting.box[axis] for sighting in seen])
    return out


def _chains(sightings: list[Sighting]) -> list[Chain]:
    """Runs in which place and size change steadily."""
    done: list[Chain] = []
    for frame in sorted({sighting.frame for sighting in sightings}):
        free = [chain for chain in done if frame - chain[-1].frame <= PATIENCE]
        rest = [sighting for sighting in sightings if sighting.frame == frame]
        # The nearest pair first, so that neither of two people takes the other's place in the list.
        while free and rest:
            costs = np.array([[_step(chain[-1].box, sighting.box) for sighting in rest] for chain in free])
            chain, sighting = np.unravel_index(int(costs.argmin()), costs.shape)
            if not np.isfinite(costs[chain, sighting]):
                break
            free.pop(int(chain)).append(rest.pop(int(sighting)))
        done += [[sighting] for sighting in rest]
    return done


def _step(before: np.ndarray, after: np.ndarray) -> float:
    """Distance in face sizes; infinite where the two can't be one face in motion."""
    a, b = float(before[2]), float(after[2])
    distance = float(np.linalg.norm(before[:2] - after[:2]) / max(a, b, 1e-6))
    return distance if distance < MOVE and max(a, b) < GROW * min(a, b) else np.inf


def _unlikeness(person: Chain, chain: Chain) -> float:
    """Below 1 where `chain` may show `person` in another shot."""
    if {sighting.frame for sighting in person} & {sighting.frame for sighting in chain}:
        return np.inf
    a, b = _canonical(person), _canonical(chain)
    if a is None or b is None:
        return _step(np.median([s.box for s in person], axis=0), np.median([s.box for s in chain], axis=0)) / MOVE
    return float(np.linalg.norm(_aligned(a, b) - b, axis=1).mean()) / LOOKALIKE


def _prominence(chain: Chain) -> float:
    return float(sum(sighting.box[2] for sighting in chain))


def _size(chain: Chain) -> float:
    return float(np.median([sighting.box[2] for sighting in chain]))


def _shared_frames(found: list[Chain]) -> set[int]:
    """Frames in which more than one of the people is seen: there, left and right mean something."""
    frames = [sighting.frame for person in found for sighting in person]
    return {frame for frame in frames if frames.count(frame) > 1}


def _across(person: Chain, shared: set[int]) -> float:
    together = [sighting.box[0] for sighting in person if sighting.frame in shared]
    return float(np.median(together or [sighting.box[0] for sighting in person]))


def _canonical(chain: Chain) -> np.ndarray | None:
    """(468, 3) mean of up to 20 of the chain's faces, aligned to the first, centred, of unit spread."""
    known = [sighting.points for sighting in chain if sighting.points is not None]
    if not known:
        return None
    picks = np.unique(np.linspace(0, len(known) - 1, min(20, len(known))).round().astype(int))
    shapes = [_unit(known[pick][:468].astype(float)) for pick in picks]
    return _unit(np.mean([_aligned(shape, shapes[0]) for shape in shapes], 0))


def _unit(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(0)
    return centred / np.sqrt((centred**2).sum(1).mean())


def _aligned(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """`points` rotated to fit `onto` best (Kabsch)."""
    u, _, vt = np.linalg.svd(points.T @ onto)
    return points @ (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt)
