"""Ears set to the voice: the warp that moves the lips most, members a little apart, plain features left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from addon.core.instant import hearing as instant
from addon.core.instant import motion_network
from addon.core.instant import weights as instant_weights
from ml_backend.audio.features import FRAME, PLAIN_SIZE
from ml_backend.audio.load import load_speech
from ml_backend.audio.voice import voice_activity
from ml_backend.config import motion_weights, sample_speech
from ml_backend.motion import hearing
from ml_backend.motion.checkpoint import MotionWeights, load_weights
from ml_backend.motion.dataset import features
from ml_backend.motion.network import build
from ml_backend.motion.score import run
from tests.ml.motion_toys import NAMES, TINY, babble, statistics

SPOKEN = np.ones(200, bool)


def weights(members: int = 3, size: int = 26) -> MotionWeights:
    network = build(replace(TINY, members=members, features=size)).eval()
    return MotionWeights(network, statistics(), np.ones(len(NAMES), np.float32), np.eye(len(NAMES), 2))


def test_the_voice_is_heard_where_the_lips_are_liveliest(monkeypatch):
    asked = []

    def lively(network, steps):
        asked.append(steps)
        result = np.zeros((50, len(NAMES) + 6), np.float32)
        result[::2, :2] = 1.0 if steps == 0.88 else 0.5
        return result

    monkeypatch.setattr(hearing, "features", lambda config, samples, warp: warp)
    monkeypatch.setattr(hearing, "run", lively)
    samples = np.zeros(200 * FRAME, np.float32)
    assert hearing.voice_warp(weights(), samples, SPOKEN) == 0.88
    assert sorted(asked) == sorted(hearing.WARPS)
    assert hearing.voice_warp(weights(), samples, np.arange(200) < 30) == 1.0
    assert hearing.voice_warp(weights(size=PLAIN_SIZE), samples, SPOKEN) == 1.0


def test_members_listen_apart_from_each_other(monkeypatch):
    monkeypatch.setattr(hearing, "voice_warp", lambda *_: 0.94)
    made, (samples, _) = weights(), babble(4, 0)
    apart = [run(member, features(made.network.config, samples, warp))
             for member, warp in zip(made.network.members, (0.85, 0.94, 1.03), strict=True)]
    np.testing.assert_allclose(hearing.heard(made, samples, SPOKEN), np.mean(apart, 0), atol=1e-5)
    alone = weights(members=1)
    np.testing.assert_allclose(hearing.heard(alone, samples, SPOKEN),
                               run(alone.network, features(alone.network.config, samples, 0.94)), atol=1e-5)


def test_the_warp_is_found_where_most_is_said():
    active = np.zeros(1000, bool)
    active[600:900] = True
    found = hearing._most_said(np.arange(1000 * FRAME), active)
    assert found[0] == 600 * FRAME
    assert len(found) == hearing.SECONDS * 25 * FRAME


@pytest.mark.parametrize("warp", [0.88, 1.06])
def test_the_instant_engine_hears_the_same(warp, monkeypatch):
    samples = load_speech(sample_speech()).samples[:6 * 16000]
    active, path = voice_activity(samples), motion_weights("open")
    ours, theirs = load_weights(path), motion_network.MotionNetwork(instant_weights.load(path, motion_network.SCHEMA))
    assert instant.voice_warp(theirs, samples, active) == hearing.voice_warp(ours, samples, active)
    monkeypatch.setattr(hearing, "voice_warp", lambda *_: warp)
    monkeypatch.setattr(instant, "voice_warp", lambda *_: warp)
    assert np.abs(instant.heard(theirs, samples, active) - hearing.heard(ours, samples, active)).max() < 1e-3
    steps = features(ours.network.config, samples, warp)
    assert np.abs(theirs.alone(2).run(steps) - run(ours.network.members[2], steps)).max() < 1e-3
