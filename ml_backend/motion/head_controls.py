"""What an animator turns on head, eyes and brows: amounts, each 1 as the person's and 0 for none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ml_backend.errors import UserInputError

AXIS_NAMES = ("pitch", "yaw", "roll", "x", "y", "z")
MOST = 3.0


@dataclass(frozen=True)
class PoseAmount:
    """How far the head leaves its mean on each axis, times the person's way; each in [0, 3].

    Raises
    ------
    UserInputError
        For a number out of range.
    """

    pitch: float = 1.0
    yaw: float = 1.0
    roll: float = 1.0
    x: float = 1.0
    y: float = 1.0
    z: float = 1.0

    def __post_init__(self) -> None:
        for name in AXIS_NAMES:
            _check("--pose-amount", getattr(self, name), f" for {name}")

    def array(self) -> np.ndarray:
        """(6,) float64 in the order of a pose."""
        return np.array([getattr(self, name) for name in AXIS_NAMES], np.float64)


def parse_amount(text: str) -> PoseAmount:
    """`text` as an amount: one number for all axes, or some axes by name, as in ``yaw=.5,roll=0``.

    Raises
    ------
    UserInputError
        With the part that can't be read and what may stand there.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) == 1 and "=" not in parts[0]:
        value = _number(parts[0])
        return PoseAmount(*[value] * len(AXIS_NAMES))
    values: dict[str, float] = {}
    for part in parts:
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or name not in AXIS_NAMES:
            raise UserInputError(f"--pose-amount {text}: {part!r} is not understood; give one number, or axes out of "
                                 f"{', '.join(AXIS_NAMES)} as in yaw=.5,roll=0.")
        if name in values:
            raise UserInputError(f"--pose-amount {text} gives {name} twice; give it once.")
        values[name] = _number(number)
    if not values:
        raise UserInputError("--pose-amount is empty; give one number, or axes as in yaw=.5,roll=0.")
    return PoseAmount(**values)


@dataclass(frozen=True)
class HeadControls:
    """Head, eyes and brows beside what the speech network does.

    Attributes
    ----------
    amount : of the head's motion, axis by axis
    gaze : 0 to 1, how far the eyes stay on their aim while the head turns
    saccades : 0 to 3, size of the small eye movements
    accents : 0 to 3, how far brows rise on stressed syllables
    blink_asymmetry : 0 to 3, how much earlier and further one lid closes than the other
    """

    amount: PoseAmount = field(default_factory=PoseAmount)
    gaze: float = 1.0
    saccades: float = 1.0
    accents: float = 1.0
    blink_asymmetry: float = 1.0

    def __post_init__(self) -> None:
        for name, most in (("gaze", 1.0), ("saccades", MOST), ("accents", MOST), ("blink_asymmetry", MOST)):
            _check("--" + name.replace("_", "-"), getattr(self, name), most=most)


def _check(option: str, value: float, where: str = "", most: float = MOST) -> None:
    if not (math.isfinite(value) and 0 <= value <= most):
        raise UserInputError(f"{option} {value:g}{where} must lie between 0 and {most:g}.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserInputError(f"--pose-amount: {text!r} is no number; give one as in 0.5.") from error
