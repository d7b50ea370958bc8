"""Figures as a file, as tables and as plots."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml_backend.errors import ArtefactError, UserInputError

SCHEMA, VERSION = "parley.evaluation", 1


@dataclass(frozen=True)
class Figure:
    """How a figure is shown: heading, digits after the point, table it stands in, what it is."""

    heading: str
    digits: int
    table: str
    meaning: str


LIPS, SPEECH, HEAD, EYES, PICTURE = "Lips", "Closures and silence", "Head", "Eyes", "Pictures"
FIGURES = {
    "opening_r": Figure("opening r", 3, LIPS, "correlation of the inner lips' opening with the real one"),
    "opening_best": Figure("at best lag", 3, LIPS, "the same at the best lag within ±0.6 s"),
    "opening_lag_ms": Figure("lag ms", 0, LIPS, "that lag; positive: the lips come late"),
    "width_r": Figure("width r", 3, LIPS, "correlation of the mouth's width with the real one"),
    "width_best": Figure("at best lag", 3, LIPS, "the same at the best lag"),
    "width_lag_ms": Figure("lag ms", 0, LIPS, "that lag"),
    "lmd_percent": Figure("LMD %", 2, LIPS, "mean distance of 40 lip points, % of the eyes' outer corners' distance"),
    "lmd_px": Figure("LMD px", 2, LIPS, "the same in pixels of the clip"),
    "amplitude": Figure("amplitude", 2, LIPS, "standard deviation of the opening over the real one's"),
    "lip_jitter": Figure("jitter", 2, LIPS, "what is faster than 6.5 Hz in the opening, over the real one's"),
    "closure_hits": Figure("closures hit", 2, SPEECH, "share of the real closures at which these lips close as well"),
    "closure_precision": Figure("of its own", 2, SPEECH, "share of these lips' closures at which the real ones close"),
    "labials_hit": Figure("p, b, m hit", 2, SPEECH, "share of the p, b and m said at which the lips meet"),
    "labials_by_chance": Figure("by chance", 2, SPEECH, "the same a quarter and half a second beside them"),
    "silent_closed": Figure("silent closed", 2, SPEECH, "share of the silent frames with closed lips"),
    "silent_motion": Figure("silent motion ‰", 2, SPEECH, "change of the opening per silent frame, ‰ interocular"),
    "hs": Figure("HS", 3, HEAD, "1 − W1/60° of the angles' distributions, mean over axes (Yi et al. 2020, eq. 6)"),
    "strict": Figure("1 − W1/2σ", 3, HEAD, "stricter: the distance over twice the real spread, mean over axes"),
    "strict_pitch": Figure("pitch", 2, HEAD, "the same for this axis"),
    "strict_yaw": Figure("yaw", 2, HEAD, "the same for this axis"),
    "strict_roll": Figure("roll", 2, HEAD, "the same for this axis"),
    "speed": Figure("speed", 2, HEAD, "mean angular speed over the real one"),
    "spread": Figure("spread", 2, HEAD, "standard deviation of the angles over the real one, mean over axes"),
    "spread_pitch": Figure("pitch", 2, HEAD, "the same for this axis"),
    "spread_yaw": Figure("yaw", 2, HEAD, "the same for this axis"),
    "spread_roll": Figure("roll", 2, HEAD, "the same for this axis"),
    "spread_own": Figure("of own start", 2, HEAD, "the same over that of the person's own beginning"),
    "head_jitter": Figure("jitter", 2, HEAD, "what is faster than 6.5 Hz in the angles, over the real one's"),
    "blink_rate": Figure("blinks/min", 1, EYES, "blinks per minute"),
    "blink_duration": Figure("blink s", 2, EYES, "typical duration of a blink"),
    "psnr": Figure("PSNR dB", 2, PICTURE, "of the face's box at 256² against the clip, mean over frames"),
    "ssim": Figure("SSIM", 3, PICTURE, "structural similarity of the same"),
    "ms_ssim": Figure("MS-SSIM", 3, PICTURE, "over several scales"),
    "lpips": Figure("LPIPS", 4, PICTURE, "perceptual distance, where its weights are given"),
    "mouth_sharpness": Figure("mouth sharpness", 2, PICTURE, "Laplacian variance of the mouth over the real one's"),
    "flicker": Figure("flicker", 2, PICTURE, "change between frames that motion doesn't explain, over the real one's"),
    "identity": Figure("identity", 3, PICTURE, "cosine of the identity features, film and clip"),
    "attention": Figure("attention", 3, PICTURE, "mean of the refiner's A: 1 = the rendering as it is"),
    "attention_saturated": Figure("saturated", 3, PICTURE, "share of A above 0.95 or below 0.05"),
}
"""Every figure, in the order of the tables."""

Figures = dict[str, float | None]
_SECONDS_IN_ROW, _WIDTH, _ROW, _LEFT, _GAP = 15, 1200, 150, 60, 30
_REAL, _MADE, _QUIET, _INK = (30, 30, 30), (214, 92, 20), (232, 236, 242), (90, 90, 90)


def mean_figures(rows: list[Figures]) -> Figures:
    """Mean of each figure over the `rows` that know it, of lags the median."""
    names = [name for name in FIGURES if any(row.get(name) is not None for row in rows)]
    known = {name: [value for row in rows if (value := row.get(name)) is not None] for name in names}
    # One curve without a clear best lag would spoil the mean of the others.
    return {name: round(float((np.median if name.endswith("lag_ms") else np.mean)(values)), 4)
            for name, values in known.items()}


def cells(figures: Figures, names: list[str]) -> list[str]:
    """The figures `names` as text, a dash where there is none."""
    values = [figures.get(name) for name in names]
    return ["–" if value is None else f"{value:.{FIGURES[name].digits}f}"
            for name, value in zip(names, values, strict=True)]


def tables(rows: dict[str, Figures]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and lines of each table that `rows` (name → figures) have something for."""
    result = []
    for title in (LIPS, SPEECH, HEAD, EYES, PICTURE):
        names = [name for name, figure in FIGURES.items() if figure.table == title
                 and any(row.get(name) is not None for row in rows.values())]
        lines = [[row, *cells(figures, names)] for row, figures in rows.items()
                 if any(figures.get(name) is not None for name in names)]
        if lines:
            result.append((title, ["", *(FIGURES[name].heading for name in names)], lines))
    return result


