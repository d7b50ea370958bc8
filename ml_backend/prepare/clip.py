"""One clip to one shard, in a process of its own; what can't be used is said, never raised."""

from __future__ import annotations

import logging
import math
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.audio.features import FPS
from ml_backend.audio.load import SAMPLE_RATE, Speech, load_speech
from ml_backend.config import head_model, motion_weights
from ml_backend.data.video import extract_frames, probe
from ml_backend.errors import ArtefactError, ParleyError
from ml_backend.face_model.model import FaceModel, load
from ml_backend.motion.checkpoint import MotionWeights, load_weights
from ml_backend.motion.pose_data import SILENT
from ml_backend.motion.prepare import Motion, prepare_clip
from ml_backend.motion.shards import Shard, save
from ml_backend.motion.shards import load as load_shard
from ml_backend.motion.speaker import listening
from ml_backend.prepare import channels, offset
from ml_backend.prepare.sources import FACEGOOD_WEIGHTS, Source
from ml_backend.reconstruct.fit import fit_landmarks
from ml_backend.reconstruct.landmarks import detect
from ml_backend.reconstruct.tracklets import SPEAKING

LANDMARKS = "parley.landmarks"
READY, REJECTED, FAILED = "ready", "rejected", "failed"
LEAST_SEEN, LEAST_MOTION = 0.8, 0.008
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of a clip: a row of the table."""

    name: str
    clip: str
    speaker: str
    split: str
    status: str
    seconds: float = 0.0
    late_ms: float = 0.0
    sync: float = math.nan
    reason: str = ""


@dataclass(frozen=True)
class Tools:
    """What a worker loads once: the face model to fit, weights to listen with (none where they don't know it)."""

    model: FaceModel
    weights: MotionWeights | None


_tools: list[Tools] = []


def tools() -> Tools:
    """The embedded head, and the embedded weights if they know its expressions."""
    model = load(head_model())
    try:
        weights = load_weights(motion_weights())
    except ArtefactError:
        weights = None
    return Tools(model, weights if weights and weights.statistics.names == model.names else None)


def begin_worker(log: Path) -> None:
    """Prepare a process of the pool: one thread, as there are as many processes as cores; its chatter goes to `log`."""
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(sink, sys.stderr.fileno())
    os.close(sink)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    _tools[:] = [tools()]


def work(source: Source, out: Path) -> Outcome:
    """`prepare_one` with the tools of this process."""
    if not _tools:
        _tools.append(tools())
    return prepare_one(source, out, _tools[0])


def prepare_one(source: Source, out: Path, own: Tools) -> Outcome:
    """Write the shard of `source` into the folder `out` unless it is there."""
    row = Outcome(source.name, str(source.path), source.speaker, source.split, READY)
    if source.reason:
        return replace(row, status=REJECTED, reason=source.reason)
    try:
        deaf = not source.channels and not probe(source.path).has_sound
        path = (out / SILENT if deaf else out) / f"{source.name}.npz"
        if path.exists():
            return replace(row, seconds=len(load_shard(path)) / FPS, reason="was there already")
        shard, found = _deaf_shard(source, out, own) if deaf else _shard(source, out, own)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(replace(shard, source=np.array(source.collection), rights=np.array(source.rights)), path)
        return replace(row, seconds=len(shard) / FPS, late_ms=found.late_ms, sync=found.sync)
    except ParleyError as error:
        return replace(row, status=REJECTED, reason=str(error))
    except OSError:
        raise
    except Exception as error:
        # One odd clip among thousands must not end a night's work; the log has the whole story.
        _LOG.exception("clip %s", source.path)
        return replace(row, status=FAILED, reason=f"{type(error).__name__}: {error}")


def _shard(source: Source, out: Path, own: Tools) -> tuple[Shard, offset.Offset]:
    speech = load_speech(source.path)
    if source.channels:
        given = (channels.read_facegood(source.path.parent / FACEGOOD_WEIGHTS, source.path)
                 if source.channels == "facegood" else channels.read_live_link(source.path.with_suffix(".csv")))
        shard = channels.make_shard(given, speech, own.model, speaker=source.speaker, split=source.split)
        return shard, offset.Offset(0.0, math.nan)
    shard = _fitted(source, speech, out, own)
    _refuse_still(shard)
    if own.weights is None:
        return shard, offset.Offset(source.late_ms or 0.0, math.nan)
    found = offset.measure(shard, own.weights)
    if source.late_ms is not None:
        # Somebody has measured it; ours only says how well lips and sound agree.
        return shard, offset.Offset(source.late_ms, found.sync)
    if source.split == "train" and not found.sync >= offset.LEAST_SYNC:
        raise ParleyError(f"Lips and sound of {source.path} hardly agree (r = {found.sync:.2f}, needed is "
                          f"{offset.LEAST_SYNC}) at any delay within 0.6 s; leave it out.")
    return offset.without_delay(shard, found.late_ms), found


def _deaf_shard(source: Source, out: Path, own: Tools) -> tuple[Shard, offset.Offset]:
    """A clip without sound, as a shard whose speech is all zero: it teaches how heads move."""
    seconds = probe(source.path).seconds + 1.0
    nothing = Speech(np.zeros(round(seconds * SAMPLE_RATE), np.float32), SAMPLE_RATE, seconds)
    return _fitted(source, nothing, out, own), offset.Offset(0.0, math.nan)


def _fitted(source: Source, speech: Speech, out: Path, own: Tools) -> Shard:
    landmarks_path = _landmarks(source, out)
    cuts = load_npz(landmarks_path, LANDMARKS, 1)["cuts"]

    def fit(landmarks: np.ndarray, size: tuple[int, int], fps: float) -> Motion:
        result = fit_landmarks(landmarks, np.array(size, np.int32), own.model, fps, cuts=cuts)
        pose = np.concatenate([result.rotation, result.translation], 1)
        return Motion(result.expression, own.model.names, pose, landmarks, fps)

    return prepare_clip(landmarks_path, speech, fit, late_ms=source.late_ms or 0.0, speaker=source.speaker,
                        split=source.split)


def _refuse_still(shard: Shard) -> None:
    spread = float(np.nanstd(shard.measures[:, 0]))
    if not spread >= LEAST_MOTION:
        raise ParleyError(f"The lips of {shard.speaker} hardly move (opening varies by {spread:.3f} of the distance "
                          "between the eyes); nobody seems to speak in the picture.")


def _landmarks(source: Source, out: Path) -> Path:
    """File of the landmarks of `source`, detected unless it is there."""
    path = out / "landmarks" / f"{source.name}.npz"
    if not path.exists():
        folder = out / "frames" / source.name
        try:
            frames = extract_frames(source.path, folder, fps=FPS)
            found = listening(source.path, detect)(frames, face=SPEAKING, source=str(source.path))
            facts = {"landmarks": found.landmarks, "cuts": found.cuts, "fps": np.array(float(FPS))}
            save_npz(path, LANDMARKS, 1, {**facts, "size": np.array(frames.size)})
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return path
