"""What a benchmark measured: figures with bars, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_backend.data.frames import write_whole
from ml_backend.errors import ParleyError

PASS, FAIL = "pass", "FAIL"


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes
    ----------
    part : which benchmark it belongs to
    name : what was measured
    value : in `unit`
    unit : "" for a plain number
    bar : what it has to reach, None where it is only reported
    at_least : whether `value` has to be at least `bar` (else at most)
    note : where it comes from, in a few words
    """

    part: str
    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_least: bool = True
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None without one. A value that is no number meets none."""
        if self.bar is None:
            return None
        return bool(self.value >= self.bar if self.at_least else self.value <= self.bar)


def _number(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def table(figures: Sequence[Figure]) -> str:
    """Lines of text, one for each figure, with columns aligned."""
    head = ("part", "figure", "value", "bar", "", "note")
    rows: list[tuple[str, ...]] = [head]
    for figure in figures:
        unit = f" {figure.unit}" if figure.unit else ""
        bar = "" if figure.bar is None else f"{'≥' if figure.at_least else '≤'} {_number(figure.bar)}{unit}"
        verdict = {None: "", True: PASS, False: FAIL}[figure.passed]
        rows.append((figure.part, figure.name, f"{_number(figure.value)}{unit}", bar, verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths).rstrip(), *lines[1:]]) + "\n"


def failures(figures: Iterable[Figure]) -> list[Figure]:
    """Those below their bar."""
    return [figure for figure in figures if figure.passed is False]


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """Write all fields of `figures`, and whether each passed; raises `UserInputError` if that can't be written."""
    rows = [{**asdict(figure), "value": None if figure.value != figure.value else figure.value,
             "passed": figure.passed} for figure in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())


def run_parts(names: Iterable[str], measure: Callable[[str], list[Figure]], out: Path | None) -> int:
    """Measure the parts called `names`, print each one's table, write all to `out` if that is given.

    Returns the exit code: 0 if every bar is met, 1 if not, 2 if something is missing.
    """
    figures: list[Figure] = []
    for name in names:
        start = time.monotonic()
        try:
            found = measure(name)
        except ParleyError as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 2
        figures += found
        sys.stdout.write(f"{table(found)}({name}: {time.monotonic() - start:.0f} s)\n\n")
        sys.stdout.flush()
        if out is not None:
            write_json(figures, out)
    missed = failures(figures)
    sys.stdout.write(f"{len(missed)} of {sum(figure.bar is not None for figure in figures)} bars are not met"
                     + (f": {', '.join(figure.name.strip() for figure in missed)}.\n" if missed else ".\n"))
    return 1 if missed else 0
