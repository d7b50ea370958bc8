"""Personal fine-tuning: the refiner learns a clip within a time budget, measured on the clip's held-out tail.

It starts from general weights where there are some. Three things are measured on the tail: the composites, the general
weights as they are, and the tuned ones; the best is used.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import ArtefactError, Cancelled, UserInputError
from ml_backend.metrics.image import Quality, measure
from ml_backend.progress import Progress, silent
from ml_backend.refine.config import Frames, RefinerConfig, TrainOptions
from ml_backend.refine.dataset import PairSequence, from_network
from ml_backend.refine.device import best_device, calm_threads
from ml_backend.refine.identity import IdentityEncoder, identity_encoder, spatial_trunk, to_batch
from ml_backend.refine.judging import COMPOSITES, GENERAL, TUNED, judged, message
from ml_backend.refine.memory import Memory, anchors, interpolate_anchors
from ml_backend.refine.trainer import Trainer, pick_frames
from ml_backend.refine.weights import RefinerWeights, load_weights, save_weights

CHECK_FRAMES = 8
FINAL_FRAMES = 60
FROM_SCRATCH = TrainOptions(learning_rate=1.2e-3, momentum=0.9, batch=2, crop=160, crop_until=2.0, coarse_share=0.0,
                            gan_weight=0.0, detail_weight=45.0)
FROM_GENERAL = FROM_SCRATCH
STRENGTHS = (0.7, 1.0)
"""Shares of the refinement that are tried on the tail; with less, two mouths would be seen in one another."""


@dataclass(frozen=True)
class RefineReport:
    """What a fine-tuning did.

    Attributes
    ----------
    weights : the file written
    steps, seconds : of training, over all resumed parts
    before, after : figures of the tail's composites and refined frames, see `ml_backend.metrics.image.Quality`
    curve : (seconds, error, PSNR in dB, steps) of each look at some frames of the tail; error is what weights are
        chosen by, see `ml_backend.refine.judging`
    pass_through : the tail got no better, so that `apply` will return the composites
    message : one sentence for the user
    used : what did best on the tail: "composites", "general" or "tuned"
    general : figures of the general weights as they are; None where there were none
    strength : share of the refinement that is used, the best on the tail
    """

    weights: str
    steps: int
    seconds: float
    before: dict[str, float | None]
    after: dict[str, float | None]
    curve: list[tuple[float, ...]]
    pass_through: bool
    message: str
    used: str = TUNED
    general: dict[str, float | None] | None = None
    strength: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return asdict(self)


@dataclass
class Features:
    """Features (T, 512) of a clip: identity of the real frames, spatial of the composites."""

    identity: Tensor
    spatial: Tensor
    identity_name: str
    spatial_name: str


def fine_tune(
    composites: Frames,
    real: Frames,
    landmarks_in_crop: np.ndarray | None,
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    config: RefinerConfig | None = None,
    options: TrainOptions | None = None,
    general: Path | None = None,
    identity: str = "auto",
    resnet: Path | None = None,
    progress: Progress = silent,
    resume: bool = True,
    max_steps: int | None = None,
) -> RefineReport:
    """Train the refiner on a clip, keep the best state on its tail, write the weights to `out`.

    Parameters
    ----------
    composites, real : T pictures (H, W, 3) uint8 RGB each, the same crop, sides multiples of 32, T >= 10
    landmarks_in_crop : (T, 478, 2 or 3) float, MediaPipe's points in the crop, pixels; NaN where unknown
    out : the weights file; beside it lies ``<stem>.state.safetensors`` until the training is done
    minutes : time budget, all parts of a resumed run together; 0 only measures `general` on the tail
    config, options : sizes (default: those of `general`, else the default config) and training settings (default:
        `FROM_GENERAL` or `FROM_SCRATCH`)
    general : weights to begin with; of another identity encoder they are taken without what they know of identities
    identity : "auto", "arcface" or "embedded"
    resnet : ImageNet ResNet-18 weights for the memory's features; None = the embedded trunk
    progress : called with seconds done and in total; may raise `Cancelled`, the state is saved before
    resume : go on with a run of the same inputs that was stopped; if it was finished, only report
    max_steps : ends the training early, for tests

    Raises
    ------
    UserInputError, ArtefactError
        If pictures, landmarks or weights don't fit.
    """
    options = options or (FROM_SCRATCH if general is None else FROM_GENERAL)
    start = load_weights(general) if general is not None else None
    known = replace(start.config, strength=1.0) if start else RefinerConfig()
    config = config or known
    if start is not None and known != config:
        raise UserInputError(f"{general} has other sizes than the chosen refiner config; leave one of them out.")
    if minutes < 0 or (minutes == 0 and start is None):
        raise UserInputError(f"A refiner budget of {minutes} minutes is no time; give more, or switch the refiner off.")
    landmarks = None if landmarks_in_crop is None else np.asarray(landmarks_in_crop)[..., :2]
    pairs = PairSequence(composites, real, landmarks, options)
    config = replace(config, image=pairs.real.shape[1])
    key = _fingerprint(pairs, config, options, seed, general, f"{identity} {resnet} {minutes}")
    if resume and (done := _finished(out, key)) is not None:
        return done
    with calm_threads():
        features = _features(pairs, identity_encoder(identity), landmarks, resnet)
        if start is not None:
            fit_features(start, features.identity_name, features.spatial_name)
        run = _Run(pairs, config, options, start, seed, Path(out), key, landmarks)
        run.features = features
        if resume:
            run.resume()
        run.train(minutes * 60, progress, max_steps)
        return run.finish()


class _Run:
    """State of one `fine_tune`."""

    features: Features

    def __init__(
        self,
        pairs: PairSequence,
        config: RefinerConfig,
        options: TrainOptions,
        start: RefinerWeights | None,
        seed: int,
        out: Path,
        key: str,
        landmarks: np.ndarray | None,
    ) -> None:
        self.pairs, self.options, self.seed = pairs, options, seed
        self.out, self.key, self.landmarks = out, key, landmarks
        self.tail = tail_length(len(pairs), options.tail)
        self.trainer = Trainer(config, options, best_device(), seed, start)
        self.random = np.random.default_rng(seed)
        self.state = out.with_name(out.stem + ".state.safetensors")
        self.best = out.with_name(out.stem + ".best.safetensors")
        self.best_state = self._generator_state()
        self.best_error = float("inf")
        self.general_state = self.best_state if start is not None else None
        self.strength = 1.0
        self.seconds = 0.0
        self.curve: list[tuple[float, ...]] = []

    @property
    def count(self) -> int:
        """Number of frames trained on; the rest is the tail."""
        return len(self.pairs) - self.tail

    def train(self, budget: float, progress: Progress, max_steps: int | None) -> None:
        """Steps until the budget is used up, with a look at the tail now and then."""
        if not self.curve:
            self._look()
        before, looked = self.seconds, self.seconds
        begun = time.monotonic()
        every = min(self.options.checkpoint_seconds, budget / 6)
        try:
            while self.seconds < budget and (max_steps is None or self.trainer.steps < max_steps):
                self._step(self.seconds / budget if max_steps is None else self.trainer.steps / max_steps)
                self.seconds = before + time.monotonic() - begun
                progress(min(int(self.seconds), int(budget)), int(budget))
                if self.seconds - looked >= every:
                    self._look()
                    self._save()
                    looked = self.seconds = before + time.monotonic() - begun
        except (Cancelled, KeyboardInterrupt):
            self._save()
            raise
        self._look()

    def _step(self, share: float) -> None:
        frames = pick_frames(self.count, self.options.batch, self.trainer.steps, self.seed)
        batch = self.pairs.batch(frames, self.trainer.config.window, self.random)
        features = self.features
        self.trainer.step(batch, features.spatial[list(frames)], features.identity[list(frames)], share)

    def _look(self) -> None:
        """Measure on some frames of the tail; keep the weights if they are the best so far."""
        frames = np.unique(np.linspace(self.count, len(self.pairs) - 1, CHECK_FRAMES).round().astype(int))
        result = self._measure(self._refine(frames), frames, consecutive=False)
        self.curve.append((round(self.seconds, 1), round(judged(result), 5), round(result.psnr, 3), self.trainer.steps))
        if judged(result) < self.best_error:
            self.best_error, self.best_state = judged(result), self._generator_state()

    def _generator_state(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.trainer.average.state_dict().items()}

    def _refine(self, frames: np.ndarray) -> list[np.ndarray]:
        """Refined pictures of `frames`, identity from the memory as in use (from the clip while that is empty)."""
        memory, features = self.trainer.memory, self.features
        if int(memory.filled):
            identity = memory.read(memory.query(features.spatial[frames].to(self.trainer.device))).cpu()
        else:
            identity = features.identity[: self.count].mean(0, keepdim=True).expand(len(frames), -1)
        out = []
        for t, feature in zip(frames, identity, strict=True):
            batch = self.pairs.batch([int(t)], self.trainer.config.window)
            out.append(from_network(self.trainer.refine(batch, feature[None])[0]))
        return out

    def _measure(self, pictures: Frames, frames: np.ndarray, *, consecutive: bool) -> Quality:
        landmarks = None if self.landmarks is None else self.landmarks[frames]
        real, weights = self.pairs.real[frames], self.pairs.weights[frames]
        return measure(pictures, real, weights, landmarks, consecutive=consecutive)

    def _save(self) -> None:
        info = {"key": self.key, "seconds": str(self.seconds), "best": str(self.best_error)}
        self.trainer.save(self.state, info | {"curve": json.dumps(self.curve)})
        self._write(pass_through=False, report=None, path=self.best)

    def resume(self) -> None:
        """Go on where a stopped run of the same inputs left off, if there is one."""
        if not (self.state.is_file() and self.best.is_file()):
            return
        try:
            saved = load_weights(self.best)
            if saved.meta.get("key") != self.key:
                return
            info = self.trainer.restore(self.state)
        except ArtefactError:
            # A damaged state costs its minutes, not the run.
            return
        self.best_state = saved.generator.state_dict()
        self.best_error, self.seconds = float(info["best"]), float(info["seconds"])
        self.curve = [tuple(look) for look in json.loads(info["curve"])]
        self.random = np.random.default_rng([self.seed, self.trainer.steps])

    def finish(self) -> RefineReport:
        """Measure composites, general and tuned weights on the whole tail, decide, write, report."""
        frames = np.arange(self.count, min(self.count + FINAL_FRAMES, len(self.pairs)))
        self._remember()
        before = self._measure(list(self.pairs.composites[frames]), frames, consecutive=True)
        # Without a step both are the same, and are called general.
        states = {GENERAL: self.general_state, TUNED: self.best_state}
        found: dict[tuple[str, float], Quality] = {}
        for name, state in states.items():
            if state is not None:
                self.trainer.average.load_state_dict(state)
                found |= {(name, share): quality for share, quality in self._strengths(frames).items()}
        used, strength = min(found, key=lambda key: judged(found[key]))
        after, general = found[used, strength], found.get((GENERAL, 1.0))
        self.best_state, self.strength = states[used] or self.best_state, strength
        worse = judged(after) >= judged(before) or after.psnr < before.psnr or after.ssim < before.ssim
        report = RefineReport(
            str(self.out),
            self.trainer.steps,
            round(self.seconds, 1),
            before.as_dict(),
            after.as_dict(),
            self.curve,
            worse,
            message(len(frames), before, after, worse, used),
            COMPOSITES if worse else used,
            general.as_dict() if general else None,
            strength,
        )
        self._write(pass_through=worse, report=report, path=self.out)
        for path in (self.state, self.best):
            path.unlink(missing_ok=True)
        return report

    def _strengths(self, frames: np.ndarray) -> dict[float, Quality]:
        """Quality of `frames` by the averaged weights at each of `STRENGTHS`."""
        drawn = self.pairs.composites[frames].astype(np.float32)
        change = np.stack(self._refine_smoothly(frames)) - drawn
        blends = {share: (drawn + share * change + 0.5).astype(np.uint8) for share in STRENGTHS}
        return {share: self._measure(list(blend), frames, consecutive=True) for share, blend in blends.items()}

    def _remember(self) -> None:
        """Give a memory without entries (nothing was trained) the clip's features."""
        if not int(self.trainer.memory.filled):
            write_features(self.trainer.memory, self.features.spatial[: self.count].to(self.trainer.device),
                           self.features.identity[: self.count].to(self.trainer.device))

    def _refine_smoothly(self, frames: np.ndarray) -> list[np.ndarray]:
        """As `_refine`, with the features smoothed over time as in `ml_backend.refine.apply`."""
        memory, positions = self.trainer.memory, anchors(len(frames))
        device = self.trainer.device
        found = memory.read(memory.query(self.features.spatial[frames[positions]].to(device))).cpu()
        out = []
        for t, feature in zip(frames, interpolate_anchors(found, positions, len(frames)), strict=True):
            batch = self.pairs.batch([int(t)], self.trainer.config.window)
            out.append(from_network(self.trainer.refine(batch, feature[None])[0]))
        return out

    def _write(self, *, pass_through: bool, report: RefineReport | None, path: Path) -> None:
        trainer = self.trainer
        generator = trainer.average
        live = {k: v.detach().cpu().clone() for k, v in generator.state_dict().items()}
        generator.load_state_dict(self.best_state)
        meta = {
            "key": self.key,
            "identity": self.features.identity_name,
            "spatial": self.features.spatial_name,
            "pass_through": pass_through,
            "report": report.as_dict() if report else None,
        }
        config = replace(trainer.config, strength=self.strength)
        adversary = trainer.discriminator if self.options.gan_weight else None
        save_weights(path, RefinerWeights(config, generator, trainer.memory, adversary, meta))
        generator.load_state_dict(live)


