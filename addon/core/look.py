"""Look: what the built-in head wears when it stands in for nobody: detail image, eyes' places, hair.

A head over someone's film or photo has none of it: there the material is eq. C = t Σ γ_b Φ_b(n) and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import hair
from .face_model import FaceModel

DETAIL, HAIR = "{}_detail.png", "{}_hair.npz"
SCALP = 0.95
"""Region weight from which a vertex shows nothing but hair."""
DARK = (0.13, 0.09, 0.07)


@dataclass(frozen=True)
class Look:
    """Files beside a face model; either may be missing.

    Attributes
    ----------
    detail : image over the model's texture coordinates: RGB / 2 multiplies the vertices' colours, alpha is hair
    wig : hairstyles to choose from, None where the model has none
    """

    detail: Path | None = None
    wig: hair.Wig | None = None


def beside(model_path: Path | str, model: FaceModel) -> Look:
    """The look that lies beside the face model `model`, read from `model_path`; raises `ArtefactError`."""
    folder, name = Path(model_path).parent, str(model.name)
    detail, wig = folder / DETAIL.format(name), folder / HAIR.format(name)
    return Look(detail if detail.is_file() else None,
                hair.load(wig, len(model.mean_shape)) if wig.is_file() else None)


def hair_colour(model: FaceModel, albedo: np.ndarray) -> tuple[float, float, float]:
    """Mean colour of the scalp in `albedo` (V, 3), display-encoded; a dark brown where the model knows no scalp."""
    if "scalp" in model.region_names:
        grown = model.region("scalp") > SCALP
        if grown.any():
            red, green, blue = (float(value) for value in albedo[grown].mean(0))
            return red, green, blue
    return DARK
