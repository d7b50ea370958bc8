"""One face against another over the same speech: every figure that needs no picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.metrics import sync
from ml_backend.metrics.head_pose import head_figures
from ml_backend.metrics.landmarks import lip_distance, pearson


@dataclass(frozen=True)
class FaceMotion:
    """What a face does, T frames at 25 fps; NaN rows where it wasn't seen.

    Attributes
    ----------
    lips : (T, 2) inner-lip opening and mouth width over the distance of the outer eye corners
    points : (T, 478, 2) pixels, all at the real head's pose or all in their own film; NaN where not known
    angles : (T, 3) pitch, yaw, roll, degrees
    shut : opening below which these lips count as closed
    blinks : blinks per minute and their duration in seconds
    steady : (T − 1,) bool, false where the picture jumps to another shot
    """

    lips: np.ndarray
    points: np.ndarray
    angles: np.ndarray
    shut: float
    blinks: tuple[float, float]
    steady: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lips)

    def part(self, start: int, stop: int) -> FaceMotion:
        """Frames `start` to `stop`."""
        steady = None if self.steady is None else self.steady[start:stop - 1]
        return replace(self, lips=self.lips[start:stop], points=self.points[start:stop],
                       angles=self.angles[start:stop], steady=steady)


def score(real: FaceMotion, made: FaceMotion, active: np.ndarray) -> dict[str, float | None]:
    """Figures of `made` against `real` while someone speaks in `active` (T,) bool; None where there is nothing to say.

    Lips are compared over the frames that all three have, heads by all of theirs. What each figure is says
    `ml_backend.metrics.report.FIGURES`.
    """
    count = min(len(real), len(made), len(active))
    figures = lip_figures(real.part(0, count), made.part(0, count), active[:count])
    figures |= head_figures(real.angles, made.angles, real.steady)
    figures |= {"blink_rate": made.blinks[0], "blink_duration": made.blinks[1]}
    return {name: None if not np.isfinite(value) else round(float(value), 4) for name, value in figures.items()}


def lip_figures(real: FaceMotion, made: FaceMotion, active: np.ndarray) -> dict[str, float]:
    """The figures of the lips, NaN where they can't be had."""
    figures: dict[str, float] = {}
    for column, name in enumerate(("opening", "width")):
        best, lag = sync.best_lag(real.lips[:, column], made.lips[:, column])
        figures |= {f"{name}_r": pearson(real.lips[:, column], made.lips[:, column]), f"{name}_best": best,
                    f"{name}_lag_ms": lag * 1000 / sync.FPS}
    percent, pixels = lip_distance(real.points, made.points)
    figures |= {"lmd_percent": percent, "lmd_px": pixels}
    opening, own = made.lips[:, 0], real.lips[:, 0]
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(own) & np.isfinite(opening)
        figures["amplitude"] = float(opening[seen].std() / max(own[seen].std(), 1e-9)) if seen.any() else np.nan
    figures["lip_jitter"] = sync.jitter(opening) / max(sync.jitter(own), 1e-9)
    wanted, given = (sync.closures(lips, face.shut, active) for lips, face in ((own, real), (opening, made)))
    figures["closure_hits"] = sync.hit_rate(wanted, opening, made.shut)
    figures["closure_precision"] = sync.hit_rate(given, own, real.shut)
    return figures | silence_figures(made, active)


def silence_figures(face: FaceMotion, active: np.ndarray) -> dict[str, float]:
    """Share of the silent frames with closed lips, and how far the lips move per frame there (‰ interocular)."""
    return silence_figures_of(face.lips[:, 0], face.shut, active)


def silence_figures_of(opening: np.ndarray, shut: float, active: np.ndarray) -> dict[str, float]:
    """`silence_figures` of an `opening` (T,) that counts as closed below `shut`."""
    count = min(len(opening), len(active))
    opening, quiet = opening[:count], sync.quiet_frames(active[:count])
    known = quiet & np.isfinite(opening)
    if not known.any():
        return {"silent_closed": float("nan"), "silent_motion": float("nan")}
    steps = np.abs(np.diff(opening))
    use = known[1:] & known[:-1]
    return {"silent_closed": float((opening[known] < shut).mean()),
            "silent_motion": float(1000 * steps[use].mean()) if use.any() else float("nan")}


def own_figures(face: FaceMotion, active: np.ndarray) -> dict[str, float | None]:
    """What the real face does by itself, to read the others' figures by."""
    events = sync.closures(face.lips[:, 0], face.shut, active[:len(face)])
    figures = {"closures": float(len(events)), "blink_rate": face.blinks[0], "blink_duration": face.blinks[1],
               **silence_figures(face, active)}
    return {name: None if not np.isfinite(value) else round(float(value), 4) for name, value in figures.items()}
