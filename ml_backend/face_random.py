"""Plausible random people of a face model, as characters that rigs and `parley talk --character` take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml_backend.artefacts.character import Character
from ml_backend.face_model.model import FaceModel
from ml_backend.talk.builtin import builtin_character

SHAPE, COLOUR, LIMIT = 1.0, 0.85, 2.1
"""Standard deviations of the coefficients, and how many of them any may lie from 0: tails of modes are no faces."""

LOPSIDED, FINE = 0.35, 0.6
"""Shares of the spread of antisymmetric shape modes, which are mostly how people hold and turn their heads, and of the
last quarter of the modes, which hold single clips' tracking errors."""

PATCHY, TONES = 0.25, 2
"""Share of the spread of texture modes of the face after the first `TONES`: shadows, glasses, strands."""

HUE = 0.3
"""Share of a skin tone's departure from the mean hue that is kept: the rest is white balance of the clips."""

HAIR_STREAM = 17
"""Makes the random numbers of the hair others than those of the person."""

SAME_TONE = 0.7
"""Exponent by which ears and neck, whose colour is that of the face's edge, are drawn to the face's tone."""

FAIREST = 0.09, 1.1
"""Mean luminance of the fairest hair on the darkest skin, and how it rises with the skin's."""

BLACKEST = (0.050, 0.042, 0.038)
"""RGB of black hair."""

DARKEST, LIGHTEST = 0.27, 0.68
"""Range of a skin's mean luminance."""


def sample_person(model: FaceModel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Identity (I,) and texture (J,) coefficients of a random person, float32; the same for the same `seed`."""
    random = np.random.default_rng(seed)
    count = len(model.identity_basis)
    identity = SHAPE * _truncated(random, count) * np.where(np.arange(count) < count - count // 4, 1.0, FINE)
    identity *= np.where(antisymmetric(model), LOPSIDED, 1.0)
    texture = COLOUR * _truncated(random, len(model.texture_basis))
    patchy = (np.arange(len(texture)) >= TONES) & _on_face(model)
    texture *= np.where(patchy, PATCHY, 1.0)
    return identity.astype(np.float32), texture.astype(np.float32)


def person_albedo(model: FaceModel, texture: np.ndarray) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: the mean texture with coefficients `texture` (J,), its skin in a natural tone."""
    colours = model.texture_mean + np.tensordot(texture, model.texture_basis, 1)
    face = _bare_face(model)
    tone, usual = colours[face].mean(0), model.texture_mean[face].mean(0)
    light = float(tone.mean())
    hue = (tone / light) / (usual / usual.mean())
    gain = np.clip(light, DARKEST, LIGHTEST) / light * hue ** (HUE - 1)
    skin = np.isin(model.vertex_part, [i for i, name in enumerate(model.part_names) if _is_skin(str(name))])
    grown = _scalp(model)[:, None]
    colours = np.where(skin[:, None], colours * (1 + (1 - grown) * (gain - 1)), colours)
    colours = _one_tone(model, colours, skin, face, grown)
    return np.clip(colours, 0, 1).astype(np.float32)


def _one_tone(
    model: FaceModel, colours: np.ndarray, skin: np.ndarray, face: np.ndarray, grown: np.ndarray
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
        scale = min(1.0, most / max(float(colours[hair].mean()), 1e-3))
        colours = colours * (1 + grown * (scale - 1))
    return colours


def _scalp(model: FaceModel) -> np.ndarray:
    """(V,) where hair grows, 0 everywhere for a model that doesn't say."""
    return model.region("scalp") if "scalp" in model.region_names else np.zeros(len(model.mean_shape), np.float32)


def _is_skin(part: str) -> bool:
    return part == "skin" or part.startswith(("lids", "ear"))


def _bare_face(model: FaceModel) -> np.ndarray:
    """(V,) bool: skin of the face without brows, lips and the surroundings of the eyes."""
    bare = (model.region("face") > 0.5) & (model.region("lips") < 0.05)
    for name in ("brow", "eyes"):
        if name in model.region_names:
            bare &= model.region(name) < 0.05
    return bare & model.part("skin") if "skin" in model.part_names else bare


def _on_face(model: FaceModel) -> np.ndarray:
    """(J,) bool: texture modes that colour the bare face; the others are of hair or eyes alone."""
    return np.abs(model.texture_basis[:, _bare_face(model)]).max((1, 2), initial=0) > 0.005


def random_character(
    model: FaceModel, seed: int, path: Path, size: int = 512, *, hair: str | None = None, styles: Sequence[str] = ()
) -> Character:
    """Sample a person, light it as the built-in head is lit, and save the character to `path`.

    Parameters
    ----------
    hair : hairstyle, "" = none; None = drawn out of `styles`, see `ml_backend.face_model.look.hairstyles`
    """
    identity, texture = sample_person(model, seed)
    if hair is None:
        # Of its own stream: hair must not change who a seed is.
        hair = str(np.random.default_rng([seed, HAIR_STREAM]).choice(styles)) if styles else ""
    albedo = person_albedo(model, texture)
    return builtin_character(model, size, path, identity=identity, albedo=albedo, hair=hair)


def antisymmetric(model: FaceModel) -> np.ndarray:
    """(I,) bool: the modes that move the two halves of the face apart rather than alike."""
    basis = model.identity_basis[:, model.landmark_vertex]
    points = model.mean_shape[model.landmark_vertex]
    distance = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=-1)
    swapped = basis[:, distance.argmin(1)] * [-1, 1, 1]
    return (basis * swapped).sum((1, 2)) < 0


def _truncated(random: np.random.Generator, count: int) -> np.ndarray:
    """(count,) draws of N(0, 1), those beyond `LIMIT` drawn again."""
    values = random.normal(size=count)
    while (far := np.abs(values) > LIMIT).any():
        values[far] = random.normal(size=int(far.sum()))
    return values
