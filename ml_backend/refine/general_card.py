"""What a general training says about itself: curves as pictures, and the beginning of a model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ml_backend.data.frames import write_whole
from ml_backend.metrics.image import Quality
from ml_backend.refine.generator import count_parameters

if TYPE_CHECKING:
    from ml_backend.refine.trainer import Trainer

WIDTH, HEIGHT, MARGIN = 720, 360, 50
COLOURS = ("#1060c0", "#c06010", "#10a040", "#a01080")
CURVES = {"psnr": ("raw_psnr", "refined_psnr"), "mouth_sharpness": ("raw_mouth_sharpness", "refined_mouth_sharpness"),
          "feature_l1": ("raw_feature_l1", "refined_feature_l1"), "loss": ("loss_l1", "loss_structure", "loss_edges")}


def draw_curves(rows: Sequence[dict[str, float]], folder: Path) -> None:
    """Write ``curve_NAME.png`` for every entry of `CURVES`: columns of `rows` over the steps."""
    for title, names in CURVES.items():
        series = [[(row["step"], row[name]) for row in rows if np.isfinite(row.get(name, np.nan))] for name in names]
        values = [value for points in series for _, value in points]
        if not values:
            continue
        low, high = min(values), max(max(values), min(values) + 1e-6)
        last = max(max(row["step"] for row in rows), 1.0)
        picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
        pen = ImageDraw.Draw(picture)
        pen.rectangle((MARGIN, MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN), outline="#cccccc")
        for k, (name, points) in enumerate(zip(names, series, strict=True)):
            line = [(MARGIN + (WIDTH - 2 * MARGIN) * step / last,
                     HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / (high - low)) for step, value in points]
            if len(line) > 1:
                pen.line(line, fill=COLOURS[k], width=2)
            pen.text((MARGIN + 10 + 190 * k, HEIGHT - MARGIN + 24), name, fill=COLOURS[k])
        for text, place in ((f"{high:.4g}", MARGIN), (f"{low:.4g}", HEIGHT - MARGIN)):
            pen.text((4, place - 6), text, fill="black")
        pen.text((MARGIN, MARGIN // 2), title, fill="black")
        pen.text((WIDTH - MARGIN - 30, HEIGHT - MARGIN + 8), f"{last:.0f}", fill="black")
        picture.save(folder / f"curve_{title}.png")


def write_card(path: Path, trainer: Trainer, clips: Sequence[tuple[str, str, str, int]],
               scores: Sequence[tuple[str, Quality, Quality]], seconds: float, identity: str) -> None:
    """Write the card's beginning.

    Parameters
    ----------
    clips : (name, source, rights, frames) of what was learned from
    scores : (name, raw, refined) of the validation clips
    seconds : of training
    identity : name of the identity encoder
    """
    millions = [count_parameters(module) / 1e6 for module in (trainer.generator.trunk, trainer.generator.style)]
    lines = ["# Refiner weights", "",
             f"Config `{trainer.config.name}`: generator {millions[0]:.2f} M, AdaIN network {millions[1]:.2f} M "
             f"parameters; identity feature `{identity}`.", "", "## Learned from", "",
             "| source | rights | clips | frames |", "| --- | --- | --- | --- |"]
    counted = Counter((source or "not stated", rights) for _, source, rights, _ in clips)
    for (source, rights), count in sorted(counted.items()):
        frames = sum(n for _, s, r, n in clips if (s or "not stated", r) == (source, rights))
        lines.append(f"| {source} | {rights} | {count} | {frames} |")
    lines += ["", "TO STATE: licences and attributions, what was left out and why.", "", "## Validation", "",
              f"Composites over their own plates, people never learned from, {trainer.steps} steps, "
              f"{seconds / 60:.0f} min. Raw → refined.", "",
              "| clip | PSNR, dB | SSIM | L1 under mouth and eye weights | mouth sharpness |",
              "| --- | --- | --- | --- | --- |"]
    for name, raw, refined in scores:
        lines.append(f"| {name} | {raw.psnr:.2f} → {refined.psnr:.2f} | {raw.ssim:.3f} → {refined.ssim:.3f} | "
                     f"{raw.feature_l1:.4f} → {refined.feature_l1:.4f} | {raw.mouth_sharpness:.2f} → "
                     f"{refined.mouth_sharpness:.2f} |")
    write_whole(path, ("\n".join(lines) + "\n").encode())
