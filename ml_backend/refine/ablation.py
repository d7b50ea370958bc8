"""The ablation of Yi et al. 2020, §4.2, on one clip: without identity and memory, with both, general weights alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts import face_track
from ml_backend.background.warp import crop_resize
from ml_backend.data.frames import FrameFolder
from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.refine.identity import NONE
from ml_backend.refine.shards import FaceShard
from ml_backend.refine.train import RefineReport, fine_tune

LEAST = 30


@dataclass(frozen=True)
class Variant:
    """One row of the ablation.

    Attributes
    ----------
    name : what it is called
    identity : which identity encoder
    general : weights to begin with
    fitted : False takes the general weights as they are
    """

    name: str
    identity: str
    general: Path | None = None
    fitted: bool = True


def variants(general: Path | None, identity: str) -> list[Variant]:
    """Without identity and memory, with both; where there are general weights, the same from these, and these alone."""
    rows = [Variant("without identity and memory", NONE), Variant("with identity and memory", identity)]
    if general is not None:
        rows += [Variant(f"{row.name}, from general weights", row.identity, general) for row in rows]
        rows.append(Variant("general weights alone", identity, general, fitted=False))
    return rows


def longest_run(shard: FaceShard) -> np.ndarray:
    """Indices of the shard's longest stretch of consecutive frames.

    Raises
    ------
    UserInputError
        If it is shorter than 30 frames.
    """
    numbers, counts = np.unique(shard.run, return_counts=True)
    rows = np.flatnonzero(shard.run == numbers[counts.argmax()])
    if len(rows) < LEAST:
        raise UserInputError(f"The longest run of the shard has {len(rows)} frames, needed are {LEAST}; prepare it "
                             "with more frames.")
    return rows


@dataclass(frozen=True)
class Pairs:
    """T consecutive composites, the real crops (H, W, 3) uint8, and landmarks (T, 478, 2) in them."""

    composites: list[np.ndarray]
    real: list[np.ndarray]
    landmarks: np.ndarray


def pairs(shard: FaceShard, compose: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Pairs:
    """What is fine-tuned on: the longest run of `shard`, composed as films are; raises `UserInputError`."""
    chosen = longest_run(shard)
    return Pairs([compose(shard.rgba[i], shard.real[i]) for i in chosen], [shard.real[i] for i in chosen],
                 shard.landmarks[chosen])


def pairs_of_take(take: Path) -> Pairs:
    """What the take of a `parley talk` with a clip and the refiner learned from.

    Raises
    ------
    UserInputError
        If it holds no such take, or fewer than 30 frames.
    """
    composites, track = take / "fit_composites", take / "track.npz"
    if not composites.is_dir() or not track.is_file():
        raise UserInputError(f"{take} is neither a face shard nor a take in which the refiner was fitted; give the "
                             ".take folder of a `parley talk --target CLIP` without --no-refine.")
    made, source, found = FrameFolder.open(composites), FrameFolder.open(take / "source"), face_track.load(track)
    if len(made) < LEAST:
        raise UserInputError(f"{take} holds {len(made)} composites, needed are {LEAST}; use a longer clip.")
    side = made.size[0]
    real = [crop_resize(source[t], found.crop, side) for t in range(len(made))]
    landmarks = (found.landmarks[:len(made), :, :2] - found.crop[:2]) * (side / found.crop[2])
    return Pairs([made[t] for t in range(len(made))], real, landmarks)


def fit(clip: Pairs, row: Variant, out: Path, *, minutes: float, steps: int | None = None, seed: int = 0,
        progress: Progress = silent) -> RefineReport:
    """Fine-tune the variant `row` on `clip` for `minutes`, or `steps` if that is sooner; figures of the held-out tail.

    On a busy machine equal minutes are not equal chances: `steps` are.
    """
    return fine_tune(clip.composites, clip.real, clip.landmarks, out, minutes=minutes if row.fitted else 0.0, seed=seed,
                     identity=row.identity, general=row.general, progress=progress,
                     max_steps=steps if row.fitted else None)
