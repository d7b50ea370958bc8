"""Random heads of the built-in model for the round trip: person, expression, pose, camera, light and background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, save_fields
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import neutral
from ml_backend.face_random import person_albedo, sample_person
from ml_backend.talk.builtin import portrait_position

SCHEMA, VERSION = "parley.benchmark_heads", 1
SIZE = 384
"""Pixels: side of a picture."""
MOST_YAW, MOST_PITCH, MOST_ROLL = 40.0, 15.0, 12.0
FOCALS = (1.4, 2.8)
"""Focal lengths in sides of the picture, from a phone to a portrait lens; the tracker is not told."""
FACE_SHARE = (0.32, 0.48)
"""Height of the face from brow to chin in heights of the picture."""
FACE_HEIGHT = 0.13
OFFSET = 0.06
"""How far the head may lie off the picture's middle, in sides of it."""
JAW = 0.6, 0.8
"""How often the jaw is open, and how far at most."""
LIPS = {"mouthSmile": 0.3, "mouthPucker": 0.25, "mouthFunnel": 0.1, "mouthFrown": 0.1, "mouthStretch": 0.05}
"""Shapes of the lips that exclude each other, and how often each is in use, up to 1."""
BROWS = {("browInnerUp",): 0.2, ("browInnerUp", "browOuterUp"): 0.2, ("browDown",): 0.2}
"""The same for the brows: worried, surprised, angry."""
SHUT, WINK = 0.3, 0.1
"""How often both lids are lowered, or one."""
ACCENTS = {
    "jawForward": 0.5, "jawLeft": 0.5, "jawRight": 0.5, "mouthLeft": 0.6, "mouthRight": 0.6, "cheekPuff": 0.6,
    "mouthRollLower": 0.5, "mouthRollUpper": 0.5, "mouthShrugLower": 0.6, "mouthShrugUpper": 0.5, "mouthClose": 0.5,
    "eyeSquint": 0.7, "eyeWide": 0.7, "cheekSquint": 0.6, "noseSneer": 0.6, "mouthDimple": 0.5, "mouthPress": 0.5,
    "mouthUpperUp": 0.6, "mouthLowerDown": 0.7,
}
"""Everything else, and its greatest weight: a face shows up to `MOST_ACCENTS` of them beside the above."""
MOST_ACCENTS = 3
SIDES = ("Left", "Right")


@dataclass(frozen=True)
class Heads:
    """N heads. Everything that is needed to draw them, and what a tracker has to find again.

    Attributes
    ----------
    identity : (N, I); texture : (N, J); expression : (N, K); names : (K,) str
    pose : (N, 6) rad and m; focal : (N,) px; light : (N, 9, 3)
    neutral : (N, V, 3) m; albedo : (N, V, 3)
    background : (N, 2, 3) colours at the top and at the bottom, in [0, 1]
    hair : (N,) str, hairstyles
    """

    identity: np.ndarray
    texture: np.ndarray
    expression: np.ndarray
    names: np.ndarray
    pose: np.ndarray
    focal: np.ndarray
    light: np.ndarray
    neutral: np.ndarray
    albedo: np.ndarray
    background: np.ndarray
    hair: np.ndarray

    def __len__(self) -> int:
        return len(self.pose)


def save(heads: Heads, path: Path) -> None:
    """Write `heads` to `path`."""
    save_fields(heads, path, SCHEMA, VERSION)


def load(path: Path) -> Heads:
    """Read heads; raises `ArtefactError`."""
    return load_fields(Heads, path, SCHEMA, VERSION)


