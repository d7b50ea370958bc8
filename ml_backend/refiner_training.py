"""`parley prepare --faces` and `parley train refiner`: from folders of clips to the refiner's general weights."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ml_backend.background.composite import composite
from ml_backend.errors import UserInputError
from ml_backend.motion.distributed import world
from ml_backend.prepare import faces
from ml_backend.prepare.run import REJECTIONS, find_all, prepare_all
from ml_backend.refine.config import RefinerConfig, TrainOptions, yi2020
from ml_backend.refine.general import GENERAL, GeneralPlan, train_general
from ml_backend.terminal import Terminal
from ml_backend.training import show_reasons

PUBLISHED = TrainOptions(learning_rate=2e-4, crop=0, coarse_share=0.0, disc_crop=0, gan_start=0.0, gan_full=0.0,
                         flip=True, shift=0, gain=0.0, attention_weight=2.0, structure_weight=0.0, edge_weight=0.0,
                         mouth_weight=0.0, eye_weight=0.0)
"""The losses and settings of Yi et al. 2020 and no others, for ``--config yi2020``."""
_STEPS, _SIDE = 20000, {"default": 128, "yi2020": 256}


def prepare_faces(options: argparse.Namespace, terminal: Terminal) -> None:
    """Make a face shard of each clip in the folders: its own tracked face drawn over its own frames; resumes.

    Raises
    ------
    UserInputError
        If no folder is given, one is missing, or none of the clips can be used.
    """
    if not options.folders:
        raise UserInputError("Face shards are made of clips; give folders of clips.")
    sources = find_all(options.folders, layout=options.layout, rights=options.rights)
    # Lips that don't agree with the sound matter to motion, not to pictures.
    sources = [replace(source, reason="") for source in sources if source.split]
    with terminal.stage(f"Drawing the faces of {len(sources)} clips") as progress:
        rows = prepare_all(sources, options.out, workers=options.workers, retry=options.retry, worker=faces.work,
                           progress=progress)
    ready = [row for row in rows if row.status == faces.READY]
    if len(ready) < len(rows):
        show_reasons(rows, terminal)
    reasons = f"; {REJECTIONS} lists the reasons" if len(ready) < len(rows) else ""
    terminal.say(f"{len(ready)} face shards in {options.out}, {len(rows) - len(ready)} clips rejected{reasons}.")


def train_refiner(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train the refiner's general weights on face shards.

    Raises
    ------
    UserInputError
        If there are no shards of either split, or no such device.
    """
    if options.config not in _SIDE:
        raise UserInputError(f"There is no refiner config {options.config}; give default or yi2020.")
    config = yi2020() if options.config == "yi2020" else RefinerConfig()
    plan = GeneralPlan(
        options.dataset,
        options.out,
        composite,
        config,
        PUBLISHED if options.config == "yi2020" else GENERAL,
        side=_SIDE[options.config],
        steps=options.steps or _STEPS,
        minutes=options.minutes,
        seed=options.seed,
        without=tuple(options.without),
        rights=options.rights,
    )
    with world(options.device, options.amp), terminal.stage("Training the refiner") as progress:
        report = train_general(plan, resume=not options.fresh, progress=progress)
    before, after = report.before, report.after
    terminal.say(
        f"Weights, curves, samples and the beginning of a model card in {options.out}: {before.psnr:.2f} to "
        f"{after.psnr:.2f} dB, mouth sharpness {before.mouth_sharpness:.2f} to {after.mouth_sharpness:.2f} on the "
        f"validation clips after {report.steps} steps."
    )
