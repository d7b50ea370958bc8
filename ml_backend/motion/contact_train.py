"""Training of the lip-contact detector: labials in many voices, rooms and speeds.

Where they are is known from phone shards (a synthesiser's own times, a transcript's, or a recogniser's); in the speech
of motion shards and of sound files a phone recogniser listens for them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ml_backend.audio.load import load_speech
from ml_backend.audio.phones import LABIALS, labels, phone_index, recognise
from ml_backend.errors import UserInputError
from ml_backend.motion import phone_shards, shards
from ml_backend.motion.augment import draw, vary
from ml_backend.motion.contact import ContactNetwork, contact_steps, save
from ml_backend.progress import Progress, silent

SOUNDS = (".flac", ".wav", ".mp3", ".ogg", ".m4a")
VARIATIONS, BATCH, WINDOW = 4, 16, 150
RATE, WARM_UP = 2e-3, 50
SPEAKER_SECONDS = 120.0
"""A speaker counts by the seconds there are, at most these."""
VARIED_SECONDS = 300.0
"""Who speaks for longer varies by themselves: one variation of each recording does."""
_MASKED_BANDS = 5
_AVERAGING = 0.99


@dataclass(frozen=True)
class Recording:
    """One recording: whose voice, samples (N,) float32, and (4T,) float32, 1 where the lips are shut for a labial."""

    speaker: str
    samples: np.ndarray
    marked: np.ndarray

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / 16000


@dataclass(frozen=True)
class Takes:
    """A recording as it is and in variations: feature steps (S, 26) and labels (S,) of each, and how often to draw."""

    takes: list[tuple[np.ndarray, np.ndarray]]
    weight: float


@dataclass(frozen=True)
class ContactReport:
    """Scores on the held-out recordings: share of labial steps found and of found steps that are labial, at 0.5."""

    recall: float
    precision: float
    recordings: int
    seconds: float


def labials(samples: np.ndarray) -> np.ndarray:
    """(4T,) float32: 1 in the 10 ms steps of `samples` (N,) in which a phone recogniser hears p, b or m."""
    return marks(labels(recognise(samples), len(samples)))


def marks(phones: np.ndarray) -> np.ndarray:
    """(S,) float32: 1 where `phones` (S,), places in `audio.phones.PHONES`, are p, b or m."""
    return np.isin(phones, [phone_index(name) for name in LABIALS]).astype(np.float32)


def train_contact(dataset: Path, folders: list[Path], out: Path, *, seed: int = 0, steps: int = 4000, rights: str = "",
                  progress: Progress = silent) -> ContactReport:
    """Train on the phone shards and training shards in `dataset` and on sound files in `folders`, and write `out`.

    One recording in ten is held out for the report. With `rights`, shards with others are left out.

    Raises
    ------
    UserInputError
        If there is no speech.
    DependencyError
        If pocketsphinx is missing.
    """
    recordings = list(_recordings(dataset, folders, rights))
    if len(recordings) < 2:
        raise UserInputError(f"{dataset} and the folders of speech hold too few recordings to train on.")
    generator, total = np.random.default_rng([seed, 0xC0]), len(recordings) + steps
    spoken: dict[str, float] = {}
    for item in recordings:
        spoken[item.speaker] = spoken.get(item.speaker, 0.0) + item.seconds
    learned, held = [], []
    for number, item in enumerate(recordings):
        progress(number, total)
        if number % 10 == 9:
            held.append((contact_steps(item.samples), item.marked))
        else:
            learned.append(_takes(item, spoken[item.speaker], generator))
    network = _fit(learned, seed, steps, lambda done: progress(len(recordings) + done, total))
    recall, precision = _scores(network, held)
    report = ContactReport(recall, precision, len(recordings), round(sum(item.seconds for item in recordings), 1))
    save(network, out, {"seed": seed, "steps": steps, "recall": recall, "precision": precision,
                        "recordings": len(recordings), "seconds": report.seconds, "rights": rights or "any"})
    return report


def _recordings(dataset: Path, folders: list[Path], rights: str) -> Iterator[Recording]:
    if (Path(dataset) / phone_shards.FOLDER).is_dir():
        for known in phone_shards.load_folder(dataset, rights).values():
            yield Recording(str(known.speaker), known.samples, marks(known.phones))
    if any(Path(dataset).glob("*.npz")):
        for shard in shards.load_folder(dataset).values():
            if str(shard.split) == "train" and (not rights or str(shard.rights) == rights):
                yield Recording(str(shard.speaker), shard.samples, labials(shard.samples))
    for folder in folders:
        for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SOUNDS):
            samples = load_speech(path).samples
            yield Recording(path.stem, samples, labials(samples))


def _takes(item: Recording, spoken: float, generator: np.random.Generator) -> Takes:
    """The takes of `item`, whose speaker is heard for `spoken` seconds altogether."""
    count = VARIATIONS if spoken < VARIED_SECONDS else 2
    return Takes(list(_variations(item.samples, item.marked, count, generator)),
                 item.seconds * min(1.0, SPEAKER_SECONDS / spoken))


def _variations(samples: np.ndarray, marked: np.ndarray, count: int,
                generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Steps (S, 26) and labels (S,) of the recording as it is and as other voices and rooms."""
    yield contact_steps(samples), marked
    for _ in range(count - 1):
        change = draw(generator)
        steps = contact_steps(vary(samples, change, generator), change.warp)
        at = np.arange(len(steps)) * change.speed
        yield steps, np.interp(at, np.arange(len(marked)), marked).astype(np.float32)


def _fit(data: list[Takes], seed: int, steps: int, progress: Callable[[int], None]) -> ContactNetwork:
    torch.manual_seed(seed)
    generator = np.random.default_rng([seed, 0xC1])
    network = ContactNetwork()
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    share = np.array([item.weight for item in data])
    share = share / share.sum()
    weight = torch.tensor(2.0)
    for step in range(steps):
        progress(step)
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * step / steps))
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


def _batch(data: list[Takes], share: np.ndarray,
           generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    windows, wanted = [], []
    for index in generator.choice(len(data), BATCH, p=share):
        takes = data[index].takes
        steps, marked = takes[int(generator.integers(len(takes)))]
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
