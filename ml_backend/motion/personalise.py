"""Fine-tuning of the general motion weights on one short clip, never to the worse.

The clip's sound is first brought into sync with its picture. At most 300 frames are used; the last fifth is held
out, stops the training and decides whether the personal weights are kept.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.audio.features import FPS, STEPS_PER_FRAME, step_count
from ml_backend.audio.load import Speech
from ml_backend.audio.voice import voice_activity
from ml_backend.errors import UserInputError
from ml_backend.metrics.landmarks import pearson
from ml_backend.motion.augment import Variation, vary
from ml_backend.motion.checkpoint import MotionWeights, load_weights, save_weights
from ml_backend.motion.dataset import Clip, Take, Windows, features, standardise
from ml_backend.motion.losses import LipLoss, published_loss
from ml_backend.motion.network import POSE_SIZE
from ml_backend.motion.prepare import Motion, make_shard
from ml_backend.motion.score import run
from ml_backend.motion.shards import Shard
from ml_backend.motion.train import lip_loss
from ml_backend.progress import Progress, silent

MAX_FRAMES = 300
TAIL_PART = 0.2
MAX_LAG = 15
MIN_SYNC = 0.3
_MIN_FRAMES = 4 * FPS
_VARIATIONS = 4
_EVERY = 10
_PATIENCE = 5
_PERSONAL_SHARE = 0.4


@dataclass(frozen=True)
class PersonaliseReport:
    """What came of it.

    Attributes
    ----------
    kept : whether the personal weights beat the general ones on the held-out tail and were written
    reason : one sentence
    weights : the file to use: the personal weights, or the general ones
    offset_ms : by how much the clip's sound was late (corrected)
    sync : correlation of lips and general prediction at that offset
    before, after : correlation of the lips' opening on the tail, general and personal weights
    steps, seconds : spent
    """

    kept: bool
    reason: str
    weights: Path
    offset_ms: float = 0.0
    sync: float = 0.0
    before: float = 0.0
    after: float = 0.0
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Split:
    """Learned-from clip, held-out steps (4T + 24, D) and targets (T, K + 6)."""

    clip: Clip
    tail_steps: np.ndarray
    tail_targets: np.ndarray


def personalise(speech: Speech | None, track: FaceTrack, weights: Path, out: Path, *, seed: int = 0, steps: int = 200,
                minutes: float = 2.0, progress: Progress = silent) -> PersonaliseReport:
    """Fine-tune motion weights on a clip.

    Parameters
    ----------
    speech : the clip's own sound, None where it has none (nothing is trained then)
    track : the clip's tracked face
    weights : general weights
    out : file for the personal weights; written only if they are better
    steps, minutes : limits of the training, whichever comes first

    Returns
    -------
    PersonaliseReport

    Raises
    ------
    UserInputError
        If the track's expressions are not those of the weights.
    """
    weights, out = Path(weights), Path(out)
    general = load_weights(weights)
    if [str(name) for name in track.expression_names] != general.statistics.names:
        raise UserInputError("The clip was tracked with a face model whose expressions the motion weights don't know; "
                             "track it with the built-in model.")
    reason = _unusable(speech, track)
    if reason or speech is None:
        return PersonaliseReport(False, reason, weights)
    frames, sync = audio_lag(general, speech, track)
    report = PersonaliseReport(False, "", weights, frames * 1000 / FPS, sync)
    if sync < MIN_SYNC:
        return replace(report, reason=f"The clip's lips don't go with its sound (r = {sync:.2f}, "
                                      f"needed is {MIN_SYNC}); the general weights are used.")
    shard = _part(_shard(speech, track, frames * 1000 / FPS), 0, MAX_FRAMES)
    return _fine_tune(general, shard, report, out, seed, steps, minutes, progress)


def audio_lag(weights: MotionWeights, speech: Speech, track: FaceTrack) -> tuple[float, float]:
    """How many frames the sound comes after the picture, and the correlation there.

    The opening that the general weights predict is slid over the tracked one by up to 0.6 s either way; the peak is
    refined by a parabola. Lags beyond a few frames have to be clearly better than none.
    """
    shard = _shard(speech, track, 0.0)
    steps = features(weights.network.config, shard.samples)
    heard, seen = run(weights.network, steps)[:, :-POSE_SIZE] @ _lips(weights)[:, 0], shard.measures[:, 0]
    count = min(len(heard), len(seen))
    lags = np.arange(-MAX_LAG, MAX_LAG + 1)
    values = np.array([_lagged(heard[:count], seen[:count], int(lag)) for lag in lags])
    best = int(np.argmax(values - 0.002 * np.abs(lags)))
    if best in (0, len(lags) - 1):
        return float(lags[best]), float(values[best])
    left, middle, right = values[best - 1:best + 2]
    curve = left - 2 * middle + right
    shift = 0.5 * (left - right) / curve if curve < -1e-9 else 0.0
    return float(lags[best] + np.clip(shift, -0.5, 0.5)), float(middle)


def _lagged(heard: np.ndarray, seen: np.ndarray, lag: int) -> float:
    """Correlation of `heard` (T,), taken `lag` frames later, with `seen` (T,)."""
    if lag >= 0:
        return pearson(heard[lag:], seen[:len(seen) - lag])
    return pearson(heard[:lag], seen[-lag:])


def _lips(weights: MotionWeights) -> np.ndarray:
    """(K, 2): opening and width, in mm, that a network output of 1 in each channel makes."""
    unit = weights.statistics.std[:, None] if weights.network.config.standardised else 1.0
    return weights.operator[:, -2:] * unit


def _unusable(speech: Speech | None, track: FaceTrack) -> str:
    """Why nothing can be learned from this clip; "" if something can."""
    if speech is None:
        return "The clip has no sound; the general weights are used."
    seconds = min(len(track) / float(track.fps), speech.seconds)
    if seconds < _MIN_FRAMES / FPS:
        return f"The clip has only {seconds:.1f} s of sound and face (needed are 4 s); the general weights are used."
    if float((track.confidence > 0.5).mean()) < 0.7:
        return "The face is lost in much of the clip; the general weights are used."
    if voice_activity(speech.samples).sum() < 2 * FPS:
        return "Hardly anybody speaks in the clip; the general weights are used."
    return ""


def _shard(speech: Speech, track: FaceTrack, late_ms: float) -> Shard:
    landmarks = np.where(track.confidence[:, None, None] > 0, track.landmarks, np.nan)
    motion = Motion(track.expression, [str(name) for name in track.expression_names], track.pose(), landmarks,
                    float(track.fps))
    return make_shard(motion, speech, late_ms=late_ms, speaker="clip", split="train")


def _part(shard: Shard, start: int, stop: int) -> Shard:
    """Frames `start` to `stop` of `shard` with their sound."""
    frame = len(shard.speech) // len(shard)
    cut = {name: getattr(shard, name)[start:stop] for name in ("expression", "pose", "measures", "confidence")}
    return replace(shard, speech=shard.speech[start * frame:stop * frame], **cut)


def _split(shard: Shard, weights: MotionWeights, seed: int) -> _Split:
    """The head of `shard` in several variations, and its tail."""
    config, head = weights.network.config, int(len(shard) * (1 - TAIL_PART))
    targets = standardise(shard, weights.statistics, config)
    mask = (shard.confidence > 0.5).astype(np.float32)
    generator, takes = np.random.default_rng([seed, 0x9E50]), []
    for index in range(1 + _VARIATIONS):
        change = Variation() if index == 0 else Variation(
            warp=float(np.round(generator.uniform(0.94, 1.06), 2)), noise_db=float(generator.uniform(15, 35)),
            tilt=float(generator.random()))
        steps = features(config, vary(shard.samples, change, generator), change.warp)
        takes.append(Take(steps[:step_count(head)], targets[:head], mask[:head]))
    plain = features(config, shard.samples)
    return _Split(Clip("clip", "clip", takes), plain[head * STEPS_PER_FRAME:], targets[head:])


def _fine_tune(general: MotionWeights, shard: Shard, report: PersonaliseReport, out: Path, seed: int, steps: int,
               minutes: float, progress: Progress) -> PersonaliseReport:
    """Train on the head of `shard`, watch its tail, keep the better weights."""
    started = time.monotonic()
    split, network = _split(shard, general, seed), copy.deepcopy(general.network)
    torch.manual_seed(seed)
    config = network.config
    windows = Windows([split.clip], 50 if config.standardised else 16, np.random.default_rng([seed, 1]),
                      config.standardised)
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)
    loss, anchor = lip_loss(general.statistics, general.operator), _tail_figures(network, split, general)
    best, best_state, best_step, step = anchor, None, 0, 0
    while step < steps and step - best_step <= _PATIENCE * _EVERY:
        if time.monotonic() - started > minutes * 60:
            break
        progress(step, steps)
        _update(network, windows, optimiser, loss if config.standardised else None)
        step += 1
        if step % _EVERY == 0:
            figures = _tail_figures(network, split, general)
            if figures[0] > best[0]:
                best, best_step = figures, step
                best_state = copy.deepcopy(network.state_dict())
    progress(steps, steps)
    if best_state is not None:
        network.load_state_dict(between(general.network, best_state, _PERSONAL_SHARE))
        best = _tail_figures(network, split, general)
    report = replace(report, before=anchor[1], after=best[1], steps=step, seconds=time.monotonic() - started)
    if best[0] <= anchor[0]:
        return replace(report, reason="Fine-tuning did not beat the general weights on the clip's held-out end; "
                                      "the general weights are used.")
    provenance = {**general.provenance, "personalised": {"base": general.identifier, "steps": best_step, "seed": seed,
                                                         "offset_ms": report.offset_ms}}
    save_weights(replace(general, network=network.eval(), provenance=provenance), out)
    return replace(report, kept=True, weights=out, reason="The personal weights beat the general ones on the clip's "
                                                          "held-out end.")


def between(network: torch.nn.Module, tuned: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Weights `share` of the way from `network` to `tuned`.

    Twelve seconds teach a person's manner and forget how others speak; between the two lies a network that is better at
    both (Wortsman et al. 2022, robust fine-tuning by weight-space ensembles).
    """
    return {name: torch.lerp(value, tuned[name], share) if value.is_floating_point() else tuned[name]
            for name, value in network.state_dict().items()}


