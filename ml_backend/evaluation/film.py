"""`parley evaluate --film`: a film against what the person really does in the clip, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ml_backend import __version__
from ml_backend.audio.features import frame_count
from ml_backend.audio.load import SAMPLE_RATE, load_speech
from ml_backend.audio.voice import voice_activity
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder
from ml_backend.data.video import probe
from ml_backend.errors import UserInputError
from ml_backend.evaluation.attention import attention_figures
from ml_backend.evaluation.clips import Bench, Source, fitted, landmarks_of
from ml_backend.evaluation.output import present_film
from ml_backend.evaluation.run import open_results
from ml_backend.face_model.model import load
from ml_backend.face_model.store import model_path
from ml_backend.metrics.flicker import flicker_ratio
from ml_backend.metrics.image import likeness, pair_figures, sharpness_ratio, to_tensor
from ml_backend.metrics.landmarks import lip_measures
from ml_backend.metrics.perceptual import Lpips, load_lpips
from ml_backend.metrics.report import Figures, mean_figures, save
from ml_backend.metrics.score import FaceMotion, own_figures, score
from ml_backend.metrics.sync import CLOSED, resting
from ml_backend.motion.statistics import blink_statistics
from ml_backend.progress import Progress
from ml_backend.reconstruct.track import crop_square
from ml_backend.refine.identity import identity_encoder
from ml_backend.take import file_hash
from ml_backend.terminal import Terminal

SIDE = 256
"""Pixels: the face's box is brought to this size before pictures are compared."""
MOST = 300
"""Frames whose pictures are compared, evenly spread; flicker takes them as they follow each other."""
_LEAST_FRAMES = FPS


@dataclass(frozen=True)
class FilmOptions:
    """Options of one run.

    Attributes
    ----------
    film, clip : what to judge, and the truth
    out : folder of the results
    start : second of the clip at which the film begins
    take : the film's intermediate files; None = FILM.take where it exists
    lpips : folder of LPIPS weights
    identity : "auto", "arcface" or "embedded"
    face_model : name of the face model that heads are measured with
    """

    film: Path
    clip: Path
    out: Path
    start: float = 0.0
    take: Path | None = None
    lpips: Path | None = None
    identity: str = "auto"
    face_model: str = "parley"


@dataclass(frozen=True)
class _Side:
    """Film or clip: motion, landmarks (T, 478, 3) and frames."""

    motion: FaceMotion
    landmarks: np.ndarray
    frames: FrameFolder


def evaluate_film(options: FilmOptions, terminal: Terminal) -> dict[str, Any]:
    """Judge the film, write ``metrics.json`` and ``table.md``, and return the report; raises `ParleyError`."""
    seconds = probe(options.film).seconds
    probe(options.clip)
    lpips = load_lpips(options.lpips) if options.lpips else None
    encoder = identity_encoder(options.identity)
    attention = attention_figures(options.take or options.film.with_suffix(".take"), terminal,
                                  needed=options.take is not None)
    path = model_path(options.face_model)
    take = open_results(options.out)
    try:
        bench = Bench(load(path), file_hash(path), take, terminal)
        film = _side(Source(options.film, "film"), bench, 0.0, None)
        clip = _side(Source(options.clip, "clip"), bench, options.start, seconds)
        count = min(len(film.motion), len(clip.motion))
        if count < _LEAST_FRAMES:
            raise UserInputError(f"{options.film} and {options.clip} from {options.start:g} s have only {count} frames "
                                 "in common; a second is the least.")
        with terminal.stage("Comparing pictures") as progress:
            pictures = _pictures(film, clip, count, lpips, encoder, terminal, progress)
        report = {"made_with": {"parley": __version__, "identity": encoder.name, "lpips": lpips is not None},
                  **_described(options, film.motion.part(0, count), clip.motion.part(0, count), pictures | attention),
                  "notes": list(terminal.warnings)}
        save(report, take.path("metrics.json"))
        present_film(report, take.path("table.md"))
        terminal.say(f"Figures: {take.path('metrics.json')}, table: {take.path('table.md')}.")
        return report
    finally:
        take.close()


def _side(source: Source, bench: Bench, start: float, seconds: float | None) -> _Side:
    found = landmarks_of(source, bench, start=start, seconds=seconds, keep_frames=True)
    track = fitted(source.name, "track", found, bench)
    landmarks = found["landmarks"]
    lips, seen = lip_measures(landmarks), np.isfinite(landmarks[:, 0, 0])
    rate, duration = blink_statistics(track.expression, list(map(str, track.expression_names)))
    angles = np.where(seen[:, None], np.degrees(track.rotation), np.nan)
    motion = FaceMotion(lips, landmarks[..., :2], angles, resting(lips[:, 0]) + CLOSED, (60 * rate, duration),
                        ~found["cuts"][1:])
    return _Side(motion, landmarks, FrameFolder.open(bench.take.path(f"frames/{source.name}")))


