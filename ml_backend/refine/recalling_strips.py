"""How crisp mouth and eyes are recalled, and how much of it is used: as the clip's held-out end has it best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.metrics.image import Quality
from ml_backend.reconstruct.recall_frames import Drawn, FaceMap
from ml_backend.reconstruct.recall_strips import Crisp, Notes, StripMemory, given, learn, metrics, trusted
from ml_backend.refine.judging import judged

LEVELS = (Crisp(0.8, 0.5, 3.0), Crisp(0.8, 0.5, 2.0), Crisp(0.8, 0.5, 1.0), Crisp(0.5, 0.2, 0.0))
"""Of the mouth, from the crispest."""
PARTS = ((LEVELS[0], 0.5), (LEVELS[0], 0.0))
"""Less of the mouth, which the texture's memory may have crisper, or none: also tried."""
PLAIN, EYES = Crisp(0.8, 0.5, 0.0), Crisp(0.8, 0.5, 1.0)
"""By which it is told how much of a strip is used, and how eyes are best (measured)."""
Measure = Callable[[Sequence[np.ndarray]], Quality]


@dataclass(frozen=True)
class Noted:
    """What F frames of features `values` (F, P) show on each strip of a `face`; `metrics` compares features."""

    face: FaceMap
    notes: tuple[Notes, ...]
    values: np.ndarray
    metrics: tuple[np.ndarray, ...]

    @classmethod
    def empty(cls, face: FaceMap, names: np.ndarray, values: np.ndarray) -> Noted:
        """Of frames to be taken; `names` (P,) of the features."""
        if not face.strips:
            return cls(face, (), values, ())
        notes = tuple(Notes.empty(strip, len(values)) for strip in face.strips)
        return cls(face, notes, values, metrics(face.model, names))

    def take(self, place: int, frame: Drawn, expression: np.ndarray, pose: np.ndarray) -> None:
        """Note `frame`, drawn with `expression` (K,) and `pose` (6,)."""
        if self.notes:
            view = self.face.over(frame.real, expression, pose)
            for strip, notes in zip(self.face.strips, self.notes, strict=True):
                notes.take(place, strip, view, (frame.real, frame.composite, frame.shown))

    def learned(self, *crisp: Crisp) -> tuple[StripMemory, ...]:
        """A memory for each strip as `crisp` as said for it; none where too few frames show them all."""
        found = [learn(strip, notes, self.values, metric, one) for strip, notes, metric, one
                 in zip(self.face.strips, self.notes, self.metrics, crisp, strict=bool(self.notes))]
        return tuple(one for one in found if one is not None) if None not in found else ()


@dataclass(frozen=True)
class Chosen:
    """How crisp mouths are, how much of each strip is used, and the end with them; `crisp` None = no strips."""

    crisp: Crisp | None
    shares: tuple[float, ...]
    pictures: Sequence[np.ndarray]

    def facts(self) -> tuple[float, ...]:
        """How much of each strip is used, then of `Crisp`; empty without strips."""
        return () if self.crisp is None else (*self.shares, *self.crisp)

    def learned(self, noted: Noted) -> tuple[StripMemory, ...]:
        """Memories of all frames `noted`, as crisp and as much used as was chosen."""
        return () if self.crisp is None else self.shared(noted.learned(self.crisp, EYES, EYES))

    def shared(self, strips: tuple[StripMemory, ...]) -> tuple[StripMemory, ...]:
        """`strips`, each used as much as was chosen."""
        return tuple(replace(one, cover=one.cover * np.float32(share))
                     for one, share in zip(strips, self.shares, strict=bool(strips)))


def choose(noted: Noted, ends: Noted, acted: Sequence[tuple[np.ndarray, np.ndarray]], made: Sequence[np.ndarray],
           frames: Sequence[Drawn], measure: Measure) -> Chosen:
    """What is best for the held-out end.

    Parameters
    ----------
    noted, ends : the frames that are remembered, and the end's
    acted : expression and pose of each of the end's frames
    made, frames : these as they are without strips, and as they were drawn
    measure : of pictures of the end; flicker may be left out
    """
    best, without, face = Chosen(None, (), made), measure(made), noted.face
    least, plain = judged(without), noted.learned(PLAIN, PLAIN, PLAIN)
    if not plain:
        return best
    views = [face.over(picture, *drawn) for picture, drawn in zip(made, acted, strict=True)]
    shares = tuple(trusted(memory, notes, np.stack([strip.read(view.image, view) for view in views]), ends.values,
                           np.stack([strip.area(view) for view in views]))
                   for strip, memory, notes in zip(face.strips, plain, ends.notes, strict=True))
    eyes = noted.learned(EYES, EYES, EYES)[1:]
    for crisp, part in (*((crisp, 1.0) for crisp in LEVELS), *PARTS):
        tried = Chosen(crisp, (part * shares[0], *shares[1:]), made)
        mouth = learn(face.strips[0], noted.notes[0], noted.values, noted.metrics[0], crisp)
        assert mouth is not None
        strips = tried.shared((mouth, *eyes))
        pictures = [give_strips(face, strips, value, drawn, picture, frame)
                    for value, drawn, picture, frame in zip(ends.values, acted, made, frames, strict=True)]
        quality = measure(pictures)
        if judged(quality) < least and quality.psnr >= without.psnr:
            best, least = replace(tried, pictures=pictures), judged(quality)
    return best


def give_strips(face: FaceMap, strips: Sequence[StripMemory], features: np.ndarray,
                drawn: tuple[np.ndarray, np.ndarray], picture: np.ndarray, frame: Drawn) -> np.ndarray:
    """(S, S, 3) uint8: `picture`, made of `frame`, with what `strips` say at `features` (P,); expression and pose
    `drawn`."""
    if not strips:
        return picture
    view = face.over(picture, *drawn)
    for strip, memory in zip(face.strips, strips, strict=True):
        picture = given(strip, memory, features, view, (picture, frame.composite, frame.shown))
    return picture
