"""General training of the refiner on the faces of many people: resumable, looked at on people never learned from.

Works on a CPU, on a GPU in bfloat16, and in several processes under `torchrun` (see `ml_backend.refine.device`).
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.metrics.image import Quality, measure
from ml_backend.progress import Progress, silent
from ml_backend.refine import device as devices
from ml_backend.refine.config import RefinerConfig, TrainOptions
from ml_backend.refine.dataset import from_network, to_network
from ml_backend.refine.faces import Compose, FaceClip, FaceSet
from ml_backend.refine.general_card import draw_curves, write_card
from ml_backend.refine.identity import identity_encoder, spatial_trunk
from ml_backend.refine.judging import judged
from ml_backend.refine.losses import LIPS, feature_weights
from ml_backend.refine.trainer import Trainer
from ml_backend.refine.weights import RefinerWeights, load_weights, save_weights

WEIGHTS, STATE, CURVE, CARD = "refiner.safetensors", "last.safetensors", "curve.csv", "card.md"
LOOK_FRAMES = 4
"""Frames of each validation clip at a look."""
CELL = 160
"""Pixels of a picture in the sample grid."""
GENERAL = TrainOptions(learning_rate=1.5e-3, momentum=0.9, batch=4, crop=0, coarse_share=0.0, disc_crop=0, flip=True,
                       gain=0.06, gan_weight=0.0, detail_weight=50.0, identity_drop=0.3, attention_weight=1.0,
                       attention_last=0.1, ema=0.998)
"""Settings of the shipped weights."""


@dataclass
class GeneralReport:
    """What a general training did: steps, seconds, figures of raw and refined validation frames, files."""

    weights: Path
    steps: int
    seconds: float
    before: Quality
    after: Quality
    rows: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class GeneralPlan:
    """What a general training is given.

    Attributes
    ----------
    dataset : folder of face shards
    out : folder for weights, state, curve, grids and card
    compose : how a render goes over a plate
    config, options : sizes and settings
    side : of the squares trained on, pixels
    steps, minutes : where to stop, whichever comes first; the schedules end there
    without : shards or speakers left out
    rights : only shards with these rights
    look_minutes : between two looks at the validation clips
    start : weights to begin with
    """

    dataset: Path
    out: Path
    compose: Compose
    config: RefinerConfig = field(default_factory=RefinerConfig)
    options: TrainOptions = GENERAL
    side: int = 128
    steps: int = 20000
    minutes: float = 60.0
    seed: int = 0
    without: Sequence[str] = ()
    rights: str = ""
    identity: str = "auto"
    resnet: Path | None = None
    look_minutes: float = 3.0
    start: Path | None = None

    def described(self) -> str:
        """What has to be the same for a training to go on where it stopped."""
        return json.dumps([self.config.as_dict(), self.options.as_dict(), self.side, self.seed, sorted(self.without),
                           self.rights], sort_keys=True)


def train_general(plan: GeneralPlan, *, resume: bool = True, progress: Progress = silent) -> GeneralReport:
    """Train on the "train" shards, look at the "validate" ones, write weights, curve, sample grids and a card.

    The weights written are those of the best look, by `ml_backend.refine.train.judged`.

    Raises
    ------
    UserInputError, ArtefactError
        If there are no shards of either split, or the weights to begin with don't fit.
    """
    if plan.side % plan.config.multiple:
        raise UserInputError(f"Squares of {plan.side} pixels can't be trained on; use a multiple of "
                             f"{plan.config.multiple}.")
    run = _Run(plan)
    if resume:
        run.resume()
    run.train(progress)
    return run.finish()


class _Run:
    """State of one `train_general`."""

    def __init__(self, plan: GeneralPlan) -> None:
        self.plan, self.out = plan, Path(plan.out)
        self.out.mkdir(parents=True, exist_ok=True)
        encoder = identity_encoder(plan.identity)
        self.identity_name = encoder.name
        self.spatial_name, self.trunk = spatial_trunk(plan.resnet)
        chosen = {"compose": plan.compose, "encoder": encoder, "without": plan.without}
        self.training = FaceSet(plan.dataset, "train", rights=plan.rights, **chosen)
        self.validation = FaceSet(plan.dataset, "validate", **chosen)
        start = load_weights(plan.start) if plan.start else None
        if start is not None and replace(start.config, image=plan.config.image) != plan.config:
            raise UserInputError(f"{plan.start} has other sizes than the chosen refiner config; leave it out.")
        self.trainer = Trainer(plan.config, plan.options, devices.best_device(), plan.seed, start)
        # Squares of many people are what the typical statistics are learned from.
        self.trainer.settled = False
        self.random = np.random.default_rng([plan.seed, devices.rank()])
        self.seconds, self.rows = 0.0, list[dict[str, float]]()
        self.losses: dict[str, list[float]] = {}
        self.best = float("inf")
        self.raw, self.refined = self._raw(), None

    def _frames(self, clip: FaceClip) -> list[int]:
        return np.unique(np.linspace(2, len(clip.shard) - 1, LOOK_FRAMES).round().astype(int)).tolist()

    def _measure(self, pictures: list[np.ndarray]) -> list[Quality]:
        out, k = [], 0
        for clip in self.validation.clips:
            frames = self._frames(clip)
            points = clip.shard.landmarks[frames]
            weights = [feature_weights(p, (clip.shard.side, clip.shard.side), mouth=4, eyes=2) for p in points]
            out.append(measure(pictures[k:k + len(frames)], clip.shard.real[frames], weights, points,
                               consecutive=False))
            k += len(frames)
        return out

    def _raw(self) -> list[Quality]:
        return self._measure([clip.composite(i) for clip in self.validation.clips for i in self._frames(clip)])

    @torch.no_grad()
    def _refine(self, clip: FaceClip, i: int) -> np.ndarray:
        window = to_network(np.stack([clip.composite(k) for k in clip.window(i, self.plan.config.window)]))[None]
        with devices.autocast(self.trainer.device):
            return from_network(self.trainer.average(window.to(self.trainer.device),
                                                     clip.identity[None].to(self.trainer.device))[0][0])

    def train(self, progress: Progress) -> None:
        """Steps until the plan's end, with a look now and then."""
        plan, before, begun = self.plan, self.seconds, time.monotonic()
        looked = self.seconds
        try:
            while not devices.agreed(self.trainer.steps >= plan.steps or self.seconds >= 60 * plan.minutes):
                share = devices.mean(max(self.trainer.steps / plan.steps, self.seconds / (60 * plan.minutes)))
                found = self.training.batch(plan.options, plan.side, plan.config.window, self.trunk, self.random)
                for name, value in self.trainer.step(*found, share).items():
                    self.losses.setdefault(name, []).append(value)
                self.seconds = before + time.monotonic() - begun
                progress(min(int(100 * share), 100), 100)
                if self.seconds - looked >= 60 * plan.look_minutes:
                    self.look()
                    looked = self.seconds = before + time.monotonic() - begun
        finally:
            self._save()

    def look(self) -> None:
        """Measure and draw the validation clips with the averaged weights; note it all."""
        if devices.rank():
            return
        pictures = [self._refine(clip, i) for clip in self.validation.clips for i in self._frames(clip)]
        self.refined = self._measure(pictures)
        row = {"step": float(self.trainer.steps), "seconds": round(self.seconds, 1)}
        row |= {f"loss_{name}": float(np.mean(values)) for name, values in sorted(self.losses.items())}
        for kind, found in (("raw", self.raw), ("refined", self.refined)):
            mean = average(found)
            row |= {f"{kind}_{name}": round(value, 5) for name, value in asdict(mean).items() if name != "flicker"}
        self.rows.append(row)
        self.losses.clear()
        self._write_rows()
        self._grid(pictures)
        if judged(average(self.refined)) < self.best:
            self.best = judged(average(self.refined))
            self._write_weights()
        self._save()

    def _write_rows(self) -> None:
        names = sorted({name for row in self.rows for name in row}, key=lambda name: (name not in ("step", "seconds"),
                                                                                      name))
        with open(self.out / CURVE, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        draw_curves(self.rows, self.out)

    def _grid(self, pictures: list[np.ndarray]) -> None:
        """``samples_STEP.png``: for two frames of each validation clip composite, refined, real; mouths below."""
        rows, k = [], 0
        for clip in self.validation.clips:
            frames = self._frames(clip)
            for n in (0, len(frames) - 1):
                three = [clip.composite(frames[n]), pictures[k + n], clip.shard.real[frames[n]]]
                box = mouth_box(clip.shard.landmarks[frames[n]], clip.shard.side)
                rows.append(np.concatenate([cell(p, None) for p in three] + [cell(p, box) for p in three], 1))
            k += len(frames)
        picture = np.concatenate(rows)
        cv2.imwrite(str(self.out / f"samples_{self.trainer.steps:06d}.png"), picture[..., ::-1])

    def _save(self) -> None:
        if devices.rank():
            return
        info = {"plan": self.plan.described(), "seconds": str(self.seconds), "rows": json.dumps(self.rows)}
        self.trainer.save(self.out / STATE, info | {"best": str(self.best)})

    def _write_weights(self) -> None:
        trainer = self.trainer
        meta = {"identity": self.identity_name, "spatial": self.spatial_name, "pass_through": False, "general": True,
                "steps": trainer.steps, "clips": [clip.name for clip in self.training.clips]}
        adversary = trainer.discriminator if self.plan.options.gan_weight else None
        weights = RefinerWeights(trainer.config, trainer.average, trainer.memory, adversary, meta)
        save_weights(self.out / WEIGHTS, weights, half=True)

    def resume(self) -> None:
        """Go on where a stopped training of the same plan left off, if there is one."""
        path = self.out / STATE
        if not path.is_file():
            return
        info = self.trainer.restore(path)
        if info.get("plan") != self.plan.described():
            raise ArtefactError(f"{path} is of a training with other settings; give another --out, or --fresh.")
        self.seconds, self.rows = float(info["seconds"]), json.loads(info["rows"])
        self.best = float(info["best"])
        self.random = np.random.default_rng([self.plan.seed, devices.rank(), self.trainer.steps])

    def finish(self) -> GeneralReport:
        """A last look, the card, the report."""
        self.look()
        refined = self.refined or self.raw
        names = [clip.name for clip in self.validation.clips]
        if not devices.rank():
            clips = [(clip.name, str(clip.shard.source), str(clip.shard.rights), len(clip.shard))
                     for clip in self.training.clips]
            write_card(self.out / CARD, self.trainer, clips, list(zip(names, self.raw, refined, strict=True)),
                       self.seconds, self.identity_name)
        return GeneralReport(self.out / WEIGHTS, self.trainer.steps, round(self.seconds, 1), average(self.raw),
                             average(refined), self.rows)


def average(found: Sequence[Quality]) -> Quality:
    """Mean of every figure, NaN left out; sharpness as a geometric mean."""
    values = {name: np.array([getattr(one, name) for one in found], float) for name in asdict(found[0])}
    sharp = values.pop("mouth_sharpness")
    means = {name: float(np.nanmean(v)) if np.isfinite(v).any() else float("nan") for name, v in values.items()}
    sharpness = float(np.exp(np.nanmean(np.log(np.maximum(sharp, 1e-6))))) if np.isfinite(sharp).any() else float("nan")
    return Quality(**means, mouth_sharpness=sharpness)


def mouth_box(points: np.ndarray, side: int) -> tuple[int, int, int]:
    """x, y, side of a square around the lips, within a picture of `side` pixels."""
    lips = points[list(LIPS)]
    width = int(np.clip(1.5 * np.ptp(lips[:, 0]), 24, side))
    x, y = np.clip(lips.mean(0) - width / 2, 0, side - width).astype(int)
    return int(x), int(y), width


def cell(picture: np.ndarray, box: tuple[int, int, int] | None) -> np.ndarray:
    """`picture`, or its `box`, as a cell of the sample grid."""
    if box is not None:
        x, y, width = box
        picture = picture[y:y + width, x:x + width]
    flags = cv2.INTER_AREA if picture.shape[0] >= CELL else cv2.INTER_CUBIC
    return cv2.resize(picture, (CELL, CELL), interpolation=flags)