def draw(model: FaceModel, count: int, seed: int, styles: Sequence[str] = ()) -> Heads:
    """`count` random heads of `model`, with hair of one of the `styles`; the same for the same `seed`."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, np.ndarray]] = []
    for number in range(count):
        identity, texture = sample_person(model, seed * 1_000_003 + number)
        focal = SIZE * random.uniform(*FOCALS)
        rows.append({
            "identity": identity, "texture": texture, "expression": random_expression(model.names, random),
            "pose": random_pose(model, focal, random), "focal": np.array(focal), "light": random_light(random),
            "neutral": neutral(model, identity), "albedo": person_albedo(model, texture),
            "background": random.uniform(0.1, 0.9, (2, 3)),
        })
    stacked = {field.name: np.stack([row[field.name] for row in rows]).astype(np.float32)
               for field in fields(Heads) if field.name not in ("names", "hair")}
    hair = np.array([str(random.choice(styles)) if styles else "" for _ in range(count)])
    return Heads(names=np.array(model.names), hair=hair, **stacked)


def random_expression(names: list[str], random: np.random.Generator) -> np.ndarray:
    """(K,) weights of a face that could be seen in a conversation: few channels at once, sides nearly alike."""
    values = dict.fromkeys(names, 0.0)
    values["jawOpen"] = random.uniform(0, JAW[1]) * (random.random() < JAW[0])
    for name in random.permutation(sorted(ACCENTS))[: random.integers(MOST_ACCENTS + 1)]:
        _set(values, str(name), random.uniform(0, ACCENTS[str(name)]), random)
    for choice in (LIPS, BROWS):
        _one_of(values, choice, random)
    _eyes(values, random)
    # Shutting lips that are not open, or widening lids that are shut, is no expression.
    values["mouthClose"] *= values["jawOpen"]
    for side in SIDES:
        values["eyeWide" + side] *= values["eyeBlink" + side] == 0
    return np.array([min(values[name], 1.0) for name in names])


def _set(values: dict[str, float], name: str, weight: float, random: np.random.Generator) -> None:
    """Give `name`, or its left and right channel within a fifth of each other, a `weight`."""
    if name in values:
        values[name] = weight
        return
    for side in SIDES:
        values[name + side] = weight * random.uniform(0.8, 1.0)


def _one_of(values: dict[str, float], choice: dict, random: np.random.Generator) -> None:
    """Put one of the exclusive gestures of `choice` into `values`, or none."""
    chosen = random.random()
    for gesture, share in choice.items():
        if chosen < share:
            weight = random.uniform(0.0, 1.0)
            for name in (gesture,) if isinstance(gesture, str) else gesture:
                _set(values, name, weight * random.uniform(0.7, 1.0), random)
            return
        chosen -= share


def _eyes(values: dict[str, float], random: np.random.Generator) -> None:
    kind, weight = random.random(), random.uniform(0, 1)
    if kind < SHUT:
        _set(values, "eyeBlink", weight, random)
    elif kind < SHUT + WINK:
        values["eyeBlink" + SIDES[int(random.integers(2))]] = weight
    across, down = random.uniform(-0.5, 0.5), random.uniform(-0.3, 0.4)
    for side, outward in zip(SIDES, (across, -across), strict=True):
        values[f"eyeLookOut{side}"], values[f"eyeLookIn{side}"] = max(outward, 0), max(-outward, 0)
        values[f"eyeLookDown{side}"], values[f"eyeLookUp{side}"] = max(down, 0), max(-down, 0)


def random_pose(model: FaceModel, focal: float, random: np.random.Generator) -> np.ndarray:
    """(6,) rad and m: within the angles named above, the face near the picture's middle."""
    angles = np.radians(random.uniform(-1, 1, 3) * [MOST_PITCH, MOST_YAW, MOST_ROLL])
    depth = focal * FACE_HEIGHT / (SIZE * random.uniform(*FACE_SHARE))
    place = portrait_position(model).astype(float)
    place[:2] += random.uniform(-OFFSET, OFFSET, 2) * SIZE * depth / focal
    return np.array([*angles, *place[:2], depth])


def random_light(random: np.random.Generator) -> np.ndarray:
    """(9, 3): light from all sides and two lamps before the face, of slightly different colours."""
    light = np.zeros((9, 3))
    light[0] = random.uniform(0.4, 0.65) / (np.pi * 0.282095)
    for strength in (random.uniform(0.3, 0.8), random.uniform(0.0, 0.4)):
        direction = np.array([random.uniform(-1, 1), random.uniform(-0.9, 0.4), random.uniform(-1.0, -0.3)])
        colour = strength * random.uniform(0.9, 1.05, 3)
        light += lobe(direction / np.linalg.norm(direction))[:, None] * colour
    return light


def lobe(direction: np.ndarray) -> np.ndarray:
    """(9,) spherical-harmonics coefficients of a lamp in `direction` (3,), a unit vector from the face."""
    x, y, z = direction
    return np.array([0.282095, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z,
                     0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y)])
