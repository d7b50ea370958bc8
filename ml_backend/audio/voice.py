"""Who speaks when: Silero's voice activity detector (MIT, carried in its wheel) on the film's frames.

Breaths, noise, music and clicks are silence to it; a threshold on energy would take them for speech.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from ml_backend.audio.features import FRAME, frame_count
from ml_backend.audio.load import SAMPLE_RATE

BLOCK = 512
"""Samples per probability of the detector."""

SURE, DOUBTFUL = 0.5, 0.3
"""Probability at which speech begins, and under which it ends."""

_GAP, _BURST = 3, 2


@lru_cache(maxsize=1)
def _detector():
    from silero_vad import load_silero_vad

    return load_silero_vad(sequence=True)


def voice_probability(samples: np.ndarray) -> np.ndarray:
    """(T,) float32 per film frame at 25 fps: how likely somebody speaks in it; `samples` (N,) float32, 16 kHz."""
    frames = frame_count(len(samples))
    if len(samples) < BLOCK or not np.abs(samples).max() > 0:
        return np.zeros(frames, np.float32)
    level = np.percentile(np.abs(samples), 99.5)
    found = _detector().audio_forward(np.asarray(samples * min(0.5 / max(level, 1e-6), 100.0), np.float32), SAMPLE_RATE)
    times = (np.arange(len(found)) + 0.5) * BLOCK
    return np.interp((np.arange(frames) + 0.5) * FRAME, times, found).astype(np.float32)


def voice_activity(samples: np.ndarray) -> np.ndarray:
    """(T,) bool per film frame: does somebody speak in it?

    Speech begins where the detector is sure and lasts until it is doubtful no more; gaps under 120 ms (stops) count
    as speech, bursts under 80 ms do not.
    """
    probability = voice_probability(samples)
    likely = probability >= DOUBTFUL
    edges = np.flatnonzero(np.diff(np.concatenate([[0], likely.astype(np.int8), [0]])))
    active = np.zeros(len(probability), bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        active[start:stop] = probability[start:stop].max() >= SURE
    return _without_bursts(_without_gaps(active))


def _without_gaps(active: np.ndarray) -> np.ndarray:
    wide = np.concatenate([np.zeros(_GAP, bool), active, np.zeros(_GAP, bool)])
    return minimum_filter1d(maximum_filter1d(wide, _GAP), _GAP)[_GAP:-_GAP]


def _without_bursts(active: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    kept = active.copy()
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < _BURST:
            kept[start:stop] = False
    return kept
