"""The person: frames of the clip or photo, what was tracked in them, and the character made of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts import face_track
from ml_backend.artefacts.character import Character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder
from ml_backend.data.video import VideoInfo, extract_frames, probe
from ml_backend.motion.speaker import listening
from ml_backend.reconstruct import cuts
from ml_backend.reconstruct.polish import polished_track
from ml_backend.reconstruct.providers import detector
from ml_backend.reconstruct.providers import key as networks_key
from ml_backend.reconstruct.texture import make_character
from ml_backend.reconstruct.track import track_with_cuts
from ml_backend.reconstruct.tracklets import check_face
from ml_backend.take import file_hash
from ml_backend.talk.session import Session
from ml_backend.terminal import hushed


@dataclass(frozen=True)
class Tracked:
    """A clip or photo and what was measured in it; `cuts` (T,) bool is true where a frame begins a new shot."""

    info: VideoInfo
    key: str
    frames: FrameFolder
    track: FaceTrack
    cuts: np.ndarray

    @property
    def is_photo(self) -> bool:
        """One frame only: nothing to learn motion or a refiner from."""
        return len(self.track) < 2


@dataclass(frozen=True)
class Target(Tracked):
    """The same with the character made of it."""

    character: Character


def load_tracked(session: Session) -> Tracked:
    """Extract and track the person of ``options.target``."""
    options, take = session.options, session.take
    assert options.target is not None
    path, detect = options.target, detector(options.landmarks)
    info = probe(path)
    key = file_hash(path)
    folder = take.path("source")

    def extract(progress):
        extracted = extract_frames(path, folder, seconds=options.target_seconds, fps=FPS, progress=progress)
        return {"frames": len(extracted), "notes": extracted.notes}

    session.stage("frames", "Reading the target", {"file": key, "seconds": options.target_seconds}, ["source"], extract)
    frames = FrameFolder.open(folder)
    for note in frames.notes:
        session.terminal.warn(note)

    def track(progress):
        with hushed(take.path("logs/track.log")):
            result, found = track_with_cuts(
                frames,
                session.model,
                fps=float(FPS),
                face=check_face(options.face),
                progress=progress,
                warn=session.terminal.warn,
                source=str(path),
                detect=listening(path, detect),
            )
        cuts.save(found, take.path("cuts.npz"))
        face_track.save(result, take.path("track.npz"))
        return {"frames": len(result), "found": float((result.confidence > 0).mean()), "cuts": int(found.sum())}

    session.stage(
        "track",
        "Tracking the face",
        {
            "frames": take.key("frames"),
            "model": session.model_key(),
            "face": check_face(options.face),
            "landmarks": networks_key(detect),
        },
        ["track.npz", "cuts.npz"],
        track,
    )
    return Tracked(info, key, frames, face_track.load(take.path("track.npz")), cuts.load(take.path("cuts.npz")))


def _polished(session: Session, found: Tracked) -> Tracked:
    """A clip's track, made more exact by its pixels where that makes it better."""
    take, draft = session.take, session.take.path("draft")

    def polish(progress):
        with hushed(take.path("logs/track.log")):
            made = polished_track(found.track, found.frames, session.model, draft, found.cuts, progress=progress)
        face_track.save(made.track, take.path("polished.npz"))
        shutil.rmtree(draft, ignore_errors=True)
        return made.facts()

    session.stage("polish", "Placing the face exactly", {"track": take.key("track")}, ["polished.npz"], polish)
    return replace(found, track=face_track.load(take.path("polished.npz")))


def load_target(session: Session) -> Target:
    """Extract, track and rebuild the person of ``options.target``."""
    take, found = session.take, load_tracked(session)
    if not found.is_photo:
        found = _polished(session, found)

    def build(progress):
        with hushed(take.path("logs/track.log")):
            made = make_character(found.track, found.frames, session.model, take.folder)
        return {"blink_rate_hz": float(made.blink_rate), "focal_px": float(made.focal)}

    session.stage(
        "character",
        "Building the character",
        {"track": take.key("track" if found.is_photo else "polish")},
        ["character.npz", "detailed_albedo.png"],
        build,
    )
    made = character_file.load(take.path("character.npz"))
    return Target(found.info, found.key, found.frames, found.track, found.cuts, made)
