"""What the animator may choose, as the worker's options name it, and what the instant engine can't do."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import UserInputError

POSES = ("predicted", "still", "frontal")
WEIGHTS = {"default": "motion.safetensors", "open": "motion_open.safetensors"}
AXES = ("pitch", "yaw", "roll", "x", "y", "z")


@dataclass(frozen=True)
class Options:
    """See the backend's ``Controls`` and ``HeadControls``; `pose_amount` is by axis, pitch to z."""

    pose: str = "predicted"
    seed: int = 0
    weights: str = "default"
    mouth: float = 1.0
    upper_face: float = 1.0
    brows: float = 1.0
    blink_rate: float = 1.0
    gaze: float = 1.0
    saccades: float = 1.0
    accents: float = 1.0
    blink_asymmetry: float = 1.0
    emotion: str = "neutral"
    emotion_strength: float = 1.0
    smoothing_ms: float = 0.0
    lead_ms: float = 0.0
    quiet_lips: bool = True
    contact: bool = True
    pose_amount: tuple[float, ...] = (1.0,) * len(AXES)

    @staticmethod
    def of(given: dict[str, Any]) -> Options:
        """The part of the worker's options that matters here; raises `UserInputError` for what only it can do."""
        reason = only_backend(given)
        if reason is not None:
            raise UserInputError(reason)
        known = {field.name for field in fields(Options)}
        values = {name: value for name, value in given.items() if name in known}
        if isinstance(amount := values.get("pose_amount"), str):
            named = dict(part.split("=") for part in amount.split(",") if part)
            values["pose_amount"] = tuple(float(named.get(axis, 1.0)) for axis in AXES)
        return Options(**values)


def only_backend(given: dict[str, Any]) -> str | None:
    """Why the instant engine can't do what the worker's options `given` ask for; None if it can."""
    if "target" in given:
        return ("Only the backend learns from a person's clip; set it up in the preferences, or empty the field Person "
                "in the section Performance.")
    if "pose_from" in given or given.get("pose", "predicted") not in POSES:
        return ("Only the backend takes the head's motion from a clip; set it up in the preferences, or choose another "
                "Head Motion.")
    return None
