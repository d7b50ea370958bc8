"""Clips with truth: which ones, what is tracked in them, and how late their sound is."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.artefacts import face_track
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.audio.load import Speech, load_speech
from ml_backend.audio.voice import voice_activity
from ml_backend.config import FPS, assets
from ml_backend.data.video import extract_frames
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.metrics.landmarks import lip_measures
from ml_backend.metrics.score import FaceMotion
from ml_backend.metrics.sync import CLOSED, resting
from ml_backend.motion.prepare import shifted
from ml_backend.motion.speaker import listening
from ml_backend.motion.statistics import blink_statistics
from ml_backend.progress import Progress
from ml_backend.reconstruct.fit import fit_landmarks
from ml_backend.reconstruct.landmarks import detect
from ml_backend.reconstruct.track import assemble
from ml_backend.reconstruct.tracklets import LARGEST
from ml_backend.take import Take, file_hash
from ml_backend.terminal import Terminal, hushed

CLIPS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg")
LANDMARKS = "parley.landmarks"
_FINDING = ("reconstruct/landmarks.py", "reconstruct/mesh.py", "reconstruct/tracklets.py", "reconstruct/cuts.py")
_FITTING = ("reconstruct", "face_model")


@dataclass(frozen=True)
class Source:
    """A clip to evaluate on: file, a name of its own, and how late an index says its sound is (ms; None: unknown)."""

    path: Path
    name: str
    late_ms: float | None = None


@dataclass(frozen=True)
class Bench:
    """What one run of `parley evaluate` works with: face model, its hash, folder of results, terminal, which face."""

    model: FaceModel
    model_key: str
    take: Take
    terminal: Terminal
    face: str = LARGEST

    def stage(self, stage: str, title: str, settings: dict, outputs: list[str],
              action: Callable[[Progress], dict | None]) -> dict:
        """``action(progress)`` as `stage` of the take, unless it is done under the same `settings`; its facts."""
        def work() -> dict | None:
            with self.terminal.stage(title) as progress:
                return action(progress)

        return self.take.run(stage, settings, outputs, work)


@dataclass(frozen=True)
class Clip:
    """A tracked clip, T frames at 25 fps.

    Attributes
    ----------
    source : where it is from
    key : changes with the file
    speech : as in the file, not yet in sync
    landmarks : (T, 478, 3) float32 pixels, NaN where no face was seen
    cuts : (T,) bool, true where a shot begins
    size : (2,) width and height, pixels
    track : the whole clip fitted, without light and texture
    late_ms : by how much the sound is taken to come late
    facts : JSON-able, for the report
    """

    source: Source
    key: str
    speech: Speech
    landmarks: np.ndarray
    cuts: np.ndarray
    size: np.ndarray
    track: FaceTrack
    late_ms: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def synchronous(self) -> Speech:
        """The speech moved into sync with the picture, as long as the picture."""
        samples = shifted(self.speech.samples, round(self.late_ms * self.speech.sample_rate / 1000))
        length = len(self) * self.speech.sample_rate // FPS
        samples = np.pad(samples[:length], (0, max(length - len(samples), 0)))
        return Speech(samples, self.speech.sample_rate, length / self.speech.sample_rate)

    def truth(self) -> FaceMotion:
        """What the face really does."""
        landmarks = self.landmarks
        seen = np.isfinite(landmarks[:, 0, 0])
        lips = lip_measures(landmarks)
        angles = np.where(seen[:, None], np.degrees(self.track.rotation), np.nan)
        rate, duration = blink_statistics(self.track.expression, list(map(str, self.track.expression_names)))
        return FaceMotion(lips, landmarks[..., :2], angles, resting(lips[:, 0]) + CLOSED, (60 * rate, duration),
                          ~self.cuts[1:])


def find_sources(paths: list[Path], *, split: str | None = None, index: Path | None = None) -> list[Source]:
    """The clips among `paths`, files or folders, in order, each once.

    Parameters
    ----------
    split : only clips of which the index says so; "all" or None for every clip
    index : CSV with the columns file, audio_late_ms and split, all but the first optional; by default the
        ``index.csv`` beside each clip

    Raises
    ------
    UserInputError
        If a path is missing, a folder holds no clip, or no clip is of that split.
    """
    files = [file for path in paths for file in _files(path)]
    sources, names = [], set()
    for file in dict.fromkeys(file.resolve() for file in files):
        row = _index(index or file.parent / "index.csv", needed=index is not None).get(file.name)
        if split not in (None, "all") and (row is None or row.get("split") != split):
            continue
        name = next(name for number in range(1, len(files) + 2)
                    if (name := file.stem if number == 1 else f"{file.stem}_{number}") not in names)
        names.add(name)
        sources.append(Source(file, name, _number(row.get("audio_late_ms"), file) if row else None))
    if not sources:
        where = ", ".join(map(str, paths))
        raise UserInputError(f"No clip in {where} is of the split {split}; give --index a CSV with the columns "
                             "file and split, or leave --split out.")
    return sources


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserInputError(f"{path} does not exist; give clips with sound, or folders of them.")
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in CLIPS)
    if not found:
        raise UserInputError(f"There is no clip in {path}; give a folder with {', '.join(CLIPS[:3])} … files.")
    return found


def _index(path: Path, *, needed: bool) -> dict[str, dict[str, str]]:
    """Rows of a CSV by file name; nothing where a file that isn't `needed` is missing."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError as error:
        if not needed:
            return {}
        raise UserInputError(f"{path} does not exist; --index wants a CSV with the columns file, audio_late_ms "
                             "and split.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserInputError(f"{path} can't be read as CSV ({error}); save it as UTF-8 text.") from error
    if rows and "file" not in rows[0]:
        raise UserInputError(f"{path} has no column named file; name the columns in its first line.")
    return {Path(row["file"]).name: row for row in rows if row["file"]}


def _number(text: str | None, file: Path) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UserInputError(f"The index gives {text!r} as audio_late_ms of {file.name}; "
                             "it has to be a number of milliseconds.") from error


def load_clip(source: Source, bench: Bench) -> Clip:
    """Track a clip, or find its track among the results, and read its sound; `UserInputError` if it has none."""
    speech = load_speech(source.path)
    found = landmarks_of(source, bench)
    whole = fitted(source.name, "track", found, bench)
    seen = np.isfinite(found["landmarks"][:, 0, 0])
    key = file_hash(source.path)
    facts = {"file": source.path.name, "sha256": key, "seconds": round(len(seen) / FPS, 2), "frames": len(seen),
             "faces": int(found["faces"]), "face_found": round(float(seen.mean()), 4),
             "cuts": int(found["cuts"].sum()),
             "speaking": round(float(voice_activity(speech.samples).mean()), 4)}
    return Clip(source, key, speech, found["landmarks"], found["cuts"], found["size"], whole, facts=facts)


def landmarks_of(source: Source, bench: Bench, *, start: float = 0.0, seconds: float | None = None,
                 keep_frames: bool = False) -> dict[str, np.ndarray]:
    """Landmarks, cuts and size of the picture in `source` from `start` on, kept among the results.

    The frames lie in ``frames/NAME`` of the take meanwhile, and stay there if `keep_frames`.
    """
    take, name, frames_at = bench.take, f"{source.name}.landmarks.npz", f"frames/{source.name}"

    def look(progress: Progress) -> dict:
        frames = extract_frames(source.path, take.path(frames_at), start=start, seconds=seconds, fps=FPS,
                                progress=lambda done, total: progress(done, 4 * total))
        with hushed(take.path("logs/track.log")):
            find = listening(source.path, detect, start=start)
            found = find(frames, face=bench.face, progress=lambda done, total: progress(total + 3 * done, 4 * total),
                         source=str(source.path))
        save_npz(take.path(name), LANDMARKS, 1, {"landmarks": found.landmarks, "cuts": found.cuts,
                                                 "size": np.array(frames.size, np.int32)})
        if not keep_frames:
            shutil.rmtree(take.path(frames_at), ignore_errors=True)
        return {"faces": found.people, "notes": found.warnings[:1] if found.people > 1 else []}

    settings = {"file": file_hash(source.path), "start": start, "seconds": seconds, "code": code_key(*_FINDING),
                **({"face": bench.face} if bench.face != LARGEST else {})}
    outputs = [name, frames_at] if keep_frames else [name]
    facts = bench.stage(f"landmarks {source.name}", f"{source.name}: finding the face", settings, outputs, look)
    for note in facts.get("notes", []):
        bench.terminal.warn(note)
    return load_npz(take.path(name), LANDMARKS, 1) | {"faces": np.array(facts.get("faces", 1))}


def fitted(name: str, kind: str, found: dict[str, np.ndarray], bench: Bench, frames: int | None = None) -> FaceTrack:
    """The face model fitted to the first `frames` (None: all) of `found`, kept among the results as NAME.KIND.npz."""
    landmarks, cuts, size = found["landmarks"][:frames], found["cuts"][:frames], found["size"]
    out = bench.take.path(f"{name}.{kind}.npz")

    def fit(progress: Progress) -> None:
        result = fit_landmarks(landmarks, size, bench.model, float(FPS), cuts=cuts, progress=progress)
        confidence = np.isfinite(landmarks[:, 0, 0]).astype(np.float32)
        face_track.save(assemble(result, confidence, size, bench.model, float(FPS)), out)

    settings = {"landmarks": bench.take.key(f"landmarks {name}"), "model": bench.model_key, "frames": frames,
                "code": code_key(*_FITTING)}
    bench.stage(f"{kind} {name}", f"{name}: fitting the face", settings, [out.name], fit)
    return face_track.load(out)


@lru_cache
def code_key(*parts: str) -> str:
    """Hash of our own source files or packages `parts`: what other code has measured is measured again."""
    root, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for part in parts:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache
def assets_key() -> str:
    """Hash of the embedded networks, which speech becomes motion by besides the weights that are compared."""
    digest = hashlib.sha256()
    for file in sorted((assets() / "models").glob("*.safetensors")):
        digest.update(file.name.encode() + file_hash(file).encode())
    return digest.hexdigest()[:16]


def in_sync(clip: Clip, estimated: tuple[float, float], choice: str) -> Clip:
    """`clip` with its delay settled: `estimated` (ms, correlation there), the index's, or none, by `choice`.

    "auto" believes the index where there is one.
    """
    listed, (guess, correlation) = clip.source.late_ms, estimated
    used = {"auto": guess if listed is None else listed, "index": listed or 0.0, "estimate": guess, "none": 0.0}[choice]
    late = {"estimated": round(guess, 1), "index": listed, "used": round(used, 1)}
    return replace(clip, late_ms=used, facts={**clip.facts, "audio_late_ms": late, "sync_r": round(correlation, 4)})
