"""How much of the picture the refiner leaves to the rendering: its attention over a few frames of a take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ml_backend.data.frames import FrameFolder
from ml_backend.errors import ParleyError, UserInputError
from ml_backend.metrics.image import saturation
from ml_backend.metrics.report import Figures
from ml_backend.refine.apply import Refiner
from ml_backend.refine.dataset import to_network, window_indices
from ml_backend.refine.weights import load_weights
from ml_backend.terminal import Terminal

_FRAMES = 12


def attention_figures(take: Path, terminal: Terminal, *, needed: bool) -> Figures:
    """Mean and saturation of A over a dozen frames of the take at `take`; nothing where it refined nothing.

    Raises
    ------
    UserInputError
        If the take is `needed` and has no refiner.
    """
    weights, composites = take / "refiner.safetensors", take / "composites"
    if not weights.is_file() or not composites.is_dir():
        if needed:
            raise UserInputError(f"{take} holds no refiner.safetensors with composites; give the take of a refined "
                                 "film, or leave --take out.")
        return {}
    try:
        maps = _maps(weights, FrameFolder.open(composites))
    except ParleyError as error:
        terminal.warn(f"The refiner's attention is left out: {error}")
        return {}
    return {"attention": round(float(maps.mean()), 4), "attention_saturated": round(saturation(maps), 4)}


@torch.no_grad()
def _maps(weights: Path, composites: FrameFolder) -> np.ndarray:
    """(N, H, W) attention of frames spread over `composites`."""
    loaded = load_weights(weights)
    refiner = Refiner(loaded)
    chosen = np.unique(np.linspace(0, len(composites) - 1, min(_FRAMES, len(composites))).round().astype(int))
    pictures = [composites[int(frame)] for frame in chosen]
    found = []
    for frame, identity in zip(chosen, refiner.identities(pictures), strict=True):
        window = np.stack([composites[k] for k in window_indices(int(frame), loaded.config.window)])
        _, _, attention = refiner.generator(to_network(window)[None].to(refiner.device),
                                            identity[None].to(refiner.device))
        found.append(attention[0, 0].float().cpu().numpy())
    return np.stack(found)
