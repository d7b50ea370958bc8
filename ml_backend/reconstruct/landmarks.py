"""Face landmarks of a clip or a photo by MediaPipe's Face Mesh: 478 points per frame of one person.

A look at a few frames tells whether there is one face or several. One face is tracked from frame to frame in the whole
picture. Several, and faces too small for Face Mesh's own detector, are surveyed sparsely; then the one that is wanted
is tracked in a crop around it. Tracking starts afresh at every cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import cuts as cutting
from ml_backend.reconstruct import mesh, tracklets
from ml_backend.reconstruct.follow import follow, in_place
from ml_backend.reconstruct.tracklets import LARGEST, RIVAL, Sighting

SURVEY_FRAMES = 8
SURVEY_STEP = 12
"""Frames between two looks when there are several faces."""
MOST_FACES = 5
DETECTOR_SHARE = 0.8
"""Side of the detector's box over that of the landmarks."""
AGAIN_FACES = 2.2
LEAST_SEEN = 0.25
"""Share of the frames in which Face Mesh has to see a face by itself; a smaller one is looked for in crops."""
SCAN_SHARE = 0.2
"""Share of the work that looking for cuts and faces beforehand takes."""


@dataclass(frozen=True)
class LandmarkTrack:
    """Landmarks of one person over T frames.

    Attributes
    ----------
    landmarks : (T, 478, 3) float32 pixels, z relative in the same scale as x, NaN where the face was not found
    confidence : (T,) float32, 1 where found, 0 where not
    cuts : (T,) bool, True where a frame begins a new shot
    warnings : sentences for the user
    source : the networks that measured them
    people : faces well in view, this one among them
    """

    landmarks: np.ndarray
    confidence: np.ndarray
    cuts: np.ndarray
    warnings: tuple[str, ...] = ()
    source: str = "mediapipe"
    people: int = 1


def detect(frames: Sequence[np.ndarray], *, face: str = LARGEST, progress: Progress = silent,
           source: str = "the clip") -> LandmarkTrack:
    """Find and follow one face.

    Parameters
    ----------
    frames : RGB uint8 (H, W, 3) of one size; a single frame is treated as a photo
    face : "largest" (and longest in view), "left" or "right" in the picture, or a number counted from the left, from 1
    progress : called once a frame
    source : what to call the input in messages

    Raises
    ------
    UserInputError
        If there is no frame, no face, not the face that is wanted, or that in less than half of the frames.
    """
    face = tracklets.check_face(face)
    if not len(frames):
        raise UserInputError(f"There is no picture in {source}; use a clip of at least one frame.")
    found = follow(frames, progress) if face == LARGEST and _alone(frames) else None
    if found is not None and np.isfinite(found.landmarks[:, 0, 0]).mean() >= LEAST_SEEN:
        landmarks, begins, changes, rivals, boxes = found.landmarks, found.begins, found.changes, 0, None
    else:
        landmarks, begins, changes, boxes, rivals = _one_of_several(frames, face, progress, source)
    cuts = begins | cutting.face_cuts(changes, landmarks)
    _look_again(frames, landmarks, cuts, boxes)
    return checked(landmarks, cuts, rivals, face, source)


def _alone(frames: Sequence[np.ndarray]) -> bool:
    """Whether a few frames show one face that Face Mesh sees by itself, and no second one of comparable size."""
    picks = np.unique(np.linspace(0, len(frames) - 1, min(SURVEY_FRAMES, len(frames))).round().astype(int))
    if all(count == 1 for count in mesh.count_near(mesh.rgb(frames[pick]) for pick in picks)):
        return True
    counts = []
    with mesh.face_mesh(static=True, faces=3, refine=False) as network:
        for pick in picks:
            tall = [float(np.ptp(face[:, 1])) for face in mesh.run(network, mesh.rgb(frames[pick]))]
            counts.append(sum(size > RIVAL * max(tall) for size in tall))
    # What is seen in one sampled frame only may be a poster or a mistake.
    people = max(counts) if len(counts) < 3 else sorted(counts)[-2]
    return people <= 1 and sum(count > 0 for count in counts) >= max(1, LEAST_SEEN * len(counts))


