"""How much a re-rendered face looks like the clip: ``python -m tests.benchmarks.face_photometric --data FOLDER``.

A clip is tracked whole. Light and texture are then taken from its first half alone, and frames of the second half are
rendered by Blender (EEVEE, the add-on's own child process) with their fitted pose and expression. The mask is the face
region as rendered (alpha ≥ 0.5: skin, eyes, lips and what is seen between them); PSNR is over the pixels inside it, of
display-encoded RGB in [0, 1], in dB per frame, averaged over frames, then over clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.performance import save as save_performance
from ml_backend.blender import Blender, find_blender, run_job
from ml_backend.config import FPS, head_model
from ml_backend.data.frames import encode_png, frame_path, read_png
from ml_backend.errors import ParleyError
from ml_backend.face_model.model import FaceModel, load
from ml_backend.reconstruct import illumination
from ml_backend.reconstruct.posed import neutral_shape, place
from ml_backend.reconstruct.texture import make_character
from ml_backend.reconstruct.track import light_frames, track_clip
from tests.benchmarks.face_clips import Clip, validation_clips
from tests.benchmarks.report import Figure, table

PART = "photometric"
BAR = 27.0
TESTED = 12
"""Frames of the second half that are rendered, evenly spaced."""
SAMPLES = 8
PER_FRAME = ("landmarks", "confidence", "expression", "rotation", "translation")


def psnr(shown: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """dB of uint8 pictures (H, W, 3) over the pixels of `mask` (H, W); NaN where it is empty."""
    if not mask.any():
        return float("nan")
    error = (shown[mask].astype(float) - truth[mask].astype(float)) / 255
    return float(-10 * np.log10(max((error**2).mean(), 1e-10)))


def part_of(track: FaceTrack, frames: slice) -> FaceTrack:
    """`track` of some `frames` only; the person stays."""
    return replace(track, **{name: getattr(track, name)[frames] for name in PER_FRAME})


def coloured(track: FaceTrack, frames: Sequence[np.ndarray], model: FaceModel) -> FaceTrack:
    """`track` with light and texture estimated from its own `frames`, as `track_clip` does."""
    rest, triangles = neutral_shape(track, model), model.triangles()
    views = [place(track, model, number, frames[number], rest, triangles) for number in light_frames(track, model)]
    light, texture = illumination.estimate(views, model)
    return replace(track, light=light, texture=texture)


def tested_frames(track: FaceTrack, begin: int) -> list[int]:
    """Up to `TESTED` evenly spaced frames from `begin` on in which the face was found."""
    known = begin + np.flatnonzero(track.confidence[begin:] > 0)
    picks = np.linspace(0, len(known) - 1, min(TESTED, len(known))).round().astype(int)
    return [int(number) for number in known[np.unique(picks)]]


def render_clip(frames: Sequence[np.ndarray], model_file: Path, blender: Blender, work: Path
                ) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rendered RGBA and true RGB crops of the tested frames of a clip.

    Parameters
    ----------
    frames : RGB uint8, at 25 a second
    model_file : FaceModel
    blender : renders
    work : folder for character, texture and rendered frames

    Returns
    -------
    list of (S, S, 4) uint8, list of (S, S, 3) uint8; S = side of the track's crop
    """
    model = load(model_file)
    track = track_clip(frames, model, fps=float(FPS))
    half = len(frames) // 2
    first = part_of(track, slice(0, half))
    shown_first = [frames[number] for number in range(half)]
    make_character(coloured(first, shown_first, model), shown_first, model, work)
    picks = tested_frames(track, half)
    x, y, side = (round(float(value)) for value in track.crop)
    act = Performance(np.arange(len(track)) / FPS, np.clip(track.expression, 0, 1), model.names,
                      track.pose().astype(np.float32), {"made": "benchmark"})
    save_performance(act, work / "performance.npz")
    job = {"schema": "parley.job", "version": 1, "fps": FPS, "engine": "eevee", "size": side, "view": "crop",
           "face_only": True, "face_model": str(model_file.resolve()), "character": str(work / "character.npz"),
           "performance": str(work / "performance.npz"), "output": str(work / "rendered"), "samples": SAMPLES,
           "frames": picks}
    for old in (work / "rendered").glob("*.png"):
        old.unlink()
    run_job(blender, job, work / "job.json", work / "blender.log")
    rendered = [read_png(frame_path(work / "rendered", number)) for number in picks]
    return rendered, [frames[number][y:y + side, x:x + side] for number in picks]


def clip_psnr(frames: Sequence[np.ndarray], model_file: Path, blender: Blender, work: Path) -> list[float]:
    """dB of each tested frame of a clip; writes ``compared.png`` into `work`: truth, rendering, difference."""
    rendered, truth = render_clip(frames, model_file, blender, work)
    rows = [_compared(shown, real) for shown, real in zip(rendered, truth, strict=True)]
    (work / "compared.png").write_bytes(encode_png(np.concatenate(rows[:: max(1, len(rows) // 4)])))
    return [psnr(shown[..., :3], real, shown[..., 3] >= 128) for shown, real in zip(rendered, truth, strict=True)]


def _compared(shown: np.ndarray, real: np.ndarray) -> np.ndarray:
    mask = shown[..., 3:] >= 128
    pasted = np.where(mask, shown[..., :3], real)
    gap = np.where(mask, np.clip(128 + 2 * (shown[..., :3].astype(int) - real), 0, 255), 128).astype(np.uint8)
    return cv2.resize(np.concatenate([real, pasted, gap], 1), (900, 300), interpolation=cv2.INTER_AREA)


def measure(clips: Sequence[Clip], blender: Blender, cache: Path, model_file: Path | None = None) -> list[Figure]:
    """PSNR of every clip and their mean, against the bar."""
    model_file, figures = model_file or head_model(), []
    for clip in clips:
        values = clip_psnr(clip.frames(), model_file, blender, (cache / "photometric" / clip.name).resolve())
        figures.append(Figure(PART, clip.name, float(np.nanmean(values)), "dB",
                              note=f"{len(values)} frames, worst {np.nanmin(values):.1f} dB"))
    mean = float(np.mean([figure.value for figure in figures]))
    return [*figures, Figure(PART, "mean of the clips", mean, "dB", BAR, note="EEVEE, texture from the first half")]


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache/benchmarks"))
    parser.add_argument("--clip", action="append", help="only this clip of the split; may be given several times")
    options = parser.parse_args()
    try:
        clips = [clip for clip in validation_clips(options.data, options.cache)
                 if not options.clip or clip.name in options.clip]
        figures = measure(clips, find_blender(None), options.cache)
    except ParleyError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
