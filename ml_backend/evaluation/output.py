"""A report as tables: on standard output and as Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ml_backend.data.frames import write_whole
from ml_backend.metrics.report import FIGURES, cells, legend, markdown, tables

_WIDTH = 150
_PER_CLIP = ("opening_r", "width_r", "strict")

Shown = tuple[str, list[str], list[list[str]]]
"""Title, headings, lines."""


def present(report: dict[str, Any], path: Path) -> None:
    """Print the tables of an evaluation of clips and write them to `path`; raises `UserInputError`."""
    shown = [("Clips", *_clips(report["clips"]))]
    for mode, found in report["modes"].items():
        rows = {name: row["mean"] for name, row in found["rows"].items()}
        count = max((len(row["clips"]) for row in found["rows"].values()), default=0)
        clips = f"mean of {count} clips" if count > 1 else "one clip"
        shown += [(f"{mode.capitalize()}, {clips}: {title}", headings, lines)
                  for title, headings, lines in tables(rows)]
        shown += [(f"{mode.capitalize()}, per clip: {FIGURES[figure].heading}", *_per_clip(found["rows"], figure))
                  for figure in _PER_CLIP]
    shown.append(("Bars", *_bars(report["bars"])))
    write(shown, _introduction(report), path)


def present_film(report: dict[str, Any], path: Path) -> None:
    """Print the tables of a film against its clip and write them to `path`."""
    rows = {Path(report["film"]["file"]).name: report["figures"], "the clip itself": report["real"]}
    intro = (f"Film {report['film']['file']} against {report['clip']['file']} from {report['clip']['from']:g} s: "
             f"{report['frames']} frames.\n")
    write(tables(rows), intro + "".join(f"\nNote: {note}\n" for note in report["notes"]), path)


def write(shown: list[Shown], introduction: str, path: Path) -> None:
    """Print `shown` and write it, with the meaning of each figure, to `path`."""
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for title, headings, lines in shown:
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    text = "\n".join(markdown(*part) for part in shown)
    write_whole(path, f"# Evaluation\n\n{introduction}\n{text}\n## What the figures mean\n\n{legend()}".encode())


def _introduction(report: dict[str, Any]) -> str:
    made = report["made_with"]
    used = "; ".join(f"{name}: {facts['file']} ({facts['id']}, config {facts['config']})"
                     for name, facts in made["weights"].items())
    model = made["face_model"]
    notes = "".join(f"- {note}\n" for note in report["notes"])
    return (f"Parley {made['parley']}, code {made['code']}, seed {made['seed']}, face model {model['name']} "
            f"({model['sha256'][:12]}), weights {used}.\n" + (f"\n{notes}" if notes else ""))


def _clips(clips: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    headings = ["", "seconds", "faces", "face found", "late ms: estimated", "index", "used", "r there", "closures",
                "silent closed", "blinks/min", "blink s"]
    lines = []
    for name, facts in clips.items():
        late, real = facts["audio_late_ms"], facts["real"]
        listed = "–" if late["index"] is None else f"{late['index']:.0f}"
        closures = "–" if real["closures"] is None else f"{real['closures']:.0f}"
        lines.append([name, f"{facts['seconds']:.1f}", str(facts["faces"]), f"{100 * facts['face_found']:.0f} %",
                      f"{late['estimated']:.0f}", listed, f"{late['used']:.0f}", f"{facts['sync_r']:.2f}", closures,
                      *cells(real, ["silent_closed", "blink_rate", "blink_duration"])])
    return headings, lines


def _per_clip(rows: dict[str, Any], figure: str) -> tuple[list[str], list[list[str]]]:
    names = list(dict.fromkeys(clip for row in rows.values() for clip in row["clips"]))
    lines = [[name, *(cells(row["clips"].get(clip, {}), [figure])[0] for clip in names),
              cells(row["mean"], [figure])[0]] for name, row in rows.items()]
    return ["", *names, "mean"], lines


def _bars(found: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for bar in found:
        figure = FIGURES.get(bar["figure"])
        bounds = " to ".join(f"{bound:g}" for bound in (bar["low"], bar["high"]) if bound is not None)
        heading = bar["figure"] if figure is None else f"{figure.heading} ({figure.table.lower()})"
        lines.append([f"{bar['mode']}: {heading}", f"{bar['value']:.3f}", bounds, "met" if bar["met"] else "missed"])
    return ["", "value", "at least, at most", ""], lines
