"""How configurations are trained: the settings, and the learning rate over the steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainSettings:
    """How a configuration is trained.

    Attributes
    ----------
    window, batch : frames per window, windows per step of each member and process
    rate, decay, betas : of AdamW
    variations : of each clip, beside the unchanged one
    hide : whether stretches of time and features are masked
    warm_up : steps until the rate is reached; then a half cosine to zero; 0 keeps the rate
    every : steps between two looks at the validation clips
    average : how much of the averaged weights, which are those that are kept, stays per step; 0 for no averaging
    body : factor on the rate of encoder and LSTM where they come from pre-training
    """

    window: int = 75
    batch: int = 24
    rate: float = 2e-3
    decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    variations: int = 10
    hide: bool = True
    warm_up: int = 100
    every: int = 50
    average: float = 0.98
    body: float = 0.3


SETTINGS = {"default": TrainSettings(),
            "yi2020": TrainSettings(window=16, batch=16, rate=2e-4, decay=0.0, betas=(0.5, 0.999), variations=0,
                                    hide=False, warm_up=0, every=100, average=0.0)}


def rate_at(step: int, steps: int, settings: TrainSettings) -> float:
    """Learning rate of that step: warm-up, then a half cosine; constant where there is no warm-up."""
    if not settings.warm_up:
        return settings.rate
    if step < settings.warm_up:
        return settings.rate * (step + 1) / settings.warm_up
    part = (step - settings.warm_up) / max(steps - settings.warm_up, 1)
    return settings.rate * 0.5 * (1 + float(np.cos(np.pi * min(part, 1))))
