"""The plates of a film: source frames with the head moved to where the speech wants it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import RLock

import numpy as np

from ml_backend.artefacts import plates as plates_file
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.plates import Plates
from ml_backend.background.between import between
from ml_backend.background.cleanplate import clean_plate, spread_picks
from ml_backend.background.field import HeadShape, State, field
from ml_backend.background.headwarp import Behind, move_head
from ml_backend.background.plate_frames import PlateFrames, write_overlay
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, write_whole
from ml_backend.face_model.model import FaceModel
from ml_backend.parallel import each
from ml_backend.reconstruct.cuts import shots
from ml_backend.reconstruct.person import person_finder
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target
from ml_backend.terminal import hushed

FOLDER, WHOLE = "plates", "scene_plates"
WINDOW = 3.2
"""Side of the picture in which the person is told from the room, in faces."""
KEEP = 6


class HeadMover:
    """Makes the plate of any output frame, several threads beside each other; to be closed.

    Parameters
    ----------
    target : clip or photo
    model : face model of its track
    plates : matched
    performance : whose expression will be rendered over them
    """

    def __init__(self, target: Target, model: FaceModel, plates: Plates, performance: Performance) -> None:
        self._target, self._plates, self._performance = target, plates, performance
        self._shape = head_shape(target, model)
        self._shots = shots(target.cuts)
        self._rooms: dict[int, Behind | None] = {}
        self._masks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._opened = ExitStack()
        self._lock = RLock()
        self._find: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def __enter__(self) -> HeadMover:
        return self

    def __exit__(self, *what: object) -> None:
        self._opened.close()

    def __call__(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB plate of output frame `index`."""
        plates, track = self._plates, self._target.track
        moment = float(plates.moments[index])
        first, share = int(np.floor(moment)), moment % 1.0
        picture = self._target.frames[first]
        expression = track.expression[first]
        if share > 0:
            picture = between(picture, self._target.frames[first + 1], share)
            expression = expression + np.float32(share) * (track.expression[first + 1] - expression)
        plate = State(plates.own_pose[index], expression)
        wanted = State(plates.pose[index], self._performance.expression[index])
        moved = field(self._shape, plate, wanted)
        with self._lock:
            room = self._room(int(plates.source[index]))
            # Without a still room the mask has no say, and needn't be made.
            mask = self._mask(int(plates.source[index])) if room is not None else None
        return move_head(picture, moved, mask, room, self._shape.unit(plates.pose[index]))

    def _room(self, source: int) -> Behind | None:
        """The empty room of the shot that `source` is in, None where the camera moves."""
        number = next(k for k, shot in enumerate(self._shots) if shot.start <= source < shot.stop)
        if number not in self._rooms:
            shot, track = self._shots[number], self._target.track
            usable = np.zeros(len(track), bool)
            usable[shot] = track.confidence[shot] > 0
            unit = self._shape.unit(np.median(track.pose()[usable], 0))
            low, high = track.landmarks[..., :2].min(1), track.landmarks[..., :2].max(1)
            picks = spread_picks(usable, np.concatenate([low, high], 1))
            self._rooms[number] = clean_plate(
                self._target.frames, picks, self._mask, unit, region=self._region(usable))
        return self._rooms[number]

    def _region(self, usable: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns that any of the windows around the face shows."""
        windows = np.array([window(self._target, int(number)) for number in np.flatnonzero(usable)])
        low, high = windows[:, :2].min(0), (windows[:, :2] + windows[:, 2:]).max(0)
        columns, rows = (slice(max(0, int(a)), max(0, int(np.ceil(b)))) for a, b in zip(low, high, strict=True))
        return rows, columns

    def _mask(self, source: int) -> np.ndarray:
        if source not in self._masks:
            if self._find is None:
                self._find = self._opened.enter_context(person_finder())
            self._masks[source] = shows_person(self._target, source, self._find)
            if len(self._masks) > KEEP:
                self._masks.popitem(last=False)
        return self._masks[source]


def head_shape(target: Target, model: FaceModel) -> HeadShape:
    """The target's mesh and camera."""
    width, height = map(int, target.track.size)
    return HeadShape(model, target.character.neutral_shape, float(target.track.focal), (width, height))


def window(target: Target, number: int) -> np.ndarray:
    """(3,) x, y, side, whole pixels: where the person is told from the room in source frame `number`."""
    flat = target.track.landmarks[number, :, :2]
    low, high = flat.min(0), flat.max(0)
    side = WINDOW * float((high - low).max())
    return np.round([*((low + high) / 2 - side / 2), side])


def shows_person(target: Target, number: int, find: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """(H, W) float32: how surely a pixel of source frame `number` shows a person; 1 beyond the window around the face.

    `find` is as of `person_finder`.
    """
    place = window(target, number)
    found = find(target.frames[number], place)
    x, y, side = (int(value) for value in place)
    part = (slice(max(0, y), max(0, y + side)), slice(max(0, x), max(0, x + side)))
    mask = np.ones_like(found)
    mask[part] = found[part]
    return mask


def make_plates(session: Session, performance: Performance, target: Target, plates: Plates, *,
                only: np.ndarray | None = None) -> PlateFrames:
    """The plates' pictures, made once and kept in the take for composites, refiner and film alike.

    With `only`, output frames that a preview shows, the others are left for the run that makes the film.
    """
    take = session.take
    folder = take.path(FOLDER)

    def work(progress: Callable[[int, int], None]) -> dict:
        folder.mkdir(exist_ok=True)
        wanted = range(len(plates.source)) if only is None else sorted({int(index) for index in only})
        missing = [index for index in wanted if not frame_path(folder, index).exists()]
        with hushed(take.path("logs/track.log")), HeadMover(target, session.model, plates, performance) as mover:

            def one(place: int) -> None:
                index = missing[place]
                write_overlay(frame_path(folder, index), target.frames[int(plates.source[index])], mover(index))

            before = len(wanted) - len(missing)
            each(len(missing), one, lambda done, _: progress(before + done, len(wanted)))
        return {"frames": len(wanted)}

    keys = {"plates": take.key("plates"), "motion": take.key("motion"), "character": take.key("character")}
    facts = session.stage("plate_frames", "Turning the head in the plates", keys, [FOLDER], work)
    if facts["frames"] < len(plates.source):
        take.state["stages"]["plate_frames"]["complete"] = False  # the film's run goes on from here
    return PlateFrames(target.frames, plates.source, folder)


def whole_plates(session: Session, frames: PlateFrames, plates: Plates) -> tuple[Path, str]:
    """The plates as Blender's image sequence wants them, one whole picture for each output frame.

    Returns
    -------
    plates.json whose sources are numbers of these pictures, and their printf pattern
    """
    take = session.take
    folder, index = take.path(WHOLE), take.path(f"{WHOLE}.json")

    def work(progress: Callable[[int, int], None]) -> dict:
        folder.mkdir(exist_ok=True)
        for number in range(len(frames)):
            path = frame_path(folder, number)
            if not path.exists():
                write_whole(path, encode_png(frames[number]))
            progress(number + 1, len(frames))
        numbers = np.arange(len(frames), dtype=np.int32)
        plates_file.save(Plates(numbers, plates.pose, plates.key_frames), index)
        return {"frames": len(frames)}

    session.stage("whole_plates", "Writing plates for the scene", {"plates": take.key("plate_frames")},
                  [WHOLE, index.name], work)
    return index, FrameFolder(folder, len(frames)).pattern
