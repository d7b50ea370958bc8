"""The beginning of the encoder's model card: what a training knows about itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.data.frames import write_whole
from ml_backend.refine.encoder import SIDE, FaceEncoder

if TYPE_CHECKING:
    from ml_backend.recognise.faces import Faces
    from ml_backend.recognise.train import Report, Settings


def write_card(report: Report, settings: Settings, faces: Faces, seed: int, path: Path) -> None:
    """Write the card of a training as Markdown.

    Parameters
    ----------
    report, settings, seed : of the training
    faces : of both splits
    """
    write_whole(path, "\n".join([*_network(), *_data(report, settings, faces), *_test(report),
                                 *_origin(report, settings, seed)]).encode())


def _network() -> list[str]:
    count = sum(parameter.numel() for parameter in FaceEncoder().parameters())
    return ["# Identity encoder", "",
            f"`identity.safetensors`: a face of {SIDE}² pixels, aligned by five points → 512 numbers of length 1 whose "
            f"cosine tells whether two faces are one person's. {count / 1e6:.1f} M parameters, fp16. "
            "`ml_backend/refine/encoder.py` reads it; the refiner conditions on it and its memory looks things up by "
            "it.", ""]


def _data(report: Report, settings: Settings, faces: Faces) -> list[str]:
    learned = faces.of("train")
    return ["## Learned from", "",
            f"- {report.people['real']} people in {len(np.unique(learned.file))} clips and photos, "
            f"{report.people['pictures']} pictures.",
            f"- {report.people['blends']} blends: two of these people brought to their common shape and mixed, "
            f"{settings.blend_views} pictures each.",
            f"- {report.people['heads']} random people of the built-in head, drawn in random poses, light and "
            f"expressions, {settings.head_views} pictures each.", "",
            "ArcFace loss (Deng et al. 2019); framing, light, colour, focus, compression and covers are varied. Nobody "
            "of the test people was learned from.", ""]


def _test(report: Report) -> list[str]:
    rows = [f"| {name} | {rate['eer']:.1%} | {rate['accepted']:.1%} | {rate['auc']:.3f} | {rate['threshold']:.2f} | "
            f"{rate['same']:.0f} / {rate['different']:.0f} |" for name, rate in report.rates.items()]
    return ["## Test", "", f"{report.people['test']} people who were never learned from. \"One file\": two moments of "
            "a clip; \"across files\": two clips of a person. \"Varied\": under the training's variations.",
            "", "| pairs | equal error rate | accepted at 1 % false | area | threshold | pairs of one / two people |",
            "| --- | ---: | ---: | ---: | ---: | ---: |", *rows, ""]


def _origin(report: Report, settings: Settings, seed: int) -> list[str]:
    return ["## Command", "", "```sh",
            f"parley train identity CLIPS --people people.csv --out OUT --steps {settings.steps} --seed {seed}", "```",
            "", f"{report.steps} steps, {report.seconds / 60:.0f} min of processor time.", ""]
