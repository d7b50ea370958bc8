"""`--pose-from CLIP`: the head motion of another clip, to be played by the person of the film."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_npz, require, save_npz
from ml_backend.config import FPS
from ml_backend.data.video import extract_frames, probe
from ml_backend.errors import UserInputError
from ml_backend.motion.style import longest_steady, smooth
from ml_backend.reconstruct.fit import fit_landmarks
from ml_backend.reconstruct.landmarks import detect
from ml_backend.take import file_hash
from ml_backend.talk.session import Session
from ml_backend.terminal import hushed

SCHEMA, VERSION = "parley.donor_motion", 1
LONGEST_SECONDS = 120.0
"""More of a donor than this adds minutes of tracking and nothing that an onlooker would miss."""
SHORTEST_SECONDS = 1.0


def check_donor(path: Path) -> None:
    """Raise `UserInputError` unless `path` is a clip of a second or more; reads its header only."""
    info = probe(path)
    if info.is_photo or info.seconds < SHORTEST_SECONDS:
        raise UserInputError(f"--pose-from {path} shows no motion; give a clip of at least {SHORTEST_SECONDS:g} s.")


def donor_motion(session: Session, seconds: float) -> np.ndarray | None:
    """(N, 6) head motion at 25 fps of the clip ``options.pose_from``, its longest stretch without a cut; None if unset.

    `seconds` is the length of the speech: that much of the clip is tracked, at most `LONGEST_SECONDS`.
    """
    path, take = session.options.pose_from, session.take
    if path is None:
        return None
    wanted = float(np.clip(seconds, 4.0, LONGEST_SECONDS))
    out = take.path("donor.npz")

    def track(progress):
        folder = take.path("donor")
        try:
            frames = extract_frames(path, folder, seconds=wanted, fps=FPS)
            with hushed(take.path("logs/donor.log")):
                found = detect(frames, progress=progress, source=str(path))
                fit = fit_landmarks(found.landmarks, np.array(frames.size), session.model, float(FPS), cuts=found.cuts)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        motion = longest_steady(smooth(np.concatenate([fit.rotation, fit.translation], 1)))
        if len(motion) < SHORTEST_SECONDS * FPS:
            raise UserInputError(f"--pose-from {path} cuts more often than once a second; give a clip of one shot.")
        save_npz(out, SCHEMA, VERSION, {"pose": motion})
        return {"frames": len(motion)}

    session.stage(
        "donor",
        "Tracking the head of --pose-from",
        {"file": file_hash(path), "seconds": wanted, "model": session.model_key()},
        ["donor.npz"],
        track,
    )
    arrays = load_npz(out, SCHEMA, VERSION)
    require("pose" in arrays and arrays["pose"].ndim == 2 and arrays["pose"].shape[1] == 6, out, "pose is not (N, 6)")
    return arrays["pose"]
