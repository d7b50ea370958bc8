"""Performance: what a character does over time. The one animation format that both sides of Parley read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_npz, require, save_npz

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


def save(performance: Performance, path: Path) -> None:
    """Validate and write."""
    validate(performance, path)
    save_npz(
        path,
        SCHEMA,
        VERSION,
        {
            "times": performance.times.astype(np.float64),
            "expression": performance.expression.astype(np.float32),
            "names": np.array(performance.names),
            "pose": performance.pose.astype(np.float32),
            "provenance": np.array(json.dumps(performance.provenance, sort_keys=True)),
        },
    )


def load(path: Path) -> Performance:
    """Read and validate; raises `ArtefactError`."""
    arrays = load_npz(path, SCHEMA, VERSION)
    for name in ("times", "expression", "names", "pose", "provenance"):
        require(name in arrays, path, f"the performance lacks {name}")
    performance = Performance(
        arrays["times"],
        arrays["expression"],
        [str(name) for name in arrays["names"]],
        arrays["pose"],
        json.loads(str(arrays["provenance"])),
    )
    validate(performance, path)
    return performance


def validate(performance: Performance, path: Path | str = "performance") -> None:
    """Raise `ArtefactError` unless shapes, order and ranges hold."""
    frames = len(performance.times)
    require(frames > 0, path, "the performance has no sample")
    require(performance.expression.shape == (frames, len(performance.names)), path, "expression is not (T, K)")
    require(performance.pose.shape == (frames, 6), path, "pose is not (T, 6)")
    require(bool((np.diff(performance.times) > 0).all()), path, "times do not increase")
    require(
        bool(np.isfinite(performance.expression).all() and np.isfinite(performance.pose).all()),
        path,
        "a value is no number",
    )
    require(
        bool((performance.expression >= -1e-6).all() and (performance.expression <= 1 + 1e-6).all()),
        path,
        "an expression weight lies outside [0, 1]",
    )
