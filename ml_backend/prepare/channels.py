"""Faces given as channels instead of pictures: FACEGOOD's rig weights and the tables of Live Link Face."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.audio.features import FPS, FRAME
from ml_backend.audio.load import Speech
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.metrics.landmarks import model_measures
from ml_backend.motion.network import POSE_SIZE
from ml_backend.motion.prepare import resample
from ml_backend.motion.shards import Shard

FACEGOOD_FPS = 30.0
FACEGOOD: dict[str, tuple[str, ...]] = {
    "jawForward": ("jaw_thrust_c",), "jawLeft": ("jaw_sideways_l",), "jawRight": ("jaw_sideways_r",),
    "jawOpen": ("mouth_stretch_c",), "mouthClose": ("mouth_chew_c",),
    "mouthFunnel": ("mouth_funnel_dl", "mouth_funnel_dr", "mouth_funnel_ul", "mouth_funnel_ur"),
    "mouthPucker": ("mouth_pucker_l", "mouth_pucker_r"),
    "mouthLeft": ("mouth_sideways_l",), "mouthRight": ("mouth_sideways_r",),
    "mouthSmileLeft": ("mouth_lipCornerPull_l",), "mouthSmileRight": ("mouth_lipCornerPull_r",),
    "mouthFrownLeft": ("mouth_lipCornerDepress_l", "mouth_lipCornerDepressFix_l"),
    "mouthFrownRight": ("mouth_lipCornerDepress_r", "mouth_lipCornerDepressFix_r"),
    "mouthDimpleLeft": ("mouth_dimple_l",), "mouthDimpleRight": ("mouth_dimple_r",),
    "mouthStretchLeft": ("mouth_lipStretch_l",), "mouthStretchRight": ("mouth_lipStretch_r",),
    "mouthRollLower": ("mouth_suck_dl", "mouth_suck_dr"), "mouthRollUpper": ("mouth_suck_ul", "mouth_suck_ur"),
    "mouthShrugLower": ("mouth_chinRaise_d",), "mouthShrugUpper": ("mouth_chinRaise_u",),
    "mouthPressLeft": ("mouth_press_l",), "mouthPressRight": ("mouth_press_r",),
    "mouthLowerDownLeft": ("mouth_lowerLipDepress_l",), "mouthLowerDownRight": ("mouth_lowerLipDepress_r",),
    "mouthUpperUpLeft": ("mouth_upperLipRaise_l",), "mouthUpperUpRight": ("mouth_upperLipRaise_r",)}
"""ARKit's channels by FACEGOOD's, the largest of those named; what FACEGOOD itself calls invalid is left out."""


@dataclass(frozen=True)
class Channels:
    """Weights (T, N) of the named ARKit channels at `fps`."""

    weights: np.ndarray
    names: list[str]
    fps: float


def read_facegood(table: Path, sound: Path) -> Channels:
    """The weights that belong to `sound` in FACEGOOD's `table`; raises `UserInputError` if there are none."""
    try:
        with np.load(table, allow_pickle=False) as data:
            rig = [str(name) for name in data["names"]]
            values = data[f"weights_{sound.stem}"].astype(np.float32)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserInputError(f"{table} holds no readable weights of {sound.stem}; leave {sound} out.") from error
    missing = [name for names in FACEGOOD.values() for name in names if name not in rig]
    if missing:
        raise UserInputError(f"{table} lacks the channel {missing[0]}; it is no table of FACEGOOD's rig.")
    columns = [values[:, [rig.index(name) for name in names]].max(1) for names in FACEGOOD.values()]
    return Channels(np.stack(columns, 1), list(FACEGOOD), FACEGOOD_FPS)


def read_live_link(table: Path) -> Channels:
    """The weights in a table of Live Link Face; its rate is counted from the time codes. Raises `UserInputError`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            head, *rows = [row for row in csv.reader(stream) if row]
        seconds = [row[0][:8] for row in rows]
        values = np.array([[float(value or 0) for value in row[2:len(head)]] for row in rows], np.float32)
        if not len(rows) or values.shape[1] != len(head) - 2:
            raise ValueError("rows of different lengths")
    except (ValueError, IndexError, OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"{table} is no readable table of Live Link Face ({error}); record it again.") from error
    names = [name[:1].lower() + name[1:] for name in head[2:]]
    counts = np.unique(seconds, return_counts=True)[1]
    # The first and the last second are cut off.
    fps = float(np.median(counts[1:-1])) if len(counts) > 2 else 60.0
    return Channels(values, names, fps)


def make_shard(channels: Channels, speech: Speech, model: FaceModel, *, speaker: str, split: str) -> Shard:
    """A shard of `model`'s expressions; what the channels don't tell (the pose among it) is marked as not known.

    Raises
    ------
    UserInputError
        If the channels are not those of the model, or there is less than a second of them and sound together.
    """
    rows = [index for index, name in enumerate(channels.names) if name in model.names]
    if not rows:
        raise UserInputError(f"The face model {model.name} has none of the channels that {speaker}'s table gives.")
    frames = min(int(len(channels.weights) * FPS / channels.fps), len(speech.samples) // FRAME)
    if frames < FPS:
        raise UserInputError(f"The recording of {speaker} has less than a second of sound and face together; "
                             "leave it out.")
    given = resample(channels.weights, np.arange(frames) / FPS * channels.fps).clip(0, 1)
    expression = np.zeros((frames, len(model.names)), np.float32)
    known = np.zeros(len(model.names) + POSE_SIZE, bool)
    for row in rows:
        place = model.names.index(channels.names[row])
        expression[:, place], known[place] = given[:, row], bool(given[:, row].any())
    samples = np.clip(np.round(speech.samples[:frames * FRAME] * 32767), -32768, 32767).astype(np.int16)
    return Shard(samples, expression, np.array(model.names), np.zeros((frames, POSE_SIZE), np.float32),
                 model_measures(model, expression), np.ones(frames, np.float32), np.array(speaker), np.array(split),
                 known=known)
