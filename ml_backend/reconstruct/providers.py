"""Whose networks find the landmarks: MediaPipe's, always there, or insightface's, where the user has a pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from ml_backend import insightface_pack
from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import insightface, landmarks
from ml_backend.reconstruct.insightface import WHAT
from ml_backend.reconstruct.landmarks import LandmarkTrack
from ml_backend.reconstruct.tracklets import LARGEST

MEDIAPIPE, INSIGHTFACE = "mediapipe", "insightface"


class Detect(Protocol):
    """Finds and follows one face; see `landmarks.detect`."""

    def __call__(self, frames: Sequence[np.ndarray], *, face: str = LARGEST, progress: Progress = silent,
                 source: str = "the clip") -> LandmarkTrack:
        """Landmarks (T, 478, 3) under MediaPipe's numbers, NaN where the networks have no such point."""
        ...


def detector(name: str) -> Detect:
    """The provider `name`, its networks loaded.

    Raises
    ------
    UserInputError, DependencyError
        If there is no such provider, or insightface or its pack is missing or damaged.
    """
    check(name)
    return PROVIDERS[name]()


def check(name: str) -> None:
    """Raise as `detector` does for what can be told at once, without loading networks."""
    if name not in PROVIDERS:
        raise UserInputError(f"--landmarks {name} is none of {', '.join(PROVIDERS)}.")
    if name == INSIGHTFACE:
        insightface_pack.check(WHAT, insightface_pack.DETECTION)


def _mediapipe() -> Detect:
    return landmarks.detect


def _insightface() -> Detect:
    return partial(insightface.detect, networks=insightface.Networks.load())


PROVIDERS: dict[str, Callable[[], Detect]] = {MEDIAPIPE: _mediapipe, INSIGHTFACE: _insightface}


def key(detect: Detect) -> str | list[str]:
    """What a cached track depends on: the provider, and the files of its networks with their sizes."""
    networks = detect.keywords["networks"] if isinstance(detect, partial) else None
    if networks is None:
        return MEDIAPIPE
    used = (networks.detection, networks.points_3d, networks.points_2d)
    files = [Path(network.model_file) for network in used if network is not None]
    return [f"{file.name} {file.stat().st_size}" for file in files]
