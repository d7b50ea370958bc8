"""The refiner's figures: ``python -m tests.benchmarks refiner --data FOLDER [--minutes 2 …] [--out FOLDER]``.

People the general weights never saw. Fitted to the first 12 s (or 60 %) of a clip, tested on what follows, with its own
tracked performance: the rendering as published (one texture, poses of landmarks), the composite as it is, general
weights alone, fitted (from general weights as well if wanted), and as films are made, with the memory of the clip's
frames.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ml_backend.config import head_model, refiner_weights
from ml_backend.data.frames import encode_png, frame_path, read_png, write_whole
from ml_backend.face_model.model import FaceModel, load
from ml_backend.motion.curve import draw_curve
from ml_backend.refine.apply import apply
from ml_backend.refine.general import cell, mouth_box
from ml_backend.refine.train import RefineReport, fine_tune
from tests.benchmarks.refiner_clips import CLIPS, RefinerClip, load_clip
from tests.benchmarks.refiner_memory import recollect
from tests.benchmarks.refiner_quality import Found, beside, found, judge
from tests.benchmarks.report import failures, table

ROOT = Path(__file__).resolve().parents[2]
DATA, CACHE = ROOT.parent / "shared" / "data", ROOT / ".cache" / "benchmarks"
SHEET_COLUMNS, SHEET_MOUTHS = 4, 24


def parse(words: list[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks refiner", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/")
    parser.add_argument("--clip", action="append", choices=CLIPS, help="only this clip; may be given several times")
    parser.add_argument("--minutes", type=float, nargs="*", default=[2.0], help="budgets of the fine-tunings")
    parser.add_argument("--steps", type=int, help="of a fine-tuning at most: on a busy machine a budget says little")
    parser.add_argument("--general", type=lambda word: None if word == "none" else Path(word),
                        default=refiner_weights(), help="general weights (the embedded ones), or none")
    parser.add_argument("--from-general", action="store_true", help="also fit from the general weights")
    parser.add_argument("--size", type=int, default=256, help="pixels of a crop at most")
    parser.add_argument("--identity", default="auto", choices=("auto", "arcface", "embedded"))
    parser.add_argument("--out", type=Path, default=CACHE / "refiner", help="table, sheet, weights and frames")
    parser.add_argument("--cache", type=Path, default=CACHE, help="drawn clips")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Measure, say and write; 0 if every bar is met, else 1."""
    options = parse(words)
    options.out.mkdir(parents=True, exist_ok=True)
    model, figures, rows, mouths = load(head_model()), [], [], []
    for name in options.clip or CLIPS:
        clip = load_clip(options.data, name, model, options.cache, options.size)
        ways = systems(clip, options, model)
        rows += [{"clip": name, "system": system, **one.row()} for system, one in ways.items()]
        last = list(ways.values())[-1]
        judged = judge(name, ways["raw"], last) + beside(name, ways.get("one texture"), last)
        figures += judged
        mouths += pick_mouths(clip, last.frames)
        sys.stdout.write(table(judged))
        sys.stdout.flush()
        write_rows(rows, options.out / "refiner.csv")
        write_sheet(mouths, options.out / "mouths.png")
    missed = failures(figures)
    sys.stdout.write(f"{len(missed)} of {sum(one.bar is not None for one in figures)} bars are not met.\n")
    return 1 if missed else 0


def systems(clip: RefinerClip, options: argparse.Namespace, model: FaceModel) -> dict[str, Found]:
    """What each way to refine makes of the test part; the last one is judged."""
    still = clip.still()
    out = {"one texture": found(clip, still)} if still else {}
    out["raw"] = found(clip, list(clip.split(False)[0]))
    ways: list[tuple[str, float, Path | None]] = []
    if options.general is not None:
        ways += [("general", 0.0, options.general)]
        ways += [(f"general + {minutes:g} min", minutes, options.general) for minutes in options.minutes
                 if options.from_general]
    ways += [(f"fitted {minutes:g} min", minutes, None) for minutes in options.minutes]
    for name, minutes, general in ways:
        out[name] = fitted(clip, name, minutes, general, options)
        sys.stdout.write(f"{clip.name} {name}: {out[name].row()}\n")
        sys.stdout.flush()
    # As films are made.
    out["memory"] = remembered(clip, options.out / f"{clip.name} memory", model)
    return out


def remembered(clip: RefinerClip, folder: Path, model: FaceModel) -> Found:
    """By the memory of the clip's own frames; they are written into `folder`."""
    made = recollect(clip, model)
    sys.stdout.write(f"{clip.name} memory: {made.remembered.as_dict()}, {made.fitting:.0f} s of the processor, "
                     f"{made.each:.3f} s a frame\n")
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(made.frames):
        write_whole(frame_path(folder, t), encode_png(frame))
    return found(clip, made.frames, made.wall, made.fitting)


def fitted(clip: RefinerClip, name: str, minutes: float, general: Path | None, options: argparse.Namespace) -> Found:
    """Fit one way, draw the fit's own curve, apply to the test part, measure."""
    weights = options.out / f"{clip.name} {name}.safetensors"
    composites, real, landmarks = clip.split(True)
    begun, busy = time.monotonic(), time.process_time()
    report = fine_tune(composites, real, landmarks, weights, minutes=minutes, general=general,
                       identity=options.identity, resume=False, max_steps=options.steps if minutes else None)
    seconds, cpu = time.monotonic() - begun, time.process_time() - busy
    sys.stdout.write(f"{report.message} ({report.steps} steps, used: {report.used})\n")
    if len(report.curve) > 1:
        write_curve(report, options.out / f"{clip.name} {name} curve.png")
    folder = options.out / f"{clip.name} {name}"
    test = clip.split(False)[0]
    apply(list(test), weights, folder)
    frames = [read_png(folder / f"{t:06d}.png")[..., :3] for t in range(len(test))]
    return found(clip, frames, seconds, cpu)


def write_curve(report: RefineReport, path: Path) -> None:
    """Time against quality on some held-out frames, from the fit's own log: PSNR over its seconds, the start first."""
    rows = [{"step": look[0], "refined dB": look[2]} for look in report.curve if len(look) > 2]
    if rows:
        draw_curve(rows, path, title=f"held-out frames over seconds of fitting ({report.steps} steps); at 0 not fitted")


def pick_mouths(clip: RefinerClip, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Composite, refined and real mouths side by side of frames from shut to open."""
    composites, real, landmarks = clip.split(False)
    opening = np.linalg.norm(landmarks[:, 13] - landmarks[:, 14], axis=1)
    order = np.argsort(opening)[np.linspace(0, len(opening) - 1, 2 + SHEET_MOUTHS // len(CLIPS)).astype(int)[1:]]
    out = []
    for t in order:
        box = mouth_box(landmarks[t], real.shape[1])
        out.append(np.concatenate([cell(p, box) for p in (composites[t], frames[t], real[t])], 1))
    return out


def write_sheet(mouths: list[np.ndarray], path: Path) -> None:
    """The mouths in columns, each row of three: composite, refined, real."""
    shown = mouths[:SHEET_MOUTHS]
    shown += [np.zeros_like(shown[0])] * (-len(shown) % SHEET_COLUMNS)
    rows = [np.concatenate(shown[i:i + SHEET_COLUMNS], 1) for i in range(0, len(shown), SHEET_COLUMNS)]
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])


def write_rows(rows: list[dict], path: Path) -> None:
    """The table as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
