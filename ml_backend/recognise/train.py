"""Training of the identity encoder with the ArcFace loss: resumable, measured on people it never learned from.

Deng et al. 2019: the angle between a feature and its person's own direction is made larger by a margin before the
softmax, so that people end up in tight, well separated bundles. The directions are thrown away afterwards.
"""

from __future__ import annotations

import csv
import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.progress import Progress, silent
from ml_backend.recognise import blends, heads
from ml_backend.recognise.augment import plain, vary
from ml_backend.recognise.card import write_card
from ml_backend.recognise.faces import TEST, TRAIN, Faces, gather, listed
from ml_backend.recognise.verify import Rates, per_person, verify
from ml_backend.refine.config import FEATURE_SIZE
from ml_backend.refine.device import autocast, best_device
from ml_backend.refine.encoder import SCHEMA, VERSION, WIDTHS, FaceEncoder

WEIGHTS, STATE, CURVE, CARD = "identity.safetensors", "last.safetensors", "curve.csv", "identity.md"
STATE_SCHEMA = "parley.identity.state"
_PARTS = ("real", "blends", "heads")


@dataclass(frozen=True)
class Settings:
    """What a run may vary.

    Attributes
    ----------
    steps, batch, rate, decay : of AdamW; the rate rises over 5 % of the steps and falls as a cosine
    margin, scale : of ArcFace, radians and factor; the margin comes in over the first third
    blends, blend_views, heads, head_views : made-up people and pictures of each
    shares : of the batch, real people, blends, heads
    average : decay of the averaged weights, which are the ones kept
    look_every : steps between looks at the test people
    """

    steps: int = 1500
    batch: int = 64
    rate: float = 2e-3
    decay: float = 5e-3
    margin: float = 0.35
    scale: float = 24.0
    blends: int = 400
    blend_views: int = 8
    heads: int = 500
    head_views: int = 8
    shares: tuple[float, float, float] = (0.4, 0.3, 0.3)
    average: float = 0.99
    look_every: int = 150


@dataclass
class Report:
    """What came of it: weights, steps, seconds of processor time, rates on the test people, notes."""

    weights: Path
    steps: int
    seconds: float
    people: dict[str, int]
    rates: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)


class ArcFace(nn.Module):
    """Directions of the persons, and the loss (eq. (3) of Deng et al. 2019)."""

    def __init__(self, people: int, scale: float) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(people, FEATURE_SIZE))
        self.scale = scale

    def forward(self, features: Tensor, person: Tensor, margin: float) -> Tensor:
        """() loss of unit `features` (B, 512) of the persons `person` (B,)."""
        cosine = (features @ F.normalize(self.directions, dim=1).T).clamp(-1 + 1e-6, 1 - 1e-6)
        own = cosine.gather(1, person[:, None])
        wider = torch.cos(torch.acos(own) + margin)
        # Beyond π the cosine would rise again: there the loss goes on as a straight line.
        wider = torch.where(own > np.cos(np.pi - margin), wider, own - np.sin(margin) * margin)
        return F.cross_entropy(self.scale * cosine.scatter(1, person[:, None], wider), person)


