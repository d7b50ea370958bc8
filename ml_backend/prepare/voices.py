"""Speech without a face, and its phones: recordings, the sound of the clips, and voices of flite."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.audio import phones
from ml_backend.audio.load import load_speech
from ml_backend.errors import DependencyError, ParleyError, StageError, UserInputError
from ml_backend.motion import shards
from ml_backend.motion.phone_shards import FOLDER, PhoneShard, save
from ml_backend.prepare.sources import SOUNDS
from ml_backend.progress import Progress, silent

FLITE_VOICES = ("slt", "rms", "awb")
"""Statistical voices of flite that were learned from people; their phone times are exact."""
LENGTH = (3, 25)
"""Words in a sentence that is spoken."""
SLOWEST, FASTEST = 1.15, 0.75


@dataclass(frozen=True)
class Recording:
    """One piece of speech to label: how to get it, and what is known of it."""

    name: str
    speaker: str
    source: str
    rights: str
    path: Path | None = None
    text: str = ""
    stretch: float = 1.0


def find_recordings(folders: Sequence[Path], *, rights: str) -> list[Recording]:
    """Sound files of `folders`, each folder one speaker unless the names tell people apart (``LJ001-0001``).

    Raises
    ------
    UserInputError
        If a folder is missing or holds no sound.
    """
    found = []
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS) if folder.is_dir() else []
        if not paths:
            raise UserInputError(f"There is no sound file in {folder}; give folders of speech.")
        for path in paths:
            word = re.search(r"[A-Za-z]{2,}", path.stem) if re.search(r"[-_]", path.stem) else None
            speaker = f"{folder.name}_{word.group().lower() if word else path.parent.name}"
            found.append(Recording(f"speech_{folder.name}_{path.stem}", speaker, folder.name, rights, path))
    return found


def written_sentences(text: Path) -> list[str]:
    """Sentences of plain words in a text file, each once; raises `UserInputError` if there is none."""
    try:
        content = " ".join(text.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"{text} can't be read as text; give a file of sentences.") from error
    parts = dict.fromkeys(part.strip() for part in re.split(r"[.!?:;]\s", content + " "))
    found = [part for part in parts if LENGTH[0] <= len(part.split()) <= LENGTH[1]
             and re.fullmatch(r"[A-Za-z ,'’\-]+", part)]
    if not found:
        raise UserInputError(f"{text} holds no sentence of {LENGTH[0]} to {LENGTH[1]} plain words to be spoken.")
    return found


def synthetic(sentences: Sequence[str], *, seed: int = 0) -> list[Recording]:
    """Every sentence in every voice of flite, faster or slower each time."""
    generator = np.random.default_rng(seed)
    return [Recording(f"flite_{voice}_{number}", f"flite_{voice}", "flite", "open", text=sentence,
                      stretch=float(np.round(generator.uniform(FASTEST, SLOWEST), 2)))
            for voice in FLITE_VOICES for number, sentence in enumerate(sentences)]


def clip_recordings(dataset: Path) -> list[Recording]:
    """The sound of the training clips of a data set."""
    return [Recording(f"clip_{path.stem}", "", "", "", path) for path in sorted(dataset.glob("*.npz"))]


def label_all(recordings: Sequence[Recording], dataset: Path, *, progress: Progress = silent) -> tuple[int, list[str]]:
    """Write the phone shards that are missing in `dataset`; returns how many there are, and why some are not."""
    ready, refused = 0, []
    for done, recording in enumerate(recordings):
        progress(done, len(recordings))
        path = dataset / FOLDER / f"{recording.name}.npz"
        try:
            if not path.exists():
                for shard in _labelled(recording):
                    save(shard, path)
            ready += path.exists()
        except DependencyError:
            raise
        except ParleyError as error:
            refused.append(f"{recording.path or recording.name}: {error}")
    progress(len(recordings), len(recordings))
    return ready, refused


def _labelled(recording: Recording) -> Iterator[PhoneShard]:
    """The shard of a recording; none of a clip that validates."""
    if recording.text:
        samples, segments = speak(recording)
    elif recording.path and recording.path.suffix == ".npz":
        clip = shards.load(recording.path)
        if str(clip.split) != "train":
            return
        yield PhoneShard(clip.speech, phones.labels(phones.recognise(clip.samples), len(clip.speech)), clip.speaker,
                         clip.source, clip.rights)
        return
    else:
        samples = load_speech(recording.path or "").samples
        segments = phones.recognise(samples)
    sound = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)
    yield PhoneShard(sound, phones.labels(segments, len(sound)), np.array(recording.speaker),
                     np.array(recording.source), np.array(recording.rights))


def speak(recording: Recording) -> tuple[np.ndarray, list[phones.Segment]]:
    """(N,) samples and the phones of a sentence spoken by flite.

    Raises
    ------
    DependencyError
        If flite is not installed.
    StageError
        If it fails.
    """
    program = shutil.which("flite")
    if program is None:
        raise DependencyError("Speaking sentences needs flite, which is not installed; install it with: apt-get "
                              "install flite.")
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        done = subprocess.run([program, "-voice", recording.speaker.removeprefix("flite_"), "--setf",
                               f"duration_stretch={recording.stretch}", "-psdur", "-t", f"{recording.text} .", "-o",
                               str(sound)], capture_output=True, text=True, check=False, timeout=120)
        if done.returncode or not sound.exists():
            raise StageError(f"flite could not speak “{recording.text}”: {done.stderr.strip() or 'no sound'}.")
        samples = load_speech(sound).samples
    ends = [(phone, float(end)) for phone, _, end in (word.rpartition(":") for word in done.stdout.split())]
    begins = [0.0, *(end for _, end in ends)]
    return samples, [(phone, begin, end) for (phone, end), begin in zip(ends, begins, strict=False)]
