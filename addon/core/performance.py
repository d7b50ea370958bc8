"""Performance: what a character does over time. Read, written and resampled here as in the backend."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .npz import load_npz, require, save_npz

SCHEMA, VERSION = "parley.performance", 1


@dataclass(frozen=True)
class Performance:
    """T samples.

    Attributes
    ----------
    times : (T,) float64, seconds from the start of the speech, increasing
    expression : (T, K) float32 in [0, 1]
    names : list of K expression names
    pose : (T, 6) float32: pitch, yaw, roll (radians), x, y, z (metres), head in camera space
    provenance : JSON-able dict: audio hash, weights id, seed, settings
    """

    times: np.ndarray
    expression: np.ndarray
    names: list[str]
    pose: np.ndarray
    provenance: dict

    def __len__(self) -> int:
        return len(self.times)


def load(path: Path | str) -> Performance:
    """Read and validate; raises `ArtefactError`."""
    arrays = load_npz(path, SCHEMA, VERSION, ("times", "expression", "names", "pose", "provenance"))
    performance = Performance(arrays["times"], arrays["expression"], [str(name) for name in arrays["names"]],
                              arrays["pose"], json.loads(str(arrays["provenance"])))
    validate(performance, path)
    return performance


def save(performance: Performance, path: Path | str) -> None:
    """Validate and write; raises `ArtefactError` or `UserInputError`."""
    validate(performance, path)
    save_npz(path, SCHEMA, VERSION, {
        "times": performance.times.astype(np.float64), "expression": performance.expression.astype(np.float32),
        "names": np.array(performance.names), "pose": performance.pose.astype(np.float32),
        "provenance": np.array(json.dumps(performance.provenance, sort_keys=True)),
    })


def validate(performance: Performance, path: Path | str = "performance") -> None:
    """Raise `ArtefactError` unless shapes, order and ranges hold."""
    frames = len(performance.times)
    require(frames > 0, path, "the performance has no sample")
    require(performance.expression.shape == (frames, len(performance.names)), path, "expression is not (T, K)")
    require(performance.pose.shape == (frames, 6), path, "pose is not (T, 6)")
    require(bool((np.diff(performance.times) > 0).all()), path, "times do not increase")
    require(bool(np.isfinite(performance.expression).all() and np.isfinite(performance.pose).all()), path,
            "a value is no number")
    require(bool((performance.expression >= -1e-6).all() and (performance.expression <= 1 + 1e-6).all()), path,
            "an expression weight lies outside [0, 1]")


def resample(performance: Performance, times: np.ndarray) -> Performance:
    """The performance at `times` (N,) seconds, increasing: linear in between, held at the ends.

    Angles are unwrapped first, so a turn through ±180° goes the short way.
    """
    pose = performance.pose.astype(np.float64)
    pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
    return replace(performance, times=np.asarray(times, np.float64),
                   expression=_interpolate(times, performance.times, performance.expression),
                   pose=_interpolate(times, performance.times, pose))


def _interpolate(at: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N, C) float32 of `values` (T, C) given at `times` (T,), one gather for all channels."""
    place = np.clip(np.interp(at, times, np.arange(len(times))), 0, len(times) - 1)
    low = np.minimum(place.astype(np.int64), max(len(times) - 2, 0))
    high = np.minimum(low + 1, len(times) - 1)
    share = (place - low)[:, None]
    return (values[low] * (1 - share) + values[high] * share).astype(np.float32)
