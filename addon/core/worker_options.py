"""What the panels remember, as options of the worker's commands. Any object with the settings' names will do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UserInputError

EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted", "contempt")
AMOUNTS = ("mouth", "upper_face", "brows", "blink_rate", "gaze", "saccades", "accents", "blink_asymmetry",
           "emotion_strength", "smoothing_ms", "lead_ms", "quiet_lips", "contact")
"""Settings that are called the same in the backend."""
AXES = ("pitch", "yaw", "roll")
LIVE = {"mouth": 1.0, "upper_face": 1.0, "brows": 1.0, "pose_amount": ",".join(f"{axis}=1" for axis in AXES)}
"""What the backend is asked for where the amounts are live in Blender: everything at full size."""


def performance_options(settings: Any, person: Path | None) -> dict[str, Any]:
    """Options of ``animate`` and ``talk`` that say how somebody speaks.

    Parameters
    ----------
    settings : with the names of `AMOUNTS`, and pose, pose_clip, head_pitch, head_yaw, head_roll, emotion, seed,
        weights, weights_file
    person : clip or photo of who speaks, None for nobody in particular

    Raises
    ------
    UserInputError
        If a choice lacks its file.
    """
    options: dict[str, Any] = {name: _plain(getattr(settings, name)) for name in AMOUNTS}
    options["emotion"], options["seed"] = settings.emotion, settings.seed
    options["pose_amount"] = ",".join(f"{axis}={getattr(settings, f'head_{axis}'):.4g}" for axis in AXES)
    options["pose"] = "predicted" if settings.pose == "other" else settings.pose
    if settings.pose == "other":
        options["pose_from"] = str(existing(settings.pose_clip, "clip for the head's motion"))
    if settings.pose == "clip" and person is None:
        raise UserInputError("Head motion from the person's clip needs a clip; choose one, or another head motion.")
    options["weights"] = settings.weights
    if settings.weights == "file":
        options["weights"] = str(existing(settings.weights_file, "weights file"))
    if person is not None:
        options["target"] = str(person)
    return options


def existing(path: str, what: str) -> Path:
    """`path` as a file that is there; raises `UserInputError` naming `what` is missing."""
    if not path.strip():
        raise UserInputError(f"There is no {what}; choose one.")
    if not Path(path).is_file():
        raise UserInputError(f"The {what} is missing: {path}; choose another, or put it back.")
    return Path(path)


def time_left(seconds: float | None) -> str:
    """``seconds`` in words for a progress bar; "" where nobody can tell."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(round(seconds), 0)} s left"
    return f"{round(seconds / 60)} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool) else round(float(value), 6)
