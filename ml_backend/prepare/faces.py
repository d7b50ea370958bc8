"""One clip to one face shard: its tracked face drawn over its own frames, as the refiner will meet it in films."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts import character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS, head_model
from ml_backend.data.video import extract_frames
from ml_backend.errors import ParleyError
from ml_backend.face_model.model import FaceModel, load
from ml_backend.prepare.clip import FAILED, READY, REJECTED, Outcome
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.prepare.sources import Source
from ml_backend.reconstruct.texture import CHARACTER_FILE, make_character
from ml_backend.reconstruct.track import track_with_cuts
from ml_backend.refine import shards as face_shards
from ml_backend.refine.shards import FaceShard

SECONDS = 7.0
"""How much of a clip is looked at."""
RUN, RUNS = 5, 10
"""Consecutive frames in a run, and how many runs of a clip are drawn."""
FIRST_SHARE = 0.5
"""The texture is made of this first part of a clip; two thirds of the runs come from the rest."""
LEAST, MOST = 192, 320
LEAST_CONFIDENCE = 0.5
TURN, SHIFT, LIGHT = np.radians(0.5), 0.0012, 0.06
"""Jitter of every other run: standard deviations of rotation (rad), place (of the distance to the camera), light."""
_LOG = logging.getLogger(__name__)
_models: list[FaceModel] = []


@dataclass(frozen=True)
class Tracked:
    """A clip's frames, its track, and where new shots begin (T,)."""

    frames: Sequence[np.ndarray]
    track: FaceTrack
    cuts: np.ndarray


def work(source: Source, out: Path) -> Outcome:
    """Write the face shard of `source` into the folder `out` unless it is there; what can't be used is said."""
    row = Outcome(source.name, str(source.path), source.speaker, source.split, READY)
    path = out / f"{source.name}.npz"
    try:
        if path.exists():
            return replace(row, seconds=len(face_shards.load(path)) / FPS, reason="was there already")
        if source.channels:
            return replace(row, status=REJECTED, reason=f"{source.path} shows no face.")
        cv2.setNumThreads(1)
        if not _models:
            _models.append(load(head_model()))
        shard = make_shard(source, _models[0], out)
        face_shards.save(shard, path)
        return replace(row, seconds=len(shard) / FPS)
    except ParleyError as error:
        return replace(row, status=REJECTED, reason=str(error))
    except OSError:
        raise
    except Exception as error:
        # As for motion shards: one odd clip must not end a night's work.
        _LOG.exception("clip %s", source.path)
        return replace(row, status=FAILED, reason=f"{type(error).__name__}: {error}")


def make_shard(source: Source, model: FaceModel, out: Path) -> FaceShard:
    """Track, build the character of the clip's first part, draw runs of frames.

    Raises
    ------
    ParleyError
        If there is no face, or it is seen in too few frames.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{source.name}", dir=out))
    try:
        frames = extract_frames(source.path, folder / "frames", seconds=SECONDS, fps=FPS)
        track, cuts = track_with_cuts(frames, model, source=str(source.path))
        clip = Tracked(frames, track, cuts)
        split = max(round(FIRST_SHARE * len(track)), min(len(track), 10))
        make_character(part(track, slice(0, split)), frames[0:split], model, folder)
        drawing = FaceDrawing(model, character.load(folder / CHARACTER_FILE), folder)
        runs = choose_runs(clip, split)
        if not runs:
            raise ParleyError(f"The face of {source.path} is seen in too few frames; leave it out.")
        # Seeded by the name, so that a shard is the same on every machine and in any order of work.
        random = np.random.default_rng(list(source.name.encode()))
        return _drawn(clip, drawing, runs, random, source)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose_runs(clip: Tracked, split: int) -> list[range]:
    """Up to `RUNS` runs of `RUN` frames without a cut in which the face is seen, spread evenly; most after `split`."""
    seen, total = clip.track.confidence >= LEAST_CONFIDENCE, len(clip.track)
    good = [start for start in range(total - RUN + 1)
            if seen[start:start + RUN].all() and not clip.cuts[start + 1:start + RUN].any()]
    late = [start for start in good if start >= split]
    early = [start for start in good if start + RUN <= split]
    wanted = round(RUNS * 2 / 3) if late else 0
    chosen = _spread(late, wanted) + _spread(early, RUNS - wanted)
    return [range(start, start + RUN) for start in sorted(chosen)]


def _spread(starts: list[int], count: int) -> list[int]:
    """About `count` of `starts`, evenly, without overlap."""
    out: list[int] = []
    for start in (starts[int(i)] for i in np.linspace(0, len(starts) - 1, count).round()) if starts and count else ():
        if not out or start >= out[-1] + RUN:
            out.append(start)
    return out


def shard_size(side: float) -> int:
    """Pixels for a crop of `side` pixels in the clip: as in a film, at most `MOST`."""
    return int(min(MOST, max(LEAST, 64 * round(side / 64))) // 32 * 32)


def part(track: FaceTrack, frames: slice) -> FaceTrack:
    """`frames` of `track`, with the whole clip's face, light and crop."""
    names = ("landmarks", "confidence", "expression", "rotation", "translation")
    return replace(track, **{name: getattr(track, name)[frames] for name in names})


def _drawn(clip: Tracked, drawing: FaceDrawing, runs: list[range], random: np.random.Generator, source: Source
           ) -> FaceShard:
    track, size = clip.track, shard_size(float(clip.track.crop[2]))
    rgba, real, landmarks, numbers = [], [], [], []
    for number, run in enumerate(runs):
        turn, shift, light = (random.normal(size=3) * spread * (number % 2) for spread in (TURN, SHIFT, LIGHT))
        for t in run:
            pose = track.pose()[t].astype(np.float64)
            pose += np.concatenate([turn, shift * pose[5]])
            lit = drawing.character.light * np.float32(1 + light)
            rgba.append(drawing.draw(np.clip(track.expression[t], 0, 1), pose, size, lit))
            real.append(crop_resize(clip.frames[t], track.crop, size))
            landmarks.append((track.landmarks[t, :, :2] - track.crop[:2]) * (size / float(track.crop[2])))
            numbers.append((number, t))
    run, frame = np.array(numbers, np.int32).T
    return FaceShard(np.stack(rgba), np.stack(real), np.stack(landmarks).astype(np.float32), run, frame,
                     np.array(source.split), np.array(source.speaker), np.array(source.collection),
                     np.array(source.rights))
