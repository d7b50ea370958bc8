"""The whole track of a clip against MediaPipe's landmark network alone on the same frames, in turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.config import FPS
from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.mesh import quiet
from ml_backend.reconstruct.track import track_clip
from tests.benchmarks.face_clips import Clip
from tests.benchmarks.report import Figure
from tests.benchmarks.timing import in_turns

PART = "speed"
BAR = 0.7
MOST_BYTES = 400 << 20
"""Of a clip's frames, which are kept in memory so that reading them counts for neither side."""


def bare(frames: Sequence[np.ndarray]) -> None:
    """MediaPipe's Face Mesh with irises over `frames`, as its own examples run it."""
    with quiet():
        import mediapipe

        with mediapipe.solutions.face_mesh.FaceMesh(refine_landmarks=True, max_num_faces=1) as mesh:
            for frame in frames:
                mesh.process(frame)


def ratio(frames: Sequence[np.ndarray], model: FaceModel, repeats: int = 2) -> tuple[float, float, float]:
    """Speed of `track_clip` over the bare network's, and seconds of the network and of the track."""
    network, whole = in_turns(lambda: bare(frames), lambda: track_clip(frames, model, fps=float(FPS)), repeats)
    return network / whole, network, whole


def measure(clips: Sequence[Clip], model: FaceModel) -> list[Figure]:
    """The ratio on every clip whose frames fit into memory, and over all of them."""
    figures, total = [], np.zeros(2)
    for clip in clips:
        folder = clip.frames()
        if folder[0].nbytes * len(folder) > MOST_BYTES:
            continue
        frames = [np.ascontiguousarray(frame) for frame in folder]
        value, network, whole = ratio(frames, model)
        total += [network, whole]
        note = f"{len(frames)} frames, {len(frames) / whole:.0f} a second"
        figures.append(Figure(PART, clip.name, value, "×", note=note))
    overall = float(total[0] / total[1]) if total[1] else float("nan")
    return [*figures, Figure(PART, "whole track / bare network", overall, "×", BAR, note="speed, in turns, best of 2")]
