"""`parley evaluate CLIPS…`: every system and baseline on every clip, in general and personalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import __version__
from ml_backend.audio.load import Speech
from ml_backend.audio.voice import voice_activity
from ml_backend.config import FPS
from ml_backend.errors import UserInputError
from ml_backend.evaluation.bars import bars
from ml_backend.evaluation.clips import Bench, Clip, assets_key, code_key, find_sources, in_sync, load_clip
from ml_backend.evaluation.output import present
from ml_backend.evaluation.systems import (
    LEAST_TAIL,
    OWN_BEGINNING,
    SYSTEM,
    Contender,
    Row,
    delay,
    general_rows,
    learn,
    load_contenders,
    personal_rows,
)
from ml_backend.face_model.model import load
from ml_backend.face_model.store import model_path
from ml_backend.metrics.head_pose import spread_ratio
from ml_backend.metrics.report import EYES, FIGURES, HEAD, mean_figures, plot_opening, save
from ml_backend.metrics.score import own_figures, score
from ml_backend.progress import Progress
from ml_backend.reconstruct.tracklets import SPEAKING, check_face
from ml_backend.take import Take, file_hash
from ml_backend.terminal import Terminal

GENERAL, PERSONAL = "general", "personalised"
_SCORING = ("motion", "metrics", "evaluation", "audio", "face_model")


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of one run.

    Attributes
    ----------
    clips : clips and folders of clips
    out : folder of the results
    weights : names and files; the first is the one that ablations and bars are about
    personalise_seconds : how much of each clip's beginning personal rows learn from; 0 = no such rows
    split, index : which clips, see `find_sources`
    offset : "auto", "index", "estimate" or "none": whose word on late sound is taken
    seed : of everything random
    face_model : name of the face model
    face : which of several faces: "speaking", "largest", "left", "right" or a number counted from the left
    """

    clips: list[Path]
    out: Path
    weights: list[tuple[str, Path]]
    personalise_seconds: float = 12.0
    split: str | None = None
    index: Path | None = None
    offset: str = "auto"
    seed: int = 0
    face_model: str = "parley"
    face: str = SPEAKING


def evaluate(options: EvaluateOptions, terminal: Terminal) -> dict[str, Any]:
    """Evaluate, write ``metrics.json``, ``table.md`` and ``plots/``, and return the report; raises `ParleyError`."""
    sources = find_sources(options.clips, split=options.split, index=options.index)
    path = model_path(options.face_model)
    model = load(path)
    contenders = load_contenders(options.weights, model)
    take = open_results(options.out)
    try:
        bench = Bench(model, file_hash(path), take, terminal, check_face(options.face))
        clips = _load_all(sources, contenders[0], bench, options.offset)
        report = _report(clips, contenders, bench, options)
        save(report, take.path("metrics.json"))
        present(report, take.path("table.md"))
        terminal.say(f"Figures: {take.path('metrics.json')}, tables: {take.path('table.md')}, "
                     f"plots: {take.path('plots')}.")
        return report
    finally:
        take.close()


