"""Lips that meet on p, b and m: a small network that hears the closures, and what makes the mouth obey.

A regression of lip motion is timid where it is unsure, so that closures, a frame or two long, stay ajar: the flaw that
viewers notice first. The detector listens to log-mel steps with ± 150 ms of context, whatever the language, since
closed lips sound alike: silence or murmur without upper formants, with the transitions of a labial.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from scipy.ndimage import maximum_filter1d
from scipy.signal import find_peaks
from torch import Tensor, nn

from ml_backend.audio.features import (
    CONTEXT_FRAMES,
    FILTERS,
    STEPS_PER_FRAME,
    frame_count,
    padded,
    spectra,
    voiced_steps,
)
from ml_backend.errors import ArtefactError
from ml_backend.motion.checkpoint import write_tensors

SCHEMA, VERSION = "parley.contact", "1"
WIDTH = 64
SURE = 0.45
"""Probability of a labial from which the lips have to meet, more or less as their opening says."""

_RANGE_DB = 45.0
_LEAD = CONTEXT_FRAMES * STEPS_PER_FRAME
_APART, _NEAR = 8, 6
_SIDE, _HOLD = 0.35, 0.95
_BESIDE, _SAY = 2, 0.3


class ContactNetwork(nn.Module):
    """Three dilated convolutions over 10 ms steps: (B, S, 26) → (B, S) logits of "the lips are shut for a labial"."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(FILTERS, WIDTH, 5, padding=2), nn.BatchNorm1d(WIDTH), nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, 5, padding=4, dilation=2), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.2),
            nn.Conv1d(WIDTH, WIDTH, 5, padding=8, dilation=4), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.2),
            nn.Conv1d(WIDTH, 1, 1),
        )

    def forward(self, steps: Tensor) -> Tensor:
        """Logits (B, S) of steps (B, S, 26)."""
        return self.layers(steps.transpose(1, 2))[:, 0]


def contact_steps(samples: np.ndarray, warp: float = 1.0) -> np.ndarray:
    """(4T, 26) float32 log-mel steps of the film's T frames, normalised per utterance over the steps with voice.

    Parameters
    ----------
    samples : (N,) float32, 16 kHz
    warp : vocal-tract warp, see `audio.features.mel_filters`
    """
    mel, energy = spectra(padded(samples), warp)
    logs = np.log(mel + 1e-10)
    logs = np.maximum(logs, np.percentile(logs, 98) - _RANGE_DB * np.log(10) / 10)
    voiced = voiced_steps(mel, energy)
    chosen = logs[voiced] if voiced.sum() >= STEPS_PER_FRAME * 4 else logs
    logs = (logs - chosen.mean(0)) / (chosen.std(0) + 0.3)
    return logs[_LEAD:_LEAD + frame_count(len(samples)) * STEPS_PER_FRAME].astype(np.float32)


def save(network: ContactNetwork, path: Path, provenance: dict) -> None:
    """Write fp16 safetensors with their origin; raises `UserInputError` if that is impossible."""
    tensors = {name: value.half() if value.is_floating_point() else value
               for name, value in network.state_dict().items()}
    write_tensors(tensors, {"schema": SCHEMA, "version": VERSION,
                            "provenance": json.dumps(provenance, sort_keys=True)}, path)


@lru_cache(maxsize=2)
def load(path: Path) -> ContactNetwork:
    """The network at `path`, ready to run.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged or something else.
    """
    network = ContactNetwork()
    try:
        with safe_open(str(path), framework="pt") as file:
            if (file.metadata() or {}).get("schema") != SCHEMA:
                raise ArtefactError(f"{path} holds no lip-contact weights; install Parley again.")
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ArtefactError(f"The lip-contact weights {path} can't be read ({error}); install Parley again.") from error
    return network.float().eval()


def labial_probability(samples: np.ndarray, network: ContactNetwork) -> np.ndarray:
    """(4T,) float32 per 10 ms step of the film's T frames: are the lips shut for p, b or m?"""
    with torch.inference_mode():
        return torch.sigmoid(network(torch.from_numpy(contact_steps(samples))[None]))[0].numpy()


def contacts(probability: np.ndarray, busy: np.ndarray, opening: np.ndarray | None = None) -> np.ndarray:
    """(T,) float32 in [0, 1]: how far lips are drawn together; 1 where they have to touch.

    Parameters
    ----------
    probability : (4T,), see `labial_probability`
    busy : (T,) in [0, 1], where somebody speaks
    opening : (T,) lips' opening without contact, which has its say: a peak counts sooner where lips are about to close
        anyway, later where they are wide open; None = peaks are certain (a transcript)

    Returns
    -------
    numpy.ndarray
        Each peak holds for the frames in which the probability stays near its height, and comes and goes over one
        frame; longer, it would shut lips that only pass by.
    """
    frames = len(busy)
    held = np.zeros(frames, np.float32)
    peaks, _ = find_peaks(np.concatenate([[0], probability, [0]]), height=SURE / 2, distance=_APART)
    for peak in peaks - 1:
        if probability[peak] < _needed(opening, busy, peak // STEPS_PER_FRAME):
            continue
        first = max(peak - _NEAR, 0)
        high = np.flatnonzero(probability[first:peak + _NEAR + 1] >= probability[peak] * _HOLD) + first
        held[high.min() // STEPS_PER_FRAME:high.max() // STEPS_PER_FRAME + 1] = 1
    return np.maximum(held, _SIDE * maximum_filter1d(held, 3, mode="constant")) * (busy > 0)


def _needed(opening: np.ndarray | None, busy: np.ndarray, frame: int) -> float:
    """Probability from which the peak in `frame` counts."""
    if opening is None or not (busy > 0.5).any():
        return SURE
    usual = max(float(np.median(opening[busy > 0.5])), 1e-6)
    least = float(opening[max(frame - _BESIDE, 0):frame + _BESIDE + 1].min())
    return SURE + _SAY * float(np.clip(least / usual - 0.5, -0.5, 1))
