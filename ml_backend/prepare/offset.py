"""How late a clip's sound is, and whether its lips go with it: measured with weights learned from clips in sync."""

from __future__ import annotations

import numpy as np

from ml_backend.motion.agreement import Offset, compare, heard_lips
from ml_backend.motion.checkpoint import MotionWeights
from ml_backend.motion.prepare import shifted
from ml_backend.motion.shards import Shard

LEAST_SYNC = 0.2
"""Correlation of heard and seen lips below which a clip is doubtful."""


def measure(shard: Shard, weights: MotionWeights) -> Offset:
    """By how much the sound of `shard` is late, and how well its lips go with it then; see `agreement.compare`."""
    seen = np.where(shard.confidence[:, None] > 0.5, shard.measures, np.nan)
    return compare(heard_lips(weights, shard.samples), seen)


def without_delay(shard: Shard, late_ms: float) -> Shard:
    """`shard` with its sound moved `late_ms` earlier, silence where nothing is left."""
    samples = shifted(shard.speech, round(late_ms * 16))
    return Shard(**{**vars(shard), "speech": samples})