def open_results(out: Path) -> Take:
    """The folder of results, new or of an earlier run, which is gone on with."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "take.json").exists()):
        raise UserInputError(f"--out {out} is no folder of an earlier evaluation; give an empty or new folder.")
    return Take.open(out)


def _load_all(sources: list, first: Contender, bench: Bench, offset: str) -> list[Clip]:
    clips, refused = [], []
    for source in sources:
        try:
            clip = load_clip(source, bench)
        except UserInputError as error:
            refused.append(error)
            bench.terminal.warn(f"{source.path.name} is left out: {error}")
            continue
        clips.append(in_sync(clip, delay(clip, first.weights, bench), offset))
    if not clips:
        raise refused[0] if len(refused) == 1 else UserInputError(
            f"None of the {len(refused)} clips can be used; the first because: {refused[0]}")
    return clips


def _report(clips: list[Clip], contenders: list[Contender], bench: Bench, options: EvaluateOptions) -> dict[str, Any]:
    modes: dict[str, dict] = {GENERAL: {}}
    personal: dict[str, dict] = {}
    seconds, facts = options.personalise_seconds, {}
    for number, clip in enumerate(clips):
        other = clips[(number + 1) % len(clips)] if len(clips) > 1 else None
        active = voice_activity(clip.synchronous.samples)
        facts[clip.source.name] = {**clip.facts, "real": own_figures(clip.truth(), active)}
        modes[GENERAL][clip.source.name] = _general(clip, other, contenders, bench, options.seed)
        if not seconds:
            continue
        if len(clip) < (seconds + LEAST_TAIL) * FPS:
            bench.terminal.warn(f"{clip.source.path.name} is too short ({len(clip) / FPS:.1f} s) to learn from "
                                f"{seconds:g} s and be judged on the rest; it has no personal rows.")
            continue
        personal[clip.source.name] = _personal(clip, other, contenders, bench, options)
    if personal:
        modes[PERSONAL] = personal
    gathered = {mode: _gathered(found) for mode, found in modes.items()}
    used = {item.name: {"file": item.path.name, "id": item.weights.identifier,
                        "config": item.weights.network.config.name} for item in contenders}
    return {"made_with": {"parley": __version__, "code": code_key(*_SCORING), "seed": options.seed, "weights": used,
                          "face_model": {"name": options.face_model, "sha256": bench.model_key},
                          "personalise_seconds": seconds, "offset": options.offset},
            "clips": facts, "modes": gathered, "bars": bars(gathered, contenders[0].name),
            "notes": list(bench.terminal.warnings)}


def _settings(clip: Clip, other: Clip | None, contenders: list[Contender], bench: Bench, seed: int) -> dict:
    return {"track": bench.take.key(f"track {clip.source.name}"), "late": clip.late_ms, "seed": seed,
            "other": None if other is None else [other.key, other.late_ms], "code": code_key(*_SCORING),
            "assets": assets_key(), "weights": [[item.name, item.weights.identifier] for item in contenders]}


def _general(clip: Clip, other: Clip | None, contenders: list[Contender], bench: Bench, seed: int) -> dict:
    def work() -> list[Row]:
        return general_rows(clip, _speech(other), contenders, bench.model, seed)

    settings = _settings(clip, other, contenders, bench, seed)
    return _scored(clip, 0, GENERAL, settings, work, bench)


def _personal(clip: Clip, other: Clip | None, contenders: list[Contender], bench: Bench, options: EvaluateOptions
              ) -> dict:
    learned = learn(clip, options.personalise_seconds, contenders, bench, options.seed)

    def work() -> list[Row]:
        return personal_rows(clip, learned, _speech(other), contenders, bench.model, options.seed)

    keys = [bench.take.key(f"learn {clip.source.name} {item.name}") for item in contenders]
    settings = {**_settings(clip, other, contenders, bench, options.seed), "learned": keys}
    return {**_scored(clip, learned.frames, PERSONAL, settings, work, bench), "learned": learned.reports}


def _speech(other: Clip | None) -> Speech | None:
    return None if other is None else other.synchronous


def _scored(clip: Clip, start: int, mode: str, settings: dict, work: Callable[[], list[Row]], bench: Bench) -> dict:
    """Kind and figures of every row on the clip from frame `start` on; draws the plot of the first row."""
    name, plot = clip.source.name, f"plots/{clip.source.name}_{mode}.png"

    def judge(progress: Progress) -> dict:
        truth, active = clip.truth(), voice_activity(clip.synchronous.samples)
        rest, rows = truth.part(start, len(clip)), work()
        progress(1, 2)
        found = {row.name: {"kind": row.kind, "figures": _figures(truth, start, row, active[start:])} for row in rows}
        bench.take.path("plots").mkdir(exist_ok=True)
        drawn = plot_opening(rest.lips[:, 0], rows[0].motion.lips[:, 0], active[start:], f"{name}, {rows[0].name}")
        drawn.save(bench.take.path(plot))
        return {"rows": found}

    return bench.stage(f"score {name} {mode}", f"{name}: scoring, {mode}", settings, [plot], judge)


def _figures(truth: Any, start: int, row: Row, active: np.ndarray) -> dict[str, float | None]:
    rest = truth.part(start, len(truth))
    figures = score(rest, row.motion, active)
    if row.name == OWN_BEGINNING:
        return {name: value for name, value in figures.items() if FIGURES[name].table in (HEAD, EYES)}
    if start:
        own = spread_ratio(truth.angles[:start], row.motion.angles)
        figures["spread_own"] = round(own, 4) if np.isfinite(own) else None
    return figures


def _gathered(clips: dict[str, dict]) -> dict[str, Any]:
    """The rows of one mode: kind, mean over clips, and each clip's figures."""
    names = list(dict.fromkeys(row for clip in clips.values() for row in clip["rows"]))
    rows = {}
    for name in names:
        known = {clip: found["rows"][name] for clip, found in clips.items() if name in found["rows"]}
        figures = {clip: row["figures"] for clip, row in known.items()}
        kind = next(iter(known.values()))["kind"]
        rows[name] = {"kind": kind, "mean": mean_figures(list(figures.values())), "clips": figures}
    learned = {clip: found["learned"] for clip, found in clips.items() if "learned" in found}
    order = sorted(rows, key=lambda row: (rows[row]["kind"] != SYSTEM, names.index(row)))
    return {"rows": {name: rows[name] for name in order}, **({"learned": learned} if learned else {})}
