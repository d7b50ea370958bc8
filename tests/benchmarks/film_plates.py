"""New speech over a clip's plates: jumps behind the face, how much of the predicted pose is shown, loops."""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import wasserstein_distance

from ml_backend.artefacts.plates import Plates
from ml_backend.audio.load import load_speech
from ml_backend.background.between import between
from ml_backend.background.motion import surroundings_motion
from ml_backend.talk.session import Session
from ml_backend.talk.speaking import choose_plates, perform, personal_weights
from ml_backend.talk.survey import survey
from ml_backend.talk.target import Target, load_target
from tests.benchmarks.film_takes import clips, session
from tests.benchmarks.report import Figure

PART = "plates"
SHORT = 5.0
"""Seconds of clip that long speech has to make do with."""
LAGS, SECOND, ALIKE = (13, 200), 25, 2.5
"""Frames: how long ago something was shown that would still be remembered, how long it lasts, how alike it is."""
AXES = ("pitch", "yaw", "roll", "x", "y", "z")


def measure(options: argparse.Namespace) -> list[Figure]:
    """Figures of every clip, of its first 12 and of its first 5 seconds."""
    figures: list[Figure] = []
    for clip in clips(options):
        with session(clip, options) as run:
            figures += _figures(clip.stem, run)
        folder = options.cache / "film" / f"{clip.stem}_short"
        with session(clip, options, keep=folder / "take", target_seconds=SHORT) as run:
            figures += _figures(f"{clip.stem} ({SHORT:g} s)", run, survival=False)
    return figures


def _figures(name: str, run: Session, *, survival: bool = True) -> list[Figure]:
    target = load_target(run)
    speech = load_speech(run.options.speech)
    performance = perform(run, speech, personal_weights(run, target), target)
    seen = survey(run, target)
    plates = choose_plates(run, performance, target, seen)
    own, shown = float(seen.motion.max()), surroundings_motion(_pictures(target, plates), target.track.crop)
    figures = [
        Figure(PART, f"{name}: largest motion behind", float(shown.max()) / max(own, 0.3), "× clip", 1.5,
               at_least=False, note=f"{len(plates.source)} frames, clip {own:.1f} px"),
        Figure(PART, f"{name}: repetition", repetition(plates.moments), "", 0.2, at_least=False,
               note="share of seconds shown in the 8 s before in the same direction"),
        Figure(PART, f"{name}: standing still", float((np.abs(np.diff(plates.moments)) < 0.01).mean()), "", 0.1,
               at_least=False, note="share of frames"),
    ]
    return figures + (_survival(name, performance.pose, plates, target) if survival else [])


def _pictures(target: Target, plates: Plates):
    """Plates before the head is turned in them."""
    for moment in plates.moments:
        first, share = int(np.floor(moment)), float(moment % 1)
        frame = target.frames[first]
        yield between(frame, target.frames[first + 1], share) if share > 0 else frame


def repetition(moments: np.ndarray) -> float:
    """Share of the seconds that were shown before, in the same direction, no longer ago than `LAGS`."""
    parts = np.lib.stride_tricks.sliding_window_view(moments, SECOND)
    again = np.zeros(len(parts), bool)
    for lag in range(LAGS[0], min(LAGS[1], len(parts) - 1)):
        again[lag:] |= np.abs(parts[lag:] - parts[:-lag]).max(1) < ALIKE
    return float(again.mean())


def _survival(name: str, wanted: np.ndarray, plates: Plates, target: Target) -> list[Figure]:
    figures = []
    clip = target.track.pose()[target.track.confidence > 0]
    for axis, word in enumerate(AXES):
        r, before = (float(np.corrcoef(wanted[:, axis], pose[:, axis])[0, 1]) for pose in (plates.pose,
                                                                                          plates.own_pose))
        spread, old = (float(pose[:, axis].std() / wanted[:, axis].std()) for pose in (plates.pose, plates.own_pose))
        figures.append(Figure(PART, f"{name}: {word} shown as predicted", r, "r", 0.9 if axis < 3 else None,
                              note=f"plates alone {before:.2f}; spread {spread:.2f}, plates alone {old:.2f}"))
        if axis < 3:
            apart = wasserstein_distance(plates.pose[:, axis], clip[:, axis]) / (2 * clip[:, axis].std())
            kept = wasserstein_distance(wanted[:, axis], clip[:, axis]) / (2 * clip[:, axis].std())
            figures.append(Figure(PART, f"{name}: {word} distributed as the clip's", 1 - float(apart), "",
                                  note=f"predicted {1 - kept:.2f}"))
    return figures
