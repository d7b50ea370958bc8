"""Light and low-frequency albedo from vertex colours: C = t Σ γ_b Φ_b(n) (Yi et al. 2020, §3.1), solved in turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import spherical_harmonics
from ml_backend.reconstruct.posed import Posed

ROUNDS = 8
MOST_SAMPLES = 1000
"""Vertices of a view, roughly."""
TRIM = 0.85
"""Share of the samples that stays in after sorting by error: highlights, hair, beards and glasses fall out."""
NOISE = 0.06
EFFECTIVE = 60.0
"""Vertices next to each other say the same: all of them count as this many independent ones."""
EXPOSURE_SD, TINT_SD = 0.25, 0.06
BAND_SD = np.array([0.5, 0.25])
"""Standard deviations of the irradiance by the first and second band, relative to the constant one."""
FLOOR = 0.25
SHADED = {"eye_left": 0.78, "eye_right": 0.78, "teeth_upper": 0.85, "teeth_lower": 0.8}
"""Parts that are white in everybody, and how much of the light gets past lids and lips to them (by eye)."""
MOST_DAMPING = 16
"""Damping grows 2.5 times at a step, so that in the end only the constant band is left, which is positive."""


def estimate(views: Sequence[Posed], model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Light (9, 3) and texture coefficients (J,) that explain the colours of the skin in `views`.

    Returns
    -------
    light : (9, 3) float32, camera space; irradiance is positive in every direction
    texture : (J,) float32
    """
    colour, basis, vertex, weight = _samples(views, model)
    coefficients = np.zeros(len(model.texture_basis))
    light = np.zeros((9, 3))
    light[0] = 1 / _constant()
    if len(colour) < 50:
        return light.astype(np.float32), coefficients.astype(np.float32)
    mean = model.texture_mean[vertex].astype(float)
    # Half as much to move as in double precision, which is what takes the time.
    modes = np.ascontiguousarray(model.texture_basis[:, vertex], np.float32)
    keep, plain = np.ones(len(colour)), mean
    for _ in range(ROUNDS):
        light = _positive(colour, np.clip(plain, 0.02, 1.2), basis, weight * keep)
        irradiance = basis @ light
        coefficients = _texture(colour - mean * irradiance, modes * irradiance.astype(np.float32), weight * keep)
        plain = mean + np.tensordot(coefficients.astype(np.float32), modes, 1)
        error = np.abs(colour - plain * irradiance).sum(1)
        keep = (error <= np.quantile(error, TRIM)).astype(float)
    return light.astype(np.float32), coefficients.astype(np.float32)


def albedo(model: FaceModel, texture: np.ndarray) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: T̄ + B_tex δ for coefficients `texture` (J,)."""
    return np.clip(model.texture_mean + np.tensordot(texture, model.texture_basis, 1), 0, 1).astype(np.float32)


def neutral(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split `light` (9, 3) into one that is white on a face towards the camera, (9, 3) float32, and its tint (3,).

    Light and skin explain a tint alike, and the skin of a model's mean is nobody's: cameras are white-balanced, so the
    tint is the skin's. Otherwise teeth and eyes, which are white by nature, come out in the complementary colour.
    """
    front = irradiance(np.array([[0.0, 0.0, -1.0]]), light)[0]
    tint = front / front.mean()
    return (light / tint).astype(np.float32), tint