def _one_of_several(frames: Sequence[np.ndarray], face: str, progress: Progress, source: str
                    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Landmarks, clear cuts, changes of the picture (T,), boxes (T, 3) of the chosen face, number of people beside."""
    total = len(frames)
    watch = cutting.Watch(frames)
    begins = np.zeros(total, bool)
    for number, (_, new) in enumerate(watch):
        begins[number] = new
        progress(int(SCAN_SHARE * (number + 1)), total)
    shots = cutting.shots(begins)
    sightings = _sightings(frames, shots)
    if not sightings:
        raise nobody(source)
    found = tracklets.people(sightings, shots)
    chosen = found[tracklets.choose(found, face, source)]
    boxes = tracklets.boxes(chosen, shots, total, SURVEY_STEP)
    done = int(SCAN_SHARE * total)
    seen = follow(frames, lambda number, of: progress(done + number * (total - done) // of, total), boxes=boxes,
                  begins=begins)
    return seen.landmarks, begins, np.array(watch.changes), boxes, len(found) - 1


def _sightings(frames: Sequence[np.ndarray], shots: list[slice]) -> list[Sighting]:
    """All faces of some frames of every shot."""
    step = max(1, min(SURVEY_STEP, len(frames) // 8))
    picks = np.unique(np.concatenate([_spaced(shot, step) for shot in shots]))
    out: list[Sighting] = []
    with mesh.face_mesh(static=True, faces=MOST_FACES, refine=False) as network:
        for pick in picks:
            seen = mesh.run(network, mesh.rgb(frames[pick]))
            out += [Sighting.of(int(pick), face) for face in seen]
    if len({sighting.frame for sighting in out}) > len(picks) // 3:
        return out
    small = mesh.find_boxes(mesh.rgb(frames[pick]) for pick in picks)
    return [Sighting(int(pick), box / [1, 1, DETECTOR_SHARE])
            for pick, boxes in zip(picks, small, strict=True) for box in boxes]


def _spaced(shot: slice, step: int) -> np.ndarray:
    """Frames from the first to the last of a shot, at most `step` apart."""
    count = -(-(shot.stop - shot.start - 1) // step) + 1
    return np.linspace(shot.start, shot.stop - 1, count).round().astype(int)


def _look_again(frames: Sequence[np.ndarray], landmarks: np.ndarray, cuts: np.ndarray, boxes: np.ndarray | None
                ) -> None:
    """Search frames without a face once more, enlarged around where it was or will be; fills `landmarks` in place."""
    places = [_places(landmarks, shot) for shot in cutting.shots(cuts)]
    lost = [(frame, box) for numbers, found in places for frame, box in zip(numbers, found, strict=True)
            if boxes is None or np.isfinite(boxes[frame, 0])]
    if not lost:
        return
    with mesh.face_mesh(static=True, faces=1) as network:
        for frame, box in lost:
            wide = AGAIN_FACES * box[2]
            image, scale, corner = mesh.view(mesh.rgb(frames[frame]), np.array([*(box[:2] - wide / 2), wide]))
            for face in mesh.run(network, image)[:1]:
                face *= scale
                face[:, :2] += corner
                if in_place(face, box):
                    landmarks[frame] = face


def _places(landmarks: np.ndarray, shot: slice) -> tuple[list[int], np.ndarray]:
    """Frames of a shot without a face, and the box (N, 3) in each where it should be; none in a shot without any."""
    found = np.isfinite(landmarks[shot, 0, 0])
    lost, known = np.flatnonzero(~found) + shot.start, np.flatnonzero(found) + shot.start
    if not len(lost) or not len(known):
        return [], np.zeros((0, 3))
    low, high = landmarks[known, :, :2].min(1), landmarks[known, :, :2].max(1)
    values = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True)], 1)
    return lost.tolist(), np.stack([np.interp(lost, known, values[:, axis]) for axis in range(3)], 1)


def checked(landmarks: np.ndarray, cuts: np.ndarray, rivals: int, face: str, source: str) -> LandmarkTrack:
    """The track of `landmarks` (T, 478, 3) with what there is to say about it; raises `UserInputError` without one."""
    found = np.isfinite(landmarks[:, 0, 0])
    if not found.any():
        raise nobody(source)
    if found.mean() < 0.5:
        raise UserInputError(f"The face was lost in {100 * (1 - found.mean()):.0f} % of the frames of {source}; use a "
                             "part in which it stays in view.")
    notes = []
    if rivals and face == LARGEST:
        notes.append(f"{rivals + 1} faces are in {source}; the one that is largest and longest in view is followed "
                     "(--face chooses another).")
    if not found.all():
        notes.append(f"The face was not found in {int((~found).sum())} of {len(found)} frames of {source}; "
                     "they are interpolated.")
    return LandmarkTrack(landmarks, found.astype(np.float32), cuts, tuple(notes), people=rivals + 1)


def nobody(source: str) -> UserInputError:
    """What to raise where there is no face."""
    return UserInputError(f"No face was found in {source}; use a clip in which one face is well lit and looks "
                          "towards the camera.")
