"""`parley evaluate --phones`: do the lips meet where p, b and m are said, in speech whose phones are known?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import __version__
from ml_backend.audio.load import Speech, load_speech
from ml_backend.audio.voice import voice_activity
from ml_backend.config import FPS
from ml_backend.errors import UserInputError
from ml_backend.evaluation.output import write
from ml_backend.evaluation.run import open_results
from ml_backend.evaluation.systems import Contender, load_contenders
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.store import model_path
from ml_backend.metrics.landmarks import EYE_LEFT, EYE_RIGHT, model_measures
from ml_backend.metrics.report import Figures, mean_figures, save, tables
from ml_backend.metrics.score import silence_figures_of
from ml_backend.metrics.sync import CLOSED, hit_rate
from ml_backend.motion.predict import predict
from ml_backend.terminal import Terminal

LABIALS = ("P", "B", "M")
_SUFFIX = ".phone.json"
_TOLERANCE = 1
_ELSEWHERE = (-11, -7, 7, 11)
"""Frames by which the events are displaced to see how many are hit by chance."""


@dataclass(frozen=True)
class PhoneOptions:
    """Options of one run: speech files, folder of alignments (NAME.phone.json), results, weights, seed."""

    speech: list[Path]
    phones: Path
    out: Path
    weights: list[tuple[str, Path]]
    seed: int = 0
    face_model: str = "parley"


def evaluate_phones(options: PhoneOptions, terminal: Terminal) -> dict[str, Any]:
    """Judge the closures, write ``metrics.json`` and ``table.md``, and return the report; raises `ParleyError`."""
    model = load(model_path(options.face_model))
    contenders = load_contenders(options.weights, model)
    pairs = [(file, alignment_of(file, options.phones)) for file in options.speech]
    take = open_results(options.out)
    try:
        rows: dict[str, dict[str, Figures]] = {item.name: {} for item in contenders}
        with terminal.stage("Speaking") as progress:
            for done, (file, alignment) in enumerate(pairs):
                speech, events = load_speech(file), labials(alignment)
                for item in contenders:
                    rows[item.name][file.stem] = closure_figures(speech, events, item, model, options.seed)
                progress(done + 1, len(pairs))
        means = {name: mean_figures(list(files.values())) for name, files in rows.items()}
        report = {"made_with": {"parley": __version__, "seed": options.seed,
                                "weights": {item.name: item.weights.identifier for item in contenders}},
                  "speech": {name: {"mean": means[name], "files": files} for name, files in rows.items()}}
        save(report, take.path("metrics.json"))
        shown = tables(means) + [(f"{name}, per file: {title}", headings, lines) for name, files in rows.items()
                                 for title, headings, lines in tables(files)]
        write(shown, f"Closures of p, b and m in {len(pairs)} files of speech with known phones.\n",
              take.path("table.md"))
        return report
    finally:
        take.close()


def closure_figures(speech: Speech, events: list[slice], item: Contender, model: FaceModel, seed: int) -> Figures:
    """How many `events` the lips of people in general meet at, and at events elsewhere, and how still silence is."""
    made = predict(speech, item.weights, model, seed=seed)
    opening = (model_measures(model, made.expression)[:, 0] - model_measures(model, 0 * made.expression[:1])[0, 0])
    opening = opening / _interocular(model)
    moved = [slice(event.start + by, event.stop + by) for event in events for by in _ELSEWHERE
             if event.start + by >= 0 and event.stop + by <= len(opening)]
    figures = {"labials_hit": hit_rate(events, opening, CLOSED, _TOLERANCE),
               "labials_by_chance": hit_rate(moved, opening, CLOSED, _TOLERANCE),
               **silence_figures_of(opening, CLOSED, voice_activity(speech.samples))}
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in figures.items()}


def labials(alignment: Path) -> list[slice]:
    """Frames of every p, b and m in an alignment; raises `UserInputError` if the file is none."""
    try:
        phones = list(_phones(json.loads(alignment.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserInputError(f"{alignment} can't be read as an alignment ({error}); it should be PocketSphinx's JSON "
                             "with phones.") from error
    return [slice(floor(start * FPS), ceil((start + length) * FPS)) for name, start, length in phones
            if name.rstrip("012") in LABIALS]


def _phones(node: dict) -> Iterator[tuple[str, float, float]]:
    """Name, start and length (s) of the leaves of PocketSphinx's tree of utterance, words and phones."""
    children = node.get("w")
    if not children:
        yield str(node["t"]).upper(), float(node["b"]), float(node["d"])
    for child in children or ():
        yield from _phones(child)


def alignment_of(file: Path, folder: Path) -> Path:
    """The alignment in `folder` with the name of `file`, or the only one with the same last word in it."""
    exact = folder / f"{file.stem}{_SUFFIX}"
    last = re.split("[-_ ]", file.stem)[-1]
    alike = [path for path in sorted(folder.glob(f"*{_SUFFIX}"))
             if re.split("[-_ ]", path.name[:-len(_SUFFIX)])[-1] == last]
    if exact.is_file():
        return exact
    if len(alike) != 1:
        raise UserInputError(f"{folder} has no alignment of {file.name}; it should be called {exact.name}.")
    return alike[0]


def _interocular(model: FaceModel) -> float:
    ends = [model.mean_shape[model.landmark_vertex[np.flatnonzero(model.landmark_index == landmark)[0]]]
            for landmark in (EYE_RIGHT, EYE_LEFT)]
    return float(np.linalg.norm(ends[0] - ends[1]))
