"""A person's way of opening the lips, learned from one short clip on top of the general weights, never to the worse.

The clip's sound is first brought into sync with its picture. At most 300 frames are used. What the first two thirds
teach has to hold on the last third, whole, by half or by a quarter; else the general weights are kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.audio.features import FPS
from ml_backend.audio.load import Speech
from ml_backend.audio.voice import voice_activity
from ml_backend.errors import UserInputError
from ml_backend.metrics.landmarks import pearson
from ml_backend.motion import adapter
from ml_backend.motion.adapter import Adapter
from ml_backend.motion.agreement import heard_lips, lip_units
from ml_backend.motion.checkpoint import MotionWeights, load_weights, save_weights
from ml_backend.motion.dataset import features
from ml_backend.motion.hearing import heard
from ml_backend.motion.network import POSE_SIZE
from ml_backend.motion.prepare import Motion, make_shard
from ml_backend.motion.shards import Shard
from ml_backend.motion.statistics import mouth_channels
from ml_backend.progress import Progress, silent

MAX_FRAMES = 300
TAIL_PART = 1 / 3
SHARES = (1.0, 0.5, 0.25)
"""How much of what was learned is tried on the tail, the most first."""
MAX_LAG = 15
MIN_SYNC = 0.3
_MIN_FRAMES = 4 * FPS


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
    before, after : correlation of the opening on the tail, general weights and personal ones that did not learn from it
    share : how much of what was learned is kept, see `SHARES`
    seconds : spent
    """

    kept: bool
    reason: str
    weights: Path
    offset_ms: float = 0.0
    sync: float = 0.0
    before: float = 0.0
    after: float = 0.0
    share: float = 0.0
    seconds: float = 0.0


def personalise(speech: Speech | None, track: FaceTrack, weights: Path, out: Path, *, seed: int = 0,
                progress: Progress = silent) -> PersonaliseReport:
    """Adapt motion weights to the person of a clip.

    Parameters
    ----------
    speech : the clip's own sound, None where it has none (nothing is learned then)
    track : the clip's tracked face
    weights : general weights
    out : file for the personal weights; written only if they are better
    seed : noted in the file; nothing in the fit is random

    Returns
    -------
    PersonaliseReport

    Raises
    ------
    UserInputError
        If the track's expressions are not those of the weights.
    """
    weights, out, started = Path(weights), Path(out), time.monotonic()
    general = load_weights(weights)
    if [str(name) for name in track.expression_names] != general.statistics.names:
        raise UserInputError("The clip was tracked with a face model whose expressions the motion weights don't know; "
                             "track it with the built-in model.")
    reason = _unusable(speech, track)
    if reason or speech is None:
        return PersonaliseReport(False, reason, weights)
    progress(0, 3)
    frames, sync = audio_lag(general, speech, track)
    progress(1, 3)
    report = PersonaliseReport(False, "", weights, frames * 1000 / FPS, sync)
    if sync < MIN_SYNC:
        return replace(report, reason=f"The clip's lips don't go with its sound (r = {sync:.2f}, "
                                      f"needed is {MIN_SYNC}); the general weights are used.")
    shard = _part(_shard(speech, track, frames * 1000 / FPS), 0, MAX_FRAMES)
    own, report = _learned(general, shard, report)
    progress(2, 3)
    report = replace(report, seconds=time.monotonic() - started)
    if own is None:
        return replace(report, reason="What the clip teaches does not hold on its held-out end; the general weights "
                                      "are used.")
    facts = {"base": general.identifier, "seed": seed, "offset_ms": report.offset_ms, "share": report.share}
    save_weights(replace(general, adapter=own, provenance={**general.provenance, "personalised": facts}), out)
    progress(3, 3)
    return replace(report, kept=True, weights=out, reason="The personal weights beat the general ones on the clip's "
                                                          "held-out end.")


def audio_lag(weights: MotionWeights, speech: Speech, track: FaceTrack) -> tuple[float, float]:
    """How many frames the sound comes after the picture, and the correlation there.

    The opening that the general weights predict is slid over the tracked one by up to 0.6 s either way; the peak is
    refined by a parabola. Lags beyond a few frames have to be clearly better than none.
    """
    shard = _shard(speech, track, 0.0)
    heard, seen = heard_lips(weights, shard.samples)[:, 0], shard.measures[:, 0]
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


def _learned(general: MotionWeights, shard: Shard, report: PersonaliseReport
             ) -> tuple[Adapter | None, PersonaliseReport]:
    """What was learned of `shard`, None where it doesn't hold on the tail, and the report with what the tail said.

    The tail only decides: what is kept is learned from all of the clip, to the share that the tail allowed.
    """
    steps = features(general.network.config, shard.samples)
    raw = heard(general, shard.samples, voice_activity(shard.samples))[:len(shard)]
    opening = shard.measures[:len(raw), 0]
    usable = np.flatnonzero((shard.confidence[:len(raw)] > 0.5) & np.isfinite(opening))
    head = usable[usable < len(shard) * (1 - TAIL_PART)]
    tail = usable[len(head):]
    lips = lip_units(general)

    def learn(use: np.ndarray) -> Adapter:
        return adapter.fit(raw, steps, opening, use, lips, _shares(general))

    def on_tail(values: np.ndarray) -> float:
        return pearson(values[tail, :-POSE_SIZE] @ lips[:, 0], opening[tail])

    before, found = on_tail(raw), learn(head)
    for share in SHARES:
        after = on_tail(found.scaled(share).apply(raw, steps))
        if after > before:
            return learn(usable).scaled(share), replace(report, before=before, after=after, share=share)
    return None, replace(report, before=before, after=before)


def _shares(weights: MotionWeights) -> np.ndarray:
    """(K,) usual variance of each shape of the mouth in the network's units, 0 for the rest of the face."""
    statistics = weights.statistics
    mouth = mouth_channels(statistics.names).astype(np.float64)
    return mouth if weights.network.config.standardised else mouth * statistics.std ** 2
