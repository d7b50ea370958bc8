"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

from ml_backend import __version__, insightface_pack
from ml_backend.blender import HOW_TO_GET, find_blender
from ml_backend.config import head_model, identity_weights, motion_weights, sample_speech
from ml_backend.errors import DependencyError

NEEDED = ("torch", "librosa", "mediapipe", "opencv-python", "av", "scipy", "safetensors", "numpy")
RESNET = "none (optional: PARLEY_RESNET18 may name torchvision's ImageNet weights, .safetensors, for the memory's keys)"
OPTIONAL = (("bpy", "renders without a Blender of its own"), ("insightface", "landmarks and ArcFace identity features"))


def report() -> str:
    """Lines of text for a person."""
    lines = [f"Parley {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"]
    lines += [f"  {name:<16}{_version(name) or 'MISSING: install Parley again'}" for name in NEEDED]
    lines += [f"  {name:<16}{_version(name) or 'not installed'} ({why})" for name, why in OPTIONAL]
    try:
        lines.append(f"  {'Blender':<16}{find_blender(None).name}")
    except DependencyError:
        lines.append(f"  {'Blender':<16}MISSING: {HOW_TO_GET}")
    lines.append(f"  {'model pack':<16}{insightface_pack.state()}")
    lines.append(f"  {'ResNet-18':<16}{os.environ.get('PARLEY_RESNET18') or RESNET}")
    embedded = (("face model", head_model()), ("motion weights", motion_weights()), ("identity", identity_weights()),
                ("sample", sample_speech()))
    for title, path in embedded:
        lines.append(f"  {title:<16}{path.name if path.exists() else 'MISSING: install Parley again'}")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