def _update(network: torch.nn.Module, windows: Windows, optimiser: torch.optim.Optimizer, loss: LipLoss | None) -> None:
    """One step. Normalisation keeps its general statistics: one voice must not shift them."""
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.eval()
    steps, targets, mask = windows.batch(8)
    predicted = network(steps)
    value = published_loss(predicted, targets) if loss is None else loss(predicted, targets, mask)
    optimiser.zero_grad()
    value.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def _tail_figures(network: torch.nn.Module, split: _Split, weights: MotionWeights) -> tuple[float, float]:
    """What decides, and the correlation of the opening, on the tail.

    What decides is half the correlations of opening and width less the error of the mouth relative to its motion.
    """
    network.eval()
    predicted, real = run(network, split.tail_steps)[:, :-POSE_SIZE], split.tail_targets[:, :-POSE_SIZE]
    count = min(len(predicted), len(real))
    heard, seen = predicted[:count] @ _lips(weights), real[:count] @ _lips(weights)
    opening, width = pearson(heard[:, 0], seen[:, 0]), pearson(heard[:, 1], seen[:, 1])
    error = np.mean((heard - seen) ** 2, 0) / np.maximum(seen.var(0), 1e-9)
    return (opening + width - float(np.minimum(error, 4).mean())) / 2, opening