def tinted_albedo(model: FaceModel, texture: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: as `albedo`, skin and mouth in the person's `tint` (3,), eyes and teeth without it.

    Eyes and teeth get the share of the light that lids, lashes and lips let through.
    """
    colours = albedo(model, texture)
    for part, share in SHADED.items():
        if part in model.part_names:
            colours[model.part(part)] *= share / tint
    return np.clip(colours * tint, 0, 1).astype(np.float32)


def irradiance(normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(N, 3) light on surfaces with unit `normals` (N, 3) in camera space, never below a small positive share."""
    value = spherical_harmonics(normals) @ light
    return np.maximum(value, FLOOR * np.maximum(light[0] * _constant(), 1e-3))


def _constant() -> float:
    return float(spherical_harmonics(np.array([[0.0, 0.0, -1.0]]))[0, 0])


def _samples(views: Sequence[Posed], model: FaceModel) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colours (N, 3), SH values (N, 9), vertex (N,) and weights (N,) of well seen skin of all views."""
    trust = skin_trust(model)
    colours, bases, vertices, weights = [], [], [], []
    for view in views:
        seen = np.flatnonzero((trust > 0.02) & (view.facing > 0.3) & view.inside(view.pixel))
        # Neighbours say the same, so that every second or third vertex tells as much as all.
        seen = seen[:: max(1, len(seen) // MOST_SAMPLES)]
        colours.append(view.colours(view.pixel[seen]))
        bases.append(spherical_harmonics(view.normals[seen]))
        vertices.append(seen)
        weights.append(trust[seen] * view.facing[seen])
    return (np.concatenate(colours).astype(float), np.concatenate(bases), np.concatenate(vertices),
            np.concatenate(weights))


def skin_trust(model: FaceModel) -> np.ndarray:
    """(V,) how much a vertex speaks for the light: face skin fully; lips, brows and surroundings of the eyes little."""
    trust = np.clip(model.region("face") * 2 - 1, 0, 1)
    names = [str(name) for name in model.region_names]
    for name, share in (("lips", 0.15), ("brow", 0.3), ("eyes", 0.3)):
        if name in names:
            trust = trust * (1 - (1 - share) * np.clip(model.region(name), 0, 1))
    parts = [str(name) for name in model.part_names]
    return trust * model.part("skin") if "skin" in parts else trust


def _positive(colour: np.ndarray, albedo_: np.ndarray, basis: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Light by least squares, with as much damping of the higher bands as positive irradiance needs."""
    directions = _sphere(300)
    sphere = spherical_harmonics(directions)
    damping = 1.0
    light = _light(colour, albedo_, basis, weight, damping)
    for _ in range(MOST_DAMPING):
        value = sphere @ light
        if bool((value > FLOOR * value.mean(0)).all()):
            break
        damping *= 2.5
        light = _light(colour, albedo_, basis, weight, damping)
    return light


def _light(colour: np.ndarray, albedo_: np.ndarray, basis: np.ndarray, weight: np.ndarray, damping: float
           ) -> np.ndarray:
    """(9, 3): data, bands damped, exposure near 1, little tint."""
    unit = weight * (EFFECTIVE / max(weight.sum(), 1e-9)) / NOISE**2
    constant = _constant()
    gram, right = np.zeros((27, 27)), np.zeros(27)
    sizes = np.abs(spherical_harmonics(_sphere(300))).mean(0)
    band = np.array([0.0] + [damping / BAND_SD[0] ** 2] * 3 + [damping / BAND_SD[1] ** 2] * 5) * sizes**2
    for channel in range(3):
        rows = albedo_[:, channel, None] * basis
        block = slice(9 * channel, 9 * channel + 9)
        gram[block, block] = (rows * unit[:, None]).T @ rows + np.diag(band)
        right[block] = (rows * unit[:, None]).T @ colour[:, channel]
        gram[9 * channel, 9 * channel] += constant**2 / EXPOSURE_SD**2
        right[9 * channel] += constant / EXPOSURE_SD**2
    for coefficient in range(9):
        # One lamp has one colour: what the channels disagree on is rather skin, blood and the camera's curve.
        first = np.arange(3) * 9 + coefficient
        gram[np.ix_(first, first)] += (np.eye(3) - 1 / 3) * sizes[coefficient] ** 2 / TINT_SD**2
    return np.linalg.solve(gram, right).reshape(3, 9).T


def _texture(residual: np.ndarray, modes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(J,) ridge regression of `residual` (N, 3) on `modes` (J, N, 3), prior N(0, 1)."""
    root = np.sqrt(weight * (EFFECTIVE / max(weight.sum(), 1e-9)) / NOISE**2)[:, None]
    rows = (modes * root.astype(np.float32)).reshape(len(modes), -1)
    pull = rows @ (residual * root).astype(np.float32).ravel()
    return np.clip(np.linalg.solve((rows @ rows.T).astype(float) + np.eye(len(modes)), pull.astype(float)), -3, 3)


def _sphere(count: int) -> np.ndarray:
    """(count, 3) directions spread evenly (Fibonacci lattice)."""
    number = np.arange(count) + 0.5
    height, turn = 1 - 2 * number / count, np.pi * (1 + 5**0.5) * number
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), height, radius * np.sin(turn)], 1)
