"""Amounts that stay adjustable after a bake: what each is called, and which of them scale which shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST = 3.0


@dataclass(frozen=True)
class Amount:
    """One factor.

    Attributes
    ----------
    key : name of the custom property that holds it
    title, about : for the panel
    """

    key: str
    title: str
    about: str


FACE: dict[str, Amount] = {
    "mouth": Amount("parley_mouth", "Mouth", "How far mouth, jaw and tongue go; 1 = as performed, 0 = not at all"),
    "upper_face": Amount("parley_upper_face", "Upper Face",
                         "How far brows, cheeks, nose and lids go; 1 = as performed, 0 = not at all"),
    "brows": Amount("parley_brows", "Brows", "A further factor on the brows alone; 1 = as performed"),
    "blinks": Amount("parley_blinks", "Blinks", "How far the lids close; 1 = as performed, 0 = the eyes stay open"),
    "gaze": Amount("parley_gaze", "Gaze", "How far the eyes turn; 1 = as performed, 0 = they look straight ahead"),
}
HEAD: dict[str, Amount] = {
    "nod": Amount("parley_nod", "Head Nod", "How far the head nods; 1 = as performed, 0 = not at all"),
    "turn": Amount("parley_turn", "Head Turn", "How far the head turns; 1 = as performed, 0 = not at all"),
    "tilt": Amount("parley_tilt", "Head Tilt", "How far the head tilts; 1 = as performed, 0 = not at all"),
    "move": Amount("parley_move", "Head Movement", "How far the head moves through space; 1 = as performed, 0 = it "
                                                   "stays where it was put"),
}
ALL: dict[str, Amount] = {**FACE, **HEAD}
_UPPER = ("eyeSquint", "eyeWide", "cheekSquint", "noseSneer")


def factors(shape: str) -> tuple[str, ...]:
    """Names in `FACE` of the amounts that scale the ARKit shape (one or two)."""
    if shape.startswith("eyeBlink"):
        return ("blinks",)
    if shape.startswith("eyeLook"):
        return ("gaze",)
    if shape.startswith("brow"):
        return ("upper_face", "brows")
    return ("upper_face",) if shape.startswith(_UPPER) else ("mouth",)


def factors_of(sources: Mapping[str, float]) -> tuple[str, ...]:
    """The amounts of a key that shows several shapes: those of the part of the face that most of it belongs to."""
    sums: dict[tuple[str, ...], float] = {}
    for shape, weight in sources.items():
        part = factors(shape)
        sums[part] = sums.get(part, 0.0) + abs(weight)
    return max(sums, key=lambda part: sums[part]) if sums else ("mouth",)