@dataclass
class Supply:
    """Pictures to learn from, person by person: lists of (K, 144, 144, 3), in three parts."""

    parts: dict[str, list[np.ndarray]]
    shares: tuple[float, ...]

    @property
    def people(self) -> int:
        """How many persons there are in all."""
        return sum(len(part) for part in self.parts.values())

    def batch(self, size: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(size, 3, 112, 112) in [0, 1] and (size,) numbers of the persons."""
        pictures, numbers, first = [], [], 0
        filled = {name: share for (name, part), share in zip(self.parts.items(), self.shares, strict=True) if part}
        total = sum(filled.values())
        counts = random.multinomial(size, [share / total for share in filled.values()])
        counted = dict(zip(filled, counts, strict=True))
        for name, part in self.parts.items():
            for _ in range(int(counted.get(name, 0))):
                who = int(random.integers(len(part)))
                numbers.append(first + who)
                pictures.append(vary(part[who][int(random.integers(len(part[who])))], random))
            first += len(part)
        return to_tensor(np.stack(pictures)), torch.tensor(numbers)


def to_tensor(pictures: np.ndarray) -> Tensor:
    """(N, 3, H, W) float32 in [0, 1] of (N, H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def train(folder: Path, out: Path, *, model: FaceModel, table: Path | None = None, settings: Settings | None = None,
          seed: int = 0, resume: bool = True, progress: Progress = silent) -> Report:
    """Train the encoder on the people in `folder`.

    Parameters
    ----------
    folder, table : see `ml_backend.recognise.faces.listed`
    out : folder; gets ``identity.safetensors``, ``identity.md``, ``curve.csv``, the faces found, and
        ``last.safetensors`` to resume from
    model : face model of the synthetic heads
    seed : of weights, made-up people, batches and variations
    resume : go on from ``last.safetensors`` where it is of the same settings

    Raises
    ------
    UserInputError
        If the folder or the table does not fit, or there are fewer than two persons to learn or to test on.
    """
    settings, out = settings or Settings(), Path(out)
    faces, notes = gather(listed(folder, table), out)
    train_faces, test_faces = faces.of(TRAIN), faces.of(TEST)
    if min(len(np.unique(part.person)) for part in (train_faces, test_faces)) < 2:
        raise UserInputError(f"{folder} needs at least two people to learn from and two others to test on.")
    supply = _supply(train_faces, model, settings, seed, out)
    run = _Run(supply, test_faces, settings, seed, out)
    if resume:
        run.resume()
    run.go(progress)
    report = Report(out / WEIGHTS, run.step, run.seconds,
                    {name: len(part) for name, part in supply.parts.items()}
                    | {"test": len(np.unique(test_faces.person)), "pictures": len(train_faces)},
                    run.rates(), notes)
    write_card(report, settings, faces, seed, out / CARD)
    return report


def _supply(faces: Faces, model: FaceModel, settings: Settings, seed: int, out: Path) -> Supply:
    real = [faces.pictures[faces.person == name] for name in np.unique(faces.person)]
    mixed = _made(out / "blends.npz", [settings.blends, settings.blend_views, seed, len(faces)],
                  lambda: blends.draw_blends(faces, settings.blends, settings.blend_views, seed=seed))
    drawn = _made(out / "heads.npz", [settings.heads, settings.head_views, seed, len(model.mean_shape)],
                  lambda: heads.draw_people(model, settings.heads, settings.head_views, seed=seed))
    return Supply(dict(zip(_PARTS, (real, list(mixed), list(drawn)), strict=True)), settings.shares)


def _made(path: Path, key: list[int], make: Any) -> np.ndarray:
    """Pictures that `make` makes, or those at `path` that were made with the same `key`."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            if "key" in stored and stored["key"].tolist() == key:
                return stored["pictures"]
    pictures = make()
    np.savez(path, pictures=pictures, key=np.array(key))
    return pictures


class _Run:
    """One training run."""

    def __init__(self, supply: Supply, test: Faces, settings: Settings, seed: int, out: Path, *,
                 widths: tuple[int, ...] = WIDTHS) -> None:
        self.supply, self.settings, self.seed, self.out = supply, settings, seed, out
        self.test = test.pick(per_person(test.person, test.file, 12, np.random.default_rng(0)))
        self.device = best_device()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder, self.head = FaceEncoder(widths), ArcFace(supply.people, settings.scale)
            self.average = FaceEncoder(widths)
        self.average.load_state_dict(self.encoder.state_dict())
        for network in (self.encoder, self.average, self.head):
            network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW([*self.encoder.parameters(), *self.head.parameters()], settings.rate,
                                           weight_decay=settings.decay)
        self.step, self.seconds, self.rows = 0, 0.0, []

    def go(self, progress: Progress) -> None:
        """Steps up to the last, with looks at the test people and a saved state now and then."""
        settings, losses = self.settings, []
        before, begun = self.seconds, time.process_time()
        try:
            while self.step < settings.steps:
                losses.append(self._step())
                self.step += 1
                self.seconds = before + time.process_time() - begun
                if self.step % settings.look_every == 0 or self.step == settings.steps:
                    self._look(float(np.mean(losses)))
                    losses = []
                    self.save()
                progress(self.step, settings.steps)
        except KeyboardInterrupt:
            self.save()
            raise

    def _step(self) -> float:
        settings, done = self.settings, self.step / self.settings.steps
        random = np.random.default_rng([self.seed, self.step])
        pictures, person = self.supply.batch(settings.batch, random)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate * min(done / 0.05, 1.0, 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done))) + 1e-6
        self.encoder.train()
        with autocast(self.device):
            features = self.encoder(pictures.to(self.device, memory_format=torch.channels_last))
        loss = self.head(features.float(), person.to(self.device), settings.margin * min(3 * done, 1.0))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.encoder.parameters(), 5.0)
        self.optimiser.step()
        self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.settings.average, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.state_dict().values(), self.encoder.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)

    @torch.no_grad()
    def features(self, *, varied: bool) -> np.ndarray:
        """(T, 512) of the test faces, as they are or under the training's variations."""
        random = np.random.default_rng(1)
        pictures = np.stack([vary(x, random) if varied else plain(x) for x in self.test.pictures])
        return encode_all(self.average, pictures, self.device)

    def rates(self) -> dict[str, dict[str, float]]:
        """Rates of the averaged weights on the test people."""
        found: dict[str, Rates | None] = {}
        for name, varied, across in (("one file", False, False), ("one file, varied", True, False),
                                     ("across files", False, True), ("across files, varied", True, True)):
            found[name] = verify(self.features(varied=varied), self.test.person, self.test.file, across=across)
        return {name: rate.as_dict() for name, rate in found.items() if rate is not None}

    def _look(self, loss: float) -> None:
        row: dict[str, float] = {"step": self.step, "seconds": round(self.seconds), "loss": round(loss, 4)}
        for name, rate in self.rates().items():
            row |= {f"{name} eer": rate["eer"], f"{name} tar": rate["accepted"]}
        self.rows.append(row)
        with (self.out / CURVE).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            writer.writeheader()
            writer.writerows(self.rows)

    def _key(self) -> str:
        return json.dumps([asdict(self.settings), self.seed, self.supply.people, list(self.encoder.widths)])

    def save(self) -> None:
        """Write the weights as they are in use, in half precision, and the state to go on from."""
        half = {k: v.half() if v.is_floating_point() else v for k, v in self.average.state_dict().items()}
        _write(self.out / WEIGHTS, half, {"schema": SCHEMA, "version": VERSION,
                                          "widths": " ".join(map(str, self.average.widths))})
        state = {f"{name}.{k}": v for name in ("encoder", "average", "head")
                 for k, v in getattr(self, name).state_dict().items()}
        for number, entries in self.optimiser.state_dict()["state"].items():
            state |= {f"adam.{number}.{k}": v for k, v in entries.items()}
        _write(self.out / STATE, state, {"schema": STATE_SCHEMA, "key": self._key(), "step": str(self.step),
                                         "seconds": str(self.seconds), "rows": json.dumps(self.rows)})

    def resume(self) -> None:
        """Go on where a run of the same settings stopped, if there is one."""
        try:
            with safe_open(str(self.out / STATE), framework="pt") as stream:
                notes = stream.metadata() or {}
                if notes.get("schema") != STATE_SCHEMA or notes.get("key") != self._key():
                    return
                state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, SafetensorError):
            # Nothing there, or damaged: the run begins anew.
            return
        for name in ("encoder", "average", "head"):
            getattr(self, name).load_state_dict({k[len(name) + 1:]: v for k, v in state.items()
                                                 if k.startswith(name + ".")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("adam."):
                _, number, entry = name.split(".")
                moments.setdefault(int(number), {})[entry] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step, self.seconds, self.rows = int(notes["step"]), float(notes["seconds"]), json.loads(notes["rows"])


@torch.no_grad()
def encode_all(encoder: nn.Module, pictures: np.ndarray, device: torch.device, batch: int = 32) -> np.ndarray:
    """(N, 512) features of pictures (N, H, W, 3) uint8."""
    return np.concatenate([encoder(to_tensor(pictures[i:i + batch]).to(device)).float().cpu().numpy()
                           for i in range(0, len(pictures), batch)])


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, str(part), metadata)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise UserInputError(f"Can't write {path} ({error}); free some space or choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def settings_for(steps: int | None) -> Settings:
    """The default settings with another number of steps.

    Raises
    ------
    UserInputError
        If it is no number of steps.
    """
    if steps is not None and steps < 1:
        raise UserInputError(f"--steps {steps} trains nothing; give 1 or more.")
    return replace(Settings(), steps=steps) if steps else Settings()
