"""A training curve as a picture: one line per column over the steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 800, 480, 60
COLOURS = ("#888888", "#1060c0", "#c06010", "#10a040", "#a01080")


def draw_curve(rows: list[dict[str, float]], path: Path, *, title: str = "") -> None:
    """Write a PNG with every column of `rows` (beside "step") over "step"; what is no number is left out."""
    steps = np.array([row["step"] for row in rows])
    names = [name for name in rows[0] if name != "step"]
    values = np.array([[row[name] for name in names] for row in rows], float)
    finite = values[np.isfinite(values)]
    # The first values may be far off the rest, which is what one wants to see.
    low, high = (float(finite.min()), float(np.percentile(finite, 90))) if finite.size else (0.0, 1.0)
    high = max(high, low + 1e-6)
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((MARGIN, MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN), outline="#cccccc")
    across = MARGIN + (WIDTH - 2 * MARGIN) * steps / max(float(steps.max()), 1)
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        down = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * np.minimum((values[:, number] - low) / (high - low), 1)
        known = np.isfinite(down)
        points = [(float(x), float(y)) for x, y in zip(across[known], down[known], strict=True)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2)
        pen.text((MARGIN + 10 + number * 150, HEIGHT - MARGIN + 30), name, fill=colour)
    pen.text((MARGIN, MARGIN // 2), title, fill="black")
    for text, at in ((f"{high:.3g}", MARGIN), (f"{low:.3g}", HEIGHT - MARGIN)):
        pen.text((8, at - 6), text, fill="black")
    pen.text((WIDTH - MARGIN - 20, HEIGHT - MARGIN + 8), f"{steps.max():.0f}", fill="black")
    picture.save(path)
