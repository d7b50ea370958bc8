"""`--preview`: the first, middle and last frame and two seconds of film, drawn as the film will be, then stop.

Everything up to the plates is made for the whole film and kept, so that the film itself starts from there. The chosen
frames are a short take of their own in the take's folder ``preview``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts import plates as plates_file
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.plates import Plates
from ml_backend.config import FPS
from ml_backend.data.frames import encode_png, write_whole
from ml_backend.film.mux import write_film
from ml_backend.film.provenance import comment, provenance
from ml_backend.take import Take, settings_key
from ml_backend.talk.options import TalkOptions
from ml_backend.talk.session import Session

STRIP = 2 * FPS
"""Frames of the short film."""
OWN = ("frames_rgba", "composites")
"""Stages that the preview runs for itself; the others' outcome is the film's."""
LARGEST = 1280
"""Pixels: each of the three frames is shown at most this wide."""
GAP = 8


class Chosen(Sequence[np.ndarray]):
    """Some of `pictures`, by their `numbers`."""

    def __init__(self, pictures: Sequence[np.ndarray], numbers: np.ndarray) -> None:
        self._pictures, self._numbers = pictures, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index):
        """The picture(s) at `index` among those chosen."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._pictures[int(self._numbers[index])]


def without_the_rest(options: TalkOptions) -> TalkOptions:
    """`options` of a run that makes the preview alone."""
    if options.preview is None:
        return options
    return replace(options, scene=None, refine=False, crop=None, frames=None, cue_sheet=None)


def choose(count: int) -> np.ndarray:
    """Indices of the frames that a preview of `count` shows: those of the strip, then the middle and the last one."""
    return np.array([*range(min(STRIP, count)), count // 2, count - 1])


def enter(session: Session, performance: Performance) -> Performance:
    """Go on with the preview's frames alone if there is to be one: in a take of their own; else nothing changes.

    Parameters
    ----------
    performance : of the whole film; saved in the session's take

    Returns
    -------
    `performance`, or the preview's
    """
    if session.options.preview is None:
        return performance
    indices = choose(len(performance))
    main = session.take
    take = Take.open(main.path("preview"))
    for name, entry in main.state["stages"].items():
        if name not in OWN:
            take.state["stages"][name] = {**entry, "key": settings_key([entry["key"], indices.tolist()])}
    for path in (*main.folder.glob("*.npz"), *main.folder.glob("*.png")):
        _link(path, take.path(path.name))
    short = replace(performance, times=np.arange(len(indices)) / FPS, expression=performance.expression[indices],
                    pose=performance.pose[indices])
    _save(short, performance_file.save, take.path("performance.npz"))
    session.take = take
    return short


def enter_clip(session: Session, performance: Performance, plates: Plates, behind: Sequence[np.ndarray]
               ) -> tuple[Performance, Plates, Sequence[np.ndarray]]:
    """As `enter`, with the matched `plates` and the pictures `behind`, both of the whole film."""
    short = enter(session, performance)
    if short is performance:
        return performance, plates, behind
    indices = choose(len(performance))
    chosen = Plates(plates.source[indices], plates.pose[indices], np.zeros(0, np.int32))
    _save(chosen, plates_file.save, session.take.path("plates.json"))
    return short, chosen, Chosen(behind, indices)


def write(session: Session, frames: Iterator[np.ndarray], size: tuple[int, int], count: int) -> None:
    """Write the picture and the strip of a preview of `count` frames, see `choose`."""
    options = session.options
    assert options.preview is not None
    seen: list[np.ndarray] = []

    def strip() -> Iterator[np.ndarray]:
        for index, frame in enumerate(frames):
            if index == 0 or index >= count - 2:
                seen.append(frame)
            if index < count - 2:
                yield frame

    with session.terminal.stage("Writing the preview") as progress:
        facts = provenance(speech=options.speech, target=options.target, seed=options.seed, settings={"preview": True})
        write_film(strip(), options.speech, options.strip, fps=FPS, size=size, seconds=(count - 2) / FPS,
                   comment=comment(facts), cut_sound=True, bt601=session.bt601(), progress=progress)
    write_whole(options.preview, encode_png(_side_by_side(seen)))


def _side_by_side(images: list[np.ndarray]) -> np.ndarray:
    height, width = images[0].shape[:2]
    scale = min(1.0, LARGEST / width)
    tiles = [image if scale == 1 else cv2.resize(image, (round(width * scale), round(height * scale)),
                                                 interpolation=cv2.INTER_AREA) for image in images]
    gap = np.full((tiles[0].shape[0], GAP, 3), 24, np.uint8)
    return np.hstack([part for tile in tiles for part in (tile, gap)][:-1])


def _save(artefact: object, save: Callable[..., None], path: Path) -> None:
    path.unlink(missing_ok=True)  # it may be a link to the whole film's
    save(artefact, path)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
