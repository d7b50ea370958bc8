"""One face followed from frame to frame by Face Mesh, stretches of the clip beside each other on the processor's cores.

A stretch begins a few frames early, and what it finds there is dropped: by then the network looks at the very part of
the picture that it would have looked at, had it come all the way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event

import numpy as np

from ml_backend.progress import Progress
from ml_backend.reconstruct import cuts as cutting
from ml_backend.reconstruct import mesh
from ml_backend.reconstruct.points import COUNT

CROP_FACES = 2.4
"""Side of the crop around a face, in faces."""
ASTRAY = 0.7
"""A face found this many face sizes from where it should be is another one."""
LEAD = 5
"""Frames that a stretch begins early."""
LONG, VERY_LONG = 96, 600
"""Frames from which a clip is followed in two and in four stretches, whatever the machine: so that all agree."""
POLL = 0.05


@dataclass(frozen=True)
class Followed:
    """What was seen in T frames.

    Attributes
    ----------
    landmarks : (T, 478, 3) float32 pixels, NaN where no face was found
    begins : (T,) bool, frames that begin a new shot
    changes : (T,) float, see `cuts.Watch`; 0 where cuts were known before
    """

    landmarks: np.ndarray
    begins: np.ndarray
    changes: np.ndarray


@dataclass(frozen=True)
class _Task:
    frames: Sequence[np.ndarray]
    boxes: np.ndarray | None
    known: np.ndarray | None
    found: Followed
    stretches: deque[tuple[int, int]]
    stop: Event = field(default_factory=Event)
    seen: deque[int] = field(default_factory=deque)

    def look_on(self, network: mesh.Network, progress: Progress | None = None) -> None:
        """Follow the face through one stretch after the other until none is left."""
        used = False
        while not self.stop.is_set():
            try:
                first, last = self.stretches.popleft()
            except IndexError:
                return
            if used:
                mesh.reset(network)
            used = True
            self._stretch(network, first, last, progress)

    def _stretch(self, network: mesh.Network, first: int, last: int, progress: Progress | None) -> None:
        fresh, many = True, len(self.frames) > 1
        for number, frame, begins in self._stream(first, last):
            if self.stop.is_set():
                return
            if begins and not fresh:
                mesh.reset(network)
                fresh = True
            box = None if self.boxes is None else self.boxes[number]
            if box is None or np.isfinite(box[0]):
                face = look(network, frame, box, fresh=fresh and many)
                if face is None and box is not None and not fresh:
                    mesh.reset(network)
                fresh = face is None
                if face is not None and number >= first:
                    self.found.landmarks[number] = face
            if number >= first:
                self.found.begins[number] = begins
                self.seen.append(number)
            if progress is not None:
                progress(len(self.seen), len(self.frames))

    def _stream(self, first: int, last: int) -> Iterator[tuple[int, np.ndarray, bool]]:
        """Frames of a stretch and those shortly before, with their numbers and whether they begin a shot."""
        lead = max(0, first - LEAD)
        if self.known is not None:
            for number in range(lead, last):
                yield number, self.frames[number], bool(self.known[number])
            return
        start = max(0, lead - cutting.REACH - 1)
        stop = min(len(self.frames), last + cutting.REACH)
        watch = cutting.Watch(self.frames[number] for number in range(start, stop))
        for number, (frame, begins) in enumerate(watch, start):
            if number >= last:
                break
            if number >= lead:
                yield number, frame, begins
        self.found.changes[first:last] = watch.changes[first - start:last - start]


def follow(frames: Sequence[np.ndarray], progress: Progress, *, boxes: np.ndarray | None = None,
           begins: np.ndarray | None = None) -> Followed:
    """Landmarks of one face, tracked from frame to frame and afresh in every shot.

    Parameters
    ----------
    frames : T frames, RGB uint8 (H, W, 3); read from several threads
    progress : called by this thread with frames done and all
    boxes : (T, 3) centre and side: where to look; frames where they are NaN are passed over; default the whole picture
    begins : (T,) bool, frames that begin a shot; found by the way if not given
    """
    total = len(frames)
    edges = _edges(total, 1 if total < LONG else 2 if total < VERY_LONG else 4)
    found = Followed(np.full((total, COUNT, 3), np.nan, np.float32), np.zeros(total, bool), np.zeros(total))
    task = _Task(frames, boxes, begins, found, deque(pairwise(edges)))
    helpers = min(len(edges) - 1, os.cpu_count() or 1) - 1
    with ThreadPoolExecutor(max(helpers, 1)) as pool:
        others: list[Future[None]] = []
        try:
            with mesh.face_mesh(static=total == 1, faces=1) as network:
                others += [pool.submit(_help, task) for _ in range(helpers)]
                task.look_on(network, progress)
            _await(others, task, progress)
        finally:
            task.stop.set()
    return found


def _edges(total: int, parts: int) -> list[int]:
    """Where each of `parts` stretches of a clip of `total` frames begins, and its end; the first one needs no lead."""
    share = (total + (parts - 1) * LEAD) / parts
    return [0, *(round(share + number * (share - LEAD)) for number in range(parts - 1)), total]


def _help(task: _Task) -> None:
    """What a helping thread does, with a network of its own."""
    with mesh.face_mesh(static=False, faces=1) as network:
        task.look_on(network)


def _await(others: list[Future[None]], task: _Task, progress: Progress) -> None:
    """Report what the other threads do until they are done; raises what one of them met."""
    while wait(others, POLL).not_done:
        progress(len(task.seen), len(task.frames))
    for other in others:
        other.result()
    progress(len(task.seen), len(task.frames))


def look(network: mesh.Network, frame: np.ndarray, box: np.ndarray | None, *, fresh: bool) -> np.ndarray | None:
    """(478, 3) landmarks in pixels of the frame, or None where there is no face or not at its place."""
    window = None if box is None else np.array([*(box[:2] - CROP_FACES * box[2] / 2), CROP_FACES * box[2]])
    image, scale, corner = mesh.view(mesh.rgb(frame), window)
    faces = mesh.run(network, image)
    if faces and fresh:
        # Found by the detector, whose box is coarse: a second look starts from the landmarks.
        faces = mesh.run(network, image) or faces
    if not faces:
        return None
    face = faces[0] * scale
    face[:, :2] += corner
    return face if box is None or in_place(face, box) else None


def in_place(face: np.ndarray, box: np.ndarray) -> bool:
    """Whether the landmarks `face` (478, 3) lie where `box` (3,) says."""
    centre = (face[:, :2].min(0) + face[:, :2].max(0)) / 2
    return bool(np.linalg.norm(centre - box[:2]) < ASTRAY * box[2])
