"""`parley prepare` and `parley train`: from folders of clips to general weights."""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.audio.load import load_speech
from ml_backend.config import FPS, head_model
from ml_backend.data.video import extract_frames
from ml_backend.errors import ParleyError, UserInputError
from ml_backend.face_model.model import FaceModel, load
from ml_backend.motion.network import CONFIGS
from ml_backend.motion.prepare import Motion, prepare_clip
from ml_backend.motion.shards import save
from ml_backend.motion.train import train
from ml_backend.reconstruct.fit import fit_landmarks
from ml_backend.reconstruct.landmarks import detect
from ml_backend.terminal import Terminal

CLIPS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg")
LEAST_SYNC = 0.24
"""Correlation of lips and loudness below which a training clip is doubtful."""

LANDMARKS = "parley.landmarks"

VALIDATION_SHARE = 8
"""One clip in so many validates where no ``index.csv`` says otherwise; chosen by name, the same on every run."""


@dataclass(frozen=True)
class Source:
    """A clip and what is known of it: sound delay in ms, speaker, split."""

    path: Path
    late_ms: float
    speaker: str
    split: str


def prepare(options: argparse.Namespace, terminal: Terminal) -> None:
    """Make a shard of each clip in the folders; ``rejected.csv`` lists the clips that can't be used, with the reason.

    Raises
    ------
    UserInputError
        If a folder is missing or holds no clip.
    """
    indexed = any((folder / "index.csv").exists() for folder in options.folders)
    sources = [source for folder in options.folders for source in find_clips(folder, draw_split=not indexed)]
    if not sources:
        raise UserInputError(f"There is no clip in {', '.join(map(str, options.folders))}; give folders of .mp4 files.")
    options.out.mkdir(parents=True, exist_ok=True)
    model = load(head_model())
    rejected = []
    with terminal.stage("Preparing clips") as progress:
        for done, source in enumerate(sources, 1):
            try:
                prepare_one(source, model, options.out)
            except ParleyError as error:
                rejected.append((str(source.path), str(error)))
            progress(done, len(sources))
    with open(options.out / "rejected.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("clip", "reason"), *rejected])
    terminal.say(f"{len(sources) - len(rejected)} shards in {options.out}, {len(rejected)} clips rejected.")


def find_clips(folder: Path, *, draw_split: bool = True) -> list[Source]:
    """The clips of `folder`.

    An ``index.csv`` with the columns file, audio_late_ms, split, sync_corr and speaker (each but the first optional) is
    obeyed where there is one; training clips whose lips hardly go with their sound are left out. Without one the folder
    is one speaker, and one clip in `VALIDATION_SHARE` validates if `draw_split`.

    Raises
    ------
    UserInputError
        If `folder` is no folder.
    """
    if not folder.is_dir():
        raise UserInputError(f"{folder} is no folder; give folders of clips.")
    known = _index(folder)
    sources = []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in CLIPS):
        row = known.get(path.name, {})
        drawn = int(hashlib.sha256(path.stem.encode()).hexdigest(), 16) % VALIDATION_SHARE
        split = row.get("split") or ("validate" if draw_split and drawn == 0 else "train")
        if split == "train" and float(row.get("sync_corr") or 1) < LEAST_SYNC:
            continue
        speaker = row.get("speaker") or (path.stem if known else folder.name)
        sources.append(Source(path, float(row.get("audio_late_ms") or 0), speaker, split))
    return sources


def _index(folder: Path) -> dict[str, dict[str, str]]:
    if not (folder / "index.csv").exists():
        return {}
    with open(folder / "index.csv", newline="", encoding="utf-8") as stream:
        return {Path(row["file"]).name: row for row in csv.DictReader(stream)}


def prepare_one(source: Source, model: FaceModel, out: Path) -> None:
    """Write the shard of one clip unless it is there."""
    name = f"{source.path.parent.name}_{source.path.stem}"
    shard_path = out / f"{name}.npz"
    if shard_path.exists():
        return
    speech = load_speech(source.path)
    landmarks_path = out / "landmarks" / f"{name}.npz"
    if not landmarks_path.exists():
        folder = out / "frames" / name
        try:
            frames = extract_frames(source.path, folder, fps=FPS)
            found = detect(frames, source=str(source.path))
            facts = {"landmarks": found.landmarks, "cuts": found.cuts, "fps": np.array(float(FPS))}
            save_npz(landmarks_path, LANDMARKS, 1, {**facts, "size": np.array(frames.size)})
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    cuts = load_npz(landmarks_path, LANDMARKS, 1)["cuts"]

    def fit(landmarks: np.ndarray, size: tuple[int, int], fps: float) -> Motion:
        result = fit_landmarks(landmarks, np.array(size, np.int32), model, fps, cuts=cuts)
        pose = np.concatenate([result.rotation, result.translation], 1)
        return Motion(result.expression, model.names, pose, landmarks, fps)

    shard = prepare_clip(
        landmarks_path, speech, fit, late_ms=source.late_ms, speaker=source.speaker, split=source.split
    )
    save(shard, shard_path)


def train_motion(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train motion weights on a folder of shards."""
    with terminal.stage("Training motion") as progress:
        report = train(
            CONFIGS[options.config],
            options.dataset,
            options.out,
            model=load(head_model()),
            seed=options.seed,
            steps=options.steps,
            resume=not options.fresh,
            progress=progress,
        )
    terminal.say(
        f"Weights and curve in {options.out}: opening r = {report.opening:.3f}, width r = {report.width:.3f} "
        f"on the validation clips at step {report.step}."
    )
