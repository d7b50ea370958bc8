"""What lies beside a face model for heads that stand in for nobody: hairstyles (the add-on reads the rest)."""

from __future__ import annotations

from pathlib import Path

from ml_backend.artefacts.schema import load_npz

SCHEMA, VERSION = "parley.hair", 1
LASHES = "lashes"
"""Stored like a hairstyle, and worn with each of them."""


def hairstyles(model_path: Path) -> list[str]:
    """Names of the hairstyles of the model at `model_path`, NAME_head.npz or NAME.npz; empty where it has none.

    Raises
    ------
    ArtefactError
        If the hair's file is there and can't be read.
    """
    path = model_path.with_name(f"{model_path.stem.removesuffix('_head')}_hair.npz")
    if not path.is_file():
        return []
    return [str(name) for name in load_npz(path, SCHEMA, VERSION)["styles"] if str(name) != LASHES]
