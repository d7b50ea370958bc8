"""Personal fine-tuning: the refiner learns a clip within a time budget, measured on the clip's held-out tail."""

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
from ml_backend.refine.memory import anchors, interpolate_anchors
from ml_backend.refine.trainer import Trainer, pick_frames
from ml_backend.refine.weights import RefinerWeights, load_weights, save_weights

CHECK_FRAMES = 8
FINAL_FRAMES = 60


@dataclass(frozen=True)
class RefineReport:
    """What a fine-tuning did.

    Attributes
    ----------
    weights : the file written
    steps, seconds : of training, over all resumed parts
    before, after : figures of the tail's composites and refined frames, see `ml_backend.metrics.image.Quality`
    curve : (seconds, error) of each look at the tail
    pass_through : the tail got no better, so that `apply` will return the composites
    message : one sentence for the user
    """

    weights: str
    steps: int
    seconds: float
    before: dict[str, float | None]
    after: dict[str, float | None]
    curve: list[tuple[float, float]]
    pass_through: bool
    message: str

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
    minutes : time budget, all parts of a resumed run together
    config, options : sizes (default: those of `general`, else the default config) and training settings
    general : weights to begin with
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
    options = options or TrainOptions()
    start = load_weights(general) if general is not None else None
    config = config or (start.config if start else RefinerConfig())
    if start is not None and start.config != config:
        raise UserInputError(f"{general} has other sizes than the chosen refiner config; leave one of them out.")
    if minutes <= 0:
        raise UserInputError(f"A refiner budget of {minutes} minutes is no time; give more, or switch the refiner off.")
    landmarks = None if landmarks_in_crop is None else np.asarray(landmarks_in_crop)[..., :2]
    pairs = PairSequence(composites, real, landmarks, options)
    config = replace(config, image=pairs.real.shape[1])
    key = _fingerprint(pairs, config, options, seed, general, f"{identity} {resnet} {minutes}")
    if resume and (done := _finished(out, key)) is not None:
        return done
    with calm_threads():
        run = _Run(pairs, config, options, start, seed, Path(out), key, landmarks)
        run.features = _features(pairs, identity_encoder(identity), landmarks, resnet)
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
        self.tail = max(round(len(pairs) * options.tail), 1)
        self.trainer = Trainer(config, options, best_device(), seed, start)
        self.random = np.random.default_rng(seed)
        self.state = out.with_name(out.stem + ".state.safetensors")
        self.best = out.with_name(out.stem + ".best.safetensors")
        self.best_state = self._generator_state()
        self.best_error = float("inf")
        self.seconds = 0.0
        self.curve: list[tuple[float, float]] = []

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
        self.curve.append((round(self.seconds, 1), round(result.error, 5)))
        if result.error < self.best_error:
            self.best_error, self.best_state = result.error, self._generator_state()

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
        self.curve = [(a, b) for a, b in json.loads(info["curve"])]
        self.random = np.random.default_rng([self.seed, self.trainer.steps])

    def finish(self) -> RefineReport:
        """Measure the best weights on the whole tail, decide, write, report."""
        self.trainer.average.load_state_dict(self.best_state)
        frames = np.arange(self.count, min(self.count + FINAL_FRAMES, len(self.pairs)))
        before = self._measure(list(self.pairs.composites[frames]), frames, consecutive=True)
        after = self._measure(self._refine_smoothly(frames), frames, consecutive=True)
        worse = after.error >= before.error or after.psnr < before.psnr or after.ssim < before.ssim
        message = (
            f"Refining did not improve the clip's last {len(frames)} frames, so the rendered frames stay as they are."
            if worse
            else f"Refining improves the clip's last {len(frames)} frames from {before.psnr:.1f} to "
            f"{after.psnr:.1f} dB, SSIM {before.ssim:.3f} to {after.ssim:.3f}."
        )
        report = RefineReport(
            str(self.out),
            self.trainer.steps,
            round(self.seconds, 1),
            before.as_dict(),
            after.as_dict(),
            self.curve,
            worse,
            message,
        )
        self._write(pass_through=worse, report=report, path=self.out)
        for path in (self.state, self.best):
            path.unlink(missing_ok=True)
        return report

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
        save_weights(path, RefinerWeights(trainer.config, generator, trainer.memory, trainer.discriminator, meta))
        generator.load_state_dict(live)


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
