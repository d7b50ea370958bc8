"""Where the embedded defaults lie, and the numbers that several stages share."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ml_backend.errors import DependencyError

FPS = 25
"""Frames per second of the network, the plates and the film."""

PERSONAL_SECONDS = 12.0
"""How much of a clip is used to learn a person: 300 frames (Yi et al., §4)."""


def assets() -> Path:
    """Folder of the embedded defaults; ``PARLEY_ASSETS`` overrides it."""
    if named := os.environ.get("PARLEY_ASSETS"):
        return Path(named)
    found = importlib.util.find_spec("blender_assets")
    if found is None or not found.submodule_search_locations:
        raise DependencyError("Parley's embedded assets are missing; install Parley again.")
    return Path(next(iter(found.submodule_search_locations)))


def head_model() -> Path:
    """The embedded FaceModel."""
    return assets() / "head" / "parley_head.npz"


def motion_weights(which: str = "default") -> Path:
    """General motion weights: embedded ones by name ("default", or "open", learned from open data alone), or a file."""
    embedded = {"default": "motion.safetensors", "open": "motion_open.safetensors"}
    return assets() / "models" / embedded[which] if which in embedded else Path(which)


def pose_weights() -> Path:
    """The embedded head-pose weights."""
    return assets() / "models" / "pose.safetensors"


def contact_weights() -> Path:
    """The embedded detector of lip contact."""
    return assets() / "models" / "contact.safetensors"


def emotion_weights() -> Path:
    """What emotions look like, as expression weights."""
    return assets() / "models" / "emotions.json"


def refiner_weights() -> Path | None:
    """The embedded general refiner weights, None where there are none."""
    path = assets() / "models" / "refiner.safetensors"
    return path if path.is_file() else None


def identity_weights() -> Path:
    """The embedded encoder that tells whose face it is."""
    return assets() / "models" / "identity.safetensors"


def sample_speech() -> Path:
    """The bundled speech."""
    return assets() / "speech" / "sample.flac"