def tail_length(count: int, share: float) -> int:
    """Frames at the end of `count` that are held out."""
    return max(round(count * share), 1)


def write_features(memory: Memory, spatial: Tensor, identity: Tensor) -> None:
    """Let `memory` know one clip: features (T, 512) of its composites and its real frames."""
    with torch.no_grad():
        memory.write(memory.query(spatial), identity)


def fit_features(weights: RefinerWeights, identity: str, spatial: str) -> None:
    """Make `weights` forget what they know of features that another encoder made.

    Features of two encoders have nothing to do with each other. Without its first layer's weights the AdaIN network
    says the same for everybody, as in training where the identity was taken away, and can learn the clip's.
    """
    with torch.no_grad():
        if weights.meta.get("identity", identity) != identity:
            weights.generator.style[0].weight.zero_()  # type: ignore[union-attr, operator]
        if weights.meta.get("spatial", spatial) != spatial:
            torch.nn.init.eye_(weights.memory.query_layer.weight)
            torch.nn.init.zeros_(weights.memory.query_layer.bias)


def _features(
    pairs: PairSequence, encoder: IdentityEncoder, landmarks: np.ndarray | None, resnet: Path | None
) -> Features:
    name, trunk = spatial_trunk(resnet)
    identity = torch.from_numpy(encoder.encode(list(pairs.real), landmarks))
    with torch.no_grad():
        spatial = torch.cat([trunk(to_batch(pairs.composites[i : i + 16])) for i in range(0, len(pairs), 16)])
    return Features(identity, spatial, encoder.name, name)


def _fingerprint(
    pairs: PairSequence, config: RefinerConfig, options: TrainOptions, seed: int, general: Path | None, rest: str
) -> str:
    """Hash of everything that decides the result."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (pairs.composites, pairs.real, pairs.weights):
        digest.update(array.tobytes())
    settings = json.dumps([config.as_dict(), options.as_dict(), seed, rest], sort_keys=True)
    digest.update(settings.encode())
    if general is not None:
        digest.update(Path(general).read_bytes())
    return digest.hexdigest()


def _finished(out: Path, key: str) -> RefineReport | None:
    """The report of a finished run with the same inputs, if `out` is its result."""
    if not Path(out).is_file():
        return None
    try:
        meta = load_weights(out).meta
    except ArtefactError:
        return None
    if meta.get("key") != key or not meta.get("report"):
        return None
    return RefineReport(**meta["report"])
