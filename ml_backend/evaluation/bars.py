"""The bars that Parley's motion has to clear (design, §6), held against a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml_backend.evaluation.systems import BASELINE, OWN_BEGINNING


@dataclass(frozen=True)
class Bar:
    """A figure of a row and the range it should be in."""

    mode: str
    row: str
    figure: str
    low: float | None = None
    high: float | None = None


_BARS = (
    Bar("general", "{name}", "opening_r", 0.55), Bar("general", "{name}", "width_r", 0.45),
    Bar("general", "{name}", "silent_closed", 0.95),
    Bar("personalised", "{name}, personalised", "opening_r", 0.62),
    Bar("personalised", "{name}, personalised", "amplitude", 0.85, 1.15),
    Bar("personalised", "{name}, personalised", "speed", 0.7, 1.4),
    Bar("personalised", "{name}, personalised", "spread_own", 0.7, 1.4),
)


def bars(modes: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Each bar that the weights `name` have a figure for: where, which, the value, the range, whether it is met."""
    found = []
    for bar in _BARS:
        value = _mean(modes, bar.mode, bar.row.format(name=name), bar.figure)
        if value is not None:
            found.append(_verdict(bar.mode, bar.figure, value, bar.low, bar.high))
    own = _mean(modes, "personalised", OWN_BEGINNING, "strict")
    made = _mean(modes, "personalised", f"{name}, personalised", "strict")
    if own is not None and made is not None:
        found.append(_verdict("personalised", "strict", made, own, None))
    if "general" in modes:
        beaten, count = _clips_won(modes["general"]["rows"], name)
        found.append(_verdict("general", "clips on which the opening beats every baseline", beaten, count, None))
    return found


def _verdict(mode: str, figure: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    met = (low is None or value >= low) and (high is None or value <= high)
    return {"mode": mode, "figure": figure, "value": value, "low": low, "high": high, "met": bool(met)}


def _mean(modes: dict[str, Any], mode: str, row: str, figure: str) -> float | None:
    return modes.get(mode, {}).get("rows", {}).get(row, {}).get("mean", {}).get(figure)


def _clips_won(rows: dict[str, Any], name: str) -> tuple[int, int]:
    """On how many clips, of how many, the row's opening correlates better than every baseline's."""
    own = rows[name]["clips"]
    rivals = [row["clips"] for row in rows.values() if row["kind"] == BASELINE]
    won = [all(figures["opening_r"] > rival[clip]["opening_r"] for rival in rivals if clip in rival)
           for clip, figures in own.items()]
    return sum(won), len(won)