def markdown(title: str, headings: list[str], lines: list[list[str]]) -> str:
    """A Markdown table under a heading of the third level."""
    rule = ["---", *("---:" for _ in headings[1:])]
    body = "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *lines))
    return f"### {title}\n\n{body}\n"


def legend() -> str:
    """What the figures mean, as a Markdown list."""
    return "\n".join(f"- {figure.table}, {figure.heading}: {figure.meaning}" for figure in FIGURES.values()) + "\n"


def save(report: dict[str, Any], path: Path) -> None:
    """Write `report` as JSON under this schema, whole or not at all; raises `UserInputError`."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps({"schema": SCHEMA, "version": VERSION, **report}, indent=1, allow_nan=False) + "\n")
        part.replace(path)
    except OSError as error:
        raise UserInputError(f"Can't write {path} ({error.strerror}); free some space or choose another --out.") \
            from error


def load(path: Path) -> dict[str, Any]:
    """A report written by `save`; raises `ArtefactError` if it is none."""
    try:
        report = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} can't be read as an evaluation ({error}); run `parley evaluate` again.") from error
    if not isinstance(report, dict) or (report.get("schema"), report.get("version")) != (SCHEMA, VERSION):
        raise ArtefactError(f"{path} is no {SCHEMA} version {VERSION}; run `parley evaluate` again.")
    return report


def plot_opening(real: np.ndarray, made: np.ndarray, active: np.ndarray, title: str, fps: int = 25) -> Image.Image:
    """The lips' opening over time, real black and generated orange, silence shaded, about 15 s in a row.

    Parameters
    ----------
    real, made : (T,) interocular distances, NaN where unknown
    active : (T,) bool, whether someone speaks
    """
    count = min(len(real), len(made), len(active))
    rows = max(round(count / (_SECONDS_IN_ROW * fps)), 1)
    span = max(-(-count // rows), 1)
    seen = np.concatenate([real[:count], made[:count]])
    top = max(float(np.percentile(seen[np.isfinite(seen)], 99.5)) if np.isfinite(seen).any() else 0.1, 0.05)
    picture = Image.new("RGB", (_LEFT + _WIDTH + 20, 40 + rows * (_ROW + _GAP)), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(15)
    draw.text((_LEFT, 8), f"{title}: opening of the lips, % interocular, ", _INK, font)
    at = _LEFT + draw.textlength(f"{title}: opening of the lips, % interocular, ", font)
    draw.text((at, 8), "real", _REAL, font)
    draw.text((at + draw.textlength("real ", font), 8), "generated", _MADE, font)
    for row in range(rows):
        part = slice(row * span, min((row + 1) * span, count))
        base = 34 + row * (_ROW + _GAP) + _ROW
        _axes(draw, font, base, top, part.start / fps, active[part], _WIDTH / span, fps)
        for curve, colour in ((real[part], _REAL), (made[part], _MADE)):
            _curve(draw, curve, base, top, colour, _WIDTH / span)
    return picture


def _axes(draw: ImageDraw.ImageDraw, font: Any, base: int, top: float, start: float, active: np.ndarray,
          step: float, fps: int) -> None:
    """Axes of a row that begins at second `start`, with `step` pixels a frame, and its silence."""
    for frame in np.flatnonzero(~active):
        draw.rectangle((_LEFT + frame * step, base - _ROW, _LEFT + (frame + 1) * step, base), _QUIET)
    draw.line((_LEFT, base - _ROW, _LEFT, base, _LEFT + _WIDTH, base), _INK)
    for second in range(0, int(start + _WIDTH / step / fps) + 1, 5):
        x = _LEFT + (second - start) * fps * step
        if _LEFT <= x < _LEFT + _WIDTH - 20:
            draw.text((x, base + 3), f"{second} s", _INK, font)
    draw.text((8, base - _ROW), f"{100 * top:.0f} %", _INK, font)


def _curve(draw: ImageDraw.ImageDraw, curve: np.ndarray, base: int, top: float, colour: tuple[int, int, int],
           step: float) -> None:
    high = base - np.clip(curve / top, 0, 1.1) * (_ROW - 8)
    points = [(_LEFT + frame * step, float(y)) for frame, y in enumerate(high)]
    for (x0, y0), (x1, y1) in pairwise(points):
        if np.isfinite(y0) and np.isfinite(y1):
            draw.line((x0, y0, x1, y1), colour, 2)
