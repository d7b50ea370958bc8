"""Takes of validation clips that the film's figures are measured on, kept in the cache."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from ml_backend.blender import find_blender
from ml_backend.errors import UserInputError
from ml_backend.take import Take
from ml_backend.talk.options import TalkOptions
from ml_backend.talk.session import Session
from ml_backend.terminal import Terminal
from tests.benchmarks.face_clips import validation_clips

CLIPS = ("st_andrew_clip_2", "halfbody_20s", "news_3", "cspan_61s")
"""A still room, a moving body filmed upright, a head that fills the picture, and a stage with a subtitle."""
SPEECH = 30.0
PAUSE = 0.3
RATE = 16000


def clips(options: argparse.Namespace) -> list[Path]:
    """Files of `CLIPS`, or of ``options.clip`` where that is given."""
    wanted = getattr(options, "clip", None) or CLIPS
    found = {clip.name: clip.path for clip in validation_clips(options.data, options.cache)}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserInputError(f"There is no validation clip {missing[0]}; choose of {', '.join(found)}.")
    return [found[name] for name in wanted]


def speech_file(options: argparse.Namespace) -> Path:
    """`SPEECH` seconds of read sentences, joined once."""
    out = options.cache / "film" / "speech.wav"
    if out.is_file():
        return out
    parts: list[np.ndarray] = []
    for file in sorted((options.data / "speech").glob("LJ*.flac")):
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        mono = samples.mean(1)
        count = round(len(mono) * RATE / rate)
        parts += [np.interp(np.arange(count) * rate / RATE, np.arange(len(mono)), mono), np.zeros(round(PAUSE * RATE))]
        if sum(map(len, parts)) >= SPEECH * RATE:
            break
    if not parts:
        raise UserInputError(f"{options.data / 'speech'} holds no sentences; use the whole data folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(out, np.concatenate(parts)[: round(SPEECH * RATE)].astype(np.float32), RATE)
    return out


@contextmanager
def session(clip: Path, options: argparse.Namespace, **changes: object) -> Iterator[Session]:
    """A quiet session on `clip` whose take stays in the cache."""
    folder = options.cache / "film" / clip.stem
    wanted = TalkOptions(speech_file(options), clip, folder / "film.mp4", refine=False, keep=folder / "take")
    wanted = dataclasses.replace(wanted, **changes)
    take = Take.open(wanted.take_folder)
    started = Session.start(wanted, Terminal(quiet=True), take, find_blender(options.blender))
    try:
        yield started
    finally:
        started.close()
        take.close()
