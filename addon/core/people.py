"""Plausible random people of a face model, by its own statistics: the same people that ``parley face random`` makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .character import Character, average
from .errors import UserInputError
from .face_model import SCHEMA, VERSION, FaceModel, index_of
from .npz import load_npz, require

BASES = ("identity_basis", "texture_basis", "landmark_vertex")
COLOUR, LIMIT = 0.85, 2.1
"""Standard deviation of the texture's coefficients, and how many of them any may lie from 0."""
LOPSIDED, FINE = 0.35, 0.6
"""Shares of the spread of antisymmetric shape modes, and of the last quarter of the modes."""
PATCHY, TONES = 0.25, 2
"""Share of the spread of the face's texture modes after the first `TONES`."""
HUE, DARKEST, LIGHTEST = 0.3, 0.27, 0.68
"""Share of a skin tone's departure from the mean hue that is kept; range of a skin's mean luminance."""
SAME_TONE, FAIREST = 0.7, (0.09, 1.1)
"""How far ears and neck are drawn to the face's tone; luminance of the fairest hair, its rise with the skin's."""
BLACKEST = (0.050, 0.042, 0.038)
"""RGB that no hair falls below."""
HAIR_STREAM = 17
"""Makes the random numbers of the hair others than those of the person."""


def person(model: FaceModel, path: Path | str, seed: int, styles: Sequence[str] = ()) -> Character:
    """A random person of `model`, whose bases are read from its file `path`; the same for the same `seed` ≥ 0.

    `styles` are the hairstyles to draw one from; without any the head is bald.

    Raises
    ------
    ArtefactError, UserInputError
        If the file's bases don't fit the model, or it has none: then all its people look alike.
    """
    bases = load_npz(path, SCHEMA, VERSION, BASES)
    identity, texture, marks = (bases[name] for name in BASES)
    vertices = len(model.mean_shape)
    for name, basis in (("identity_basis", identity), ("texture_basis", texture)):
        require(basis.ndim == 3 and basis.shape[1:] == (vertices, 3), path, f"{name} is not (n, {vertices}, 3)")
        require(bool(np.isfinite(basis).all()), path, f"{name} holds values that are no numbers")
    require(marks.ndim == 1 and bool(((marks >= 0) & (marks < vertices)).all()), path, "a landmark names no vertex")
    if not np.any(identity):
        raise UserInputError(f"The face model {model.name} has no statistics of people; choose another one.")
    random = np.random.default_rng(seed)
    shape = model.mean_shape + np.tensordot(_shape(random, model, identity, marks), identity, 1)
    colours = model.texture_mean + np.tensordot(_tone(random, model, texture), texture, 1)
    # Of its own stream: hair must not change who a seed is.
    hair = str(np.random.default_rng([seed, HAIR_STREAM]).choice(styles)) if styles else ""
    return replace(average(model), neutral_shape=shape.astype(np.float32), low_albedo=_natural(model, colours),
                   hair=np.array(hair))


def _shape(random: np.random.Generator, model: FaceModel, basis: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """(I,) identity coefficients."""
    count = len(basis)
    drawn = _truncated(random, count) * np.where(np.arange(count) < count - count // 4, 1.0, FINE)
    return (drawn * np.where(_antisymmetric(model, basis, marks), LOPSIDED, 1.0)).astype(np.float32)


def _tone(random: np.random.Generator, model: FaceModel, basis: np.ndarray) -> np.ndarray:
    """(J,) texture coefficients."""
    drawn = COLOUR * _truncated(random, len(basis))
    on_face = np.abs(basis[:, _bare_face(model)]).max((1, 2), initial=0) > 0.005
    return (drawn * np.where((np.arange(len(basis)) >= TONES) & on_face, PATCHY, 1.0)).astype(np.float32)


def _natural(model: FaceModel, colours: np.ndarray) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: `colours` (V, 3) with their skin in a natural tone."""
    face = _bare_face(model)
    tone, usual = colours[face].mean(0), model.texture_mean[face].mean(0)
    light = float(tone.mean())
    hue = (tone / light) / (usual / usual.mean())
    gain = np.clip(light, DARKEST, LIGHTEST) / light * hue ** (HUE - 1)
    names = [str(name) for name in model.part_names]
    skin = np.isin(model.vertex_part, [k for k, name in enumerate(names) if name == "skin"
                                       or name.startswith(("lids", "ear"))])
    grown = (model.region("scalp") if "scalp" in model.region_names else np.zeros(len(colours), np.float32))[:, None]
    colours = np.where(skin[:, None], colours * (1 + (1 - grown) * (gain - 1)), colours)
    return np.clip(_one_tone(model, colours, skin, face, grown), 0, 1).astype(np.float32)


def _one_tone(model: FaceModel, colours: np.ndarray, skin: np.ndarray, face: np.ndarray, grown: np.ndarray
              ) -> np.ndarray:
    """`colours` (V, 3) with ears and neck nearer to the face's tone, and hair no lighter than goes with the skin."""
    tone = colours[face].mean(0)
    around = (model.region("face") < 0.02) & skin & (grown[:, 0] < 0.02)
    if around.any():
        nearer = (tone / np.maximum(colours[around].mean(0), 0.05)) ** SAME_TONE
        share = ((1 - model.region("face")) * skin)[:, None] * (1 - grown)
        colours = colours * (1 + share * (nearer - 1))
    hair = grown[:, 0] > 0.95
    # Far out the hair's mode runs through zero, the blue last.
    colours = np.where(grown > 0.5, np.maximum(colours, BLACKEST), colours)
    colours[:, 2] = np.where(grown[:, 0] > 0.5, np.minimum(colours[:, 2], 0.9 * colours[:, 1]), colours[:, 2])
    if hair.any():
        most = FAIREST[0] + FAIREST[1] * max(float(tone.mean()) - DARKEST, 0)
        colours = colours * (1 + grown * (min(1.0, most / max(float(colours[hair].mean()), 1e-3)) - 1))
    return colours


def _bare_face(model: FaceModel) -> np.ndarray:
    """(V,) bool: skin of the face without brows, lips and the surroundings of the eyes."""
    bare = (model.region("face") > 0.5) & (model.region("lips") < 0.05)
    for name in ("brow", "eyes"):
        if name in model.region_names:
            bare &= model.region(name) < 0.05
    return bare & (model.vertex_part == index_of(model.part_names, "skin")) if "skin" in model.part_names else bare


def _antisymmetric(model: FaceModel, basis: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """(I,) bool: the modes that move the two halves of the face apart rather than alike."""
    points, moves = model.mean_shape[marks], basis[:, marks]
    distance = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=-1)
    swapped = moves[:, distance.argmin(1)] * [-1, 1, 1]
    return (moves * swapped).sum((1, 2)) < 0


def _truncated(random: np.random.Generator, count: int) -> np.ndarray:
    """(count,) draws of N(0, 1), those beyond `LIMIT` drawn again."""
    values = random.normal(size=count)
    while (far := np.abs(values) > LIMIT).any():
        values[far] = random.normal(size=int(far.sum()))
    return values