def _described(options: FilmOptions, film: FaceMotion, clip: FaceMotion, pictures: Figures) -> dict[str, Any]:
    """The report on `film` and `clip`, with the figures of their `pictures`."""
    active = _speaking(options, len(clip))
    # One detector for both: the film's lips are shut where the person's own would be.
    figures = score(clip, replace(film, shut=clip.shut), active)
    return {"film": {"file": options.film.name, "sha256": file_hash(options.film)},
            "clip": {"file": options.clip.name, "sha256": file_hash(options.clip), "from": options.start},
            "frames": len(clip), "figures": {**figures, **pictures}, "real": own_figures(clip, active)}


def _speaking(options: FilmOptions, count: int) -> np.ndarray:
    """(count,) bool, from the film's sound, or the clip's where the film is silent."""
    try:
        samples = load_speech(options.film).samples
    except UserInputError:
        samples = load_speech(options.clip).samples[round(options.start * SAMPLE_RATE):]
    active = voice_activity(samples) if frame_count(len(samples)) else np.zeros(0, bool)
    return np.pad(active[:count], (0, max(count - len(active), 0)))


def _pictures(film: _Side, clip: _Side, count: int, lpips: Lpips | None, encoder: Any, terminal: Terminal,
              progress: Progress) -> Figures:
    both = np.isfinite(film.landmarks[:count, 0, 0]) & np.isfinite(clip.landmarks[:count, 0, 0])
    chosen = [int(frame) for frame in np.flatnonzero(both)][::max(1, -(-int(both.sum()) // MOST))]
    if not chosen:
        terminal.warn("Film and clip never show a face at the same time; their pictures are not compared.")
        return {}
    figures: Figures = {}
    if film.frames.size == clip.frames.size:
        pairs = []
        for done, frame in enumerate(chosen):
            pairs.append(_pair(film.frames[frame], clip.frames[frame], clip.landmarks[frame], lpips))
            progress(done, len(chosen) + 2)
        figures = mean_figures(pairs)
    else:
        terminal.warn(f"The film is {film.frames.size[0]}x{film.frames.size[1]} and the clip "
                      f"{clip.frames.size[0]}x{clip.frames.size[1]}; PSNR, SSIM and LPIPS are left out.")
    crops, points = zip(*(_crops(side, chosen) for side in (film, clip)), strict=True)
    progress(len(chosen) + 1, len(chosen) + 2)
    run = list(_longest_run(both))
    features = [encoder.encode(pictures[:: max(1, len(pictures) // 24)], where[:: max(1, len(pictures) // 24)])
                for pictures, where in zip(crops, points, strict=True)]
    steady = [_crops(side, run)[0] for side in (film, clip)]
    values = {"mouth_sharpness": sharpness_ratio(crops[0], points[0], crops[1], points[1]),
              "identity": likeness(*features), "flicker": flicker_ratio(*steady) if len(run) > 1 else float("nan")}
    progress(len(chosen) + 2, len(chosen) + 2)
    return figures | {name: round(float(value), 4) if np.isfinite(value) else None for name, value in values.items()}


def _pair(picture: np.ndarray, real: np.ndarray, landmarks: np.ndarray, lpips: Lpips | None) -> Figures:
    """Figures of the real face's box in both pictures."""
    low = np.maximum(landmarks[:, :2].min(0), 0).astype(int)
    high = np.maximum(landmarks[:, :2].max(0).astype(int), low + 2)
    box = np.s_[low[1]:high[1], low[0]:high[0]]
    a, b = (cv2.resize(np.ascontiguousarray(frame[box]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for frame in (picture, real))
    figures: Figures = dict(pair_figures(a, b))
    return figures if lpips is None else {**figures, "lpips": float(lpips(to_tensor(a), to_tensor(b))[0])}


def _size(side: _Side) -> np.ndarray:
    return np.array(side.frames.size)


def _crops(side: _Side, chosen: list[int]) -> tuple[list[np.ndarray], np.ndarray]:
    """Square crops about the face over the whole film, and the landmarks (N, 478, 2) in them."""
    crop = crop_square(side.landmarks[chosen], _size(side))
    points = (side.landmarks[chosen, :, :2] - crop[:2]) * (SIDE / crop[2])
    return [crop_resize(side.frames[frame], crop, SIDE) for frame in chosen], points


def _longest_run(both: np.ndarray) -> range:
    """The longest stretch of consecutive frames that show both faces, at most `MOST` of it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], both.astype(int), [0]])))
    start, stop = max(zip(edges[::2], edges[1::2], strict=True), key=lambda ends: ends[1] - ends[0])
    return range(int(start), int(min(stop, start + MOST)))
