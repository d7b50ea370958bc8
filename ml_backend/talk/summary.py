"""What the user reads when a take is done: what was made, where it lies, how good it is, what it cost."""

from __future__ import annotations

from typing import Any

from ml_backend.talk.options import TalkOptions

STAGES = {
    "frames": "reading the clip", "track": "tracking", "polish": "tracking", "character": "character",
    "personalise": "way of speaking",
    "motion": "motion", "plates": "plates", "plate_frames": "plates", "whole_plates": "plates", "survey": "plates",
    "photo": "photo", "frames_rgba": "rendering", "fit_rgba": "rendering", "fit_rgba_end": "rendering",
    "unseen_character": "character", "composites": "composing", "fit_composites": "composing",
    "recall": "fitting the refiner", "refiner": "fitting the refiner", "refined": "refining", "film": "writing",
    "crop_film": "writing",
    "sequences": "writing", "scene": "scene",
}
SHOWN = 3
"""Kinds of work that are named, the longest."""


def summary(report: dict[str, Any], options: TalkOptions, size: tuple[int, int] | None) -> list[str]:
    """Three to five lines about a finished take.

    Parameters
    ----------
    report : what ``report.json`` holds
    size : width and height of the film, pixels; None where it isn't known
    """
    shape = "" if size is None else f", {size[0]} × {size[1]}"
    film = report["film"]
    lines = [f"Film: {options.out} ({film['seconds']:.1f} s{shape}). Contact sheet: {options.sheet}."]
    beside = [("Scene", options.scene), ("crop", options.crop), ("frames", options.frames),
              ("cue sheet", options.cue_sheet)]
    lines.append("; ".join([*(f"{name}: {path}" for name, path in beside if path is not None),
                            f"everything else: {options.take_folder}"]) + ".")
    lines[1] = lines[1][0].upper() + lines[1][1:]
    if quality := _quality(report["stages"]):
        lines.append(f"Quality: {'; '.join(quality)}.")
    lines.append(_cost(report))
    if count := len(report["warnings"]):
        lines.append(f"{count} note{'s' if count > 1 else ''} above; all figures: {options.take_folder}/report.json.")
    return lines


def _quality(facts: dict[str, dict]) -> list[str]:
    found = []
    if "found" in facts.get("track", {}):
        found.append(f"face found in {100 * facts['track']['found']:.0f} % of {facts['track'].get('frames', 0)} frames")
    learned = facts.get("personalise", {})
    if learned.get("kept"):
        found.append(f"lips of the clip's unseen end r {learned['before']:.2f} → {learned['after']:.2f}")
    refined = facts.get("refiner", {})
    if refined.get("before") and refined.get("after") and not refined.get("pass_through", True):
        found.append(f"its unseen frames {refined['before']['psnr']:.1f} → {refined['after']['psnr']:.1f} dB refined")
    if "plates_used" in facts.get("plates", {}):
        found.append(f"{facts['plates']['plates_used']} of the clip's frames behind the face")
    return found


def _cost(report: dict[str, Any]) -> str:
    spent: dict[str, float] = {}
    for stage, seconds in report["seconds"]["this_run"].items():
        kind = STAGES.get(str(stage), str(stage))
        spent[kind] = spent.get(kind, 0.0) + seconds
    longest = sorted(((name, seconds) for name, seconds in spent.items() if seconds >= 0.1), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {_span(seconds)}" for name, seconds in longest[:SHOWN])
    memory = max(report["peak_memory_mib"].values()) / 1024
    total = _span(report["seconds"]["total"])
    return f"Time: {total}{f' ({parts})' if parts else ''}; memory: {memory:.1f} GB at most."


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
