"""Training of the lip-contact detector: labials heard by a phone recogniser in many voices, rooms and speeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ml_backend.audio.load import load_speech
from ml_backend.audio.phones import LABIALS, labels, phone_index, recognise
from ml_backend.errors import UserInputError
from ml_backend.motion import shards
from ml_backend.motion.augment import draw, vary
from ml_backend.motion.contact import ContactNetwork, contact_steps, save
from ml_backend.progress import Progress, silent

SOUNDS = (".flac", ".wav", ".mp3", ".ogg", ".m4a")
VARIATIONS, BATCH, WINDOW = 5, 16, 150
_MASKED_BANDS = 5
_AVERAGING = 0.99


@dataclass(frozen=True)
class ContactReport:
    """Scores on the held-out recordings: share of labial steps found and of found steps that are labial, at 0.5."""

    recall: float
    precision: float
    recordings: int
    seconds: float


def labials(samples: np.ndarray) -> np.ndarray:
    """(4T,) float32: 1 in the 10 ms steps of `samples` (N,) in which a phone recogniser hears p, b or m."""
    return np.isin(labels(recognise(samples), len(samples)), [phone_index(name) for name in LABIALS]).astype(np.float32)


def train_contact(dataset: Path, folders: list[Path], out: Path, *, seed: int = 0, steps: int = 900,
                  progress: Progress = silent) -> ContactReport:
    """Train on the speech of the training shards in `dataset` and of sound files in `folders`, and write `out`.

    One recording in ten, by name, is held out for the report.

    Raises
    ------
    UserInputError
        If there is no speech.
    DependencyError
        If pocketsphinx is missing.
    """
    generator = np.random.default_rng([seed, 0xC0])
    learned, held, seconds = [], [], 0.0
    recordings = list(_recordings(dataset, folders))
    if len(recordings) < 2:
        raise UserInputError(f"{dataset} and the folders of speech hold too few recordings to train on.")
    for number, samples in enumerate(recordings):
        progress(number, len(recordings) + steps)
        marked, seconds = labials(samples), seconds + len(samples) / 16000
        if number % 10 == 9:
            held.append((contact_steps(samples), marked))
        else:
            learned.extend(_variations(samples, marked, generator))
    network = _fit(learned, seed, steps, lambda done: progress(len(recordings) + done, len(recordings) + steps))
    recall, precision = _scores(network, held)
    report = ContactReport(recall, precision, len(recordings), round(seconds, 1))
    save(network, out, {"seed": seed, "steps": steps, "recall": recall, "precision": precision,
                        "recordings": len(recordings), "seconds": report.seconds})
    return report


def _recordings(dataset: Path, folders: list[Path]) -> Iterator[np.ndarray]:
    for shard in shards.load_folder(dataset).values():
        if str(shard.split) == "train":
            yield shard.samples
    for folder in folders:
        for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SOUNDS):
            yield load_speech(path).samples


def _variations(samples: np.ndarray, marked: np.ndarray,
                generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Steps (S, 26) and labels (S,) of the recording as it is and as other voices and rooms."""
    yield contact_steps(samples), marked
    for _ in range(VARIATIONS - 1):
        change = draw(generator)
        steps = contact_steps(vary(samples, change, generator), change.warp)
        at = np.arange(len(steps)) * change.speed
        yield steps, np.interp(at, np.arange(len(marked)), marked).astype(np.float32)


def _fit(data: list[tuple[np.ndarray, np.ndarray]], seed: int, steps: int, progress) -> ContactNetwork:
    torch.manual_seed(seed)
    generator = np.random.default_rng([seed, 0xC1])
    network = ContactNetwork()
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    share = np.sqrt([len(marked) for _, marked in data])
    share = share / share.sum()
    weight = torch.tensor(2.0)
    for step in range(steps):
        progress(step)
        windows, wanted = _batch(data, share, generator)
        network.train()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(windows), wanted, pos_weight=weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - min(_AVERAGING, step / (step + 10)))
    return averaged.eval()


def _batch(data: list[tuple[np.ndarray, np.ndarray]], share: np.ndarray,
           generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    windows, wanted = [], []
    for index in generator.choice(len(data), BATCH, p=share):
        steps, marked = data[index]
        lacking = max(WINDOW - len(steps), 0)
        steps, marked = np.pad(steps, ((0, lacking), (0, 0))), np.pad(marked[:len(steps)], (0, lacking))
        start = int(generator.integers(0, len(steps) - WINDOW + 1))
        part = steps[start:start + WINDOW].copy()
        if generator.random() < 0.5:
            band = int(generator.integers(0, part.shape[1] - _MASKED_BANDS))
            part[:, band:band + int(generator.integers(1, _MASKED_BANDS))] = 0
        windows.append(part)
        wanted.append(marked[start:start + WINDOW])
    return torch.from_numpy(np.stack(windows)), torch.from_numpy(np.stack(wanted))


def _scores(network: ContactNetwork, held: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    found, marked = [], []
    for steps, true_steps in held:
        with torch.inference_mode():
            found.append(torch.sigmoid(network(torch.from_numpy(steps)[None]))[0].numpy()[:len(true_steps)] > 0.5)
        marked.append(true_steps[:len(steps)] > 0.5)
    if not held:
        return float("nan"), float("nan")
    said, true = np.concatenate(found), np.concatenate(marked)
    return float((said & true).sum() / max(true.sum(), 1)), float((said & true).sum() / max(said.sum(), 1))
