"""From a performance to pictures: Blender renders, and composites over plates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, read_png, write_index, write_whole
from ml_backend.parallel import each
from ml_backend.talk.session import Session
from ml_backend.talk.survey import Hidden
from ml_backend.talk.target import Target

BACKDROP = "backdrop.png"
"""File in the take: what stands behind the built-in head."""


def crop_size(session: Session, target: Target) -> int:
    """Side in pixels of the rendered crop: the clip's own resolution in steps of 64, at most ``--size``."""
    side = float(target.track.crop[2])
    return int(min(session.options.size, max(192, 64 * round(side / 64))) // 32 * 32)


def job(session: Session, **settings) -> dict:
    """A render job of the add-on's child process; see ``addon/bl/child.py``."""
    take, options = session.take, session.options
    base = {
        "schema": "parley.job",
        "version": 1,
        "face_model": str(session.model_path.resolve()),
        "character": str(take.path("character.npz").resolve()),
        "performance": str(take.path("performance.npz").resolve()),
        "plates": None,
        "plate_pattern": None,
        "photo": None,
        "speech": None,
        "fps": FPS,
        "engine": options.engine,
        "size": options.size,
        "view": "crop",
        "frames": None,
        "output": None,
        "scene": None,
        "face_only": False,
        "backdrop": None,
        "motion_blur": options.motion_blur,
    }
    return {**base, **settings}


def render(session: Session, name: str, title: str, settings: dict, job_settings: dict,
           outputs: Sequence[str] = ()) -> Path:
    """Render frames in Blender into the take's folder `name`; further `outputs` of the job are the stage's too."""
    folder = session.take.path(name)

    def work(progress):
        path = job_settings.get("performance") or session.take.path("performance.npz")
        result = session.crew.run(
            job(session, output=str(folder.resolve()), **job_settings),
            name,
            frames=len(performance_file.load(Path(path))),
            progress=progress,
            warn=session.terminal.warn,
        )
        return {key: value for key, value in result.items() if isinstance(value, str | int | float)}

    drawn_by = {"engine": session.options.engine, "motion_blur": session.options.motion_blur}
    session.stage(name, title, {**settings, **drawn_by}, [name, *outputs], work)
    return folder


def render_talk(session: Session, target: Target) -> Path:
    """RGBA crops of the performance over the matched plates' poses."""
    take, size = session.take, crop_size(session, target)
    return render(
        session,
        "frames_rgba",
        "Rendering in Blender",
        {"motion": take.key("motion"), "plates": take.key("plates"), "character": take.key("character"), "size": size},
        {"plates": str(take.path("plates.json").resolve()), "size": size, "face_only": True},
    )


def render_portrait(session: Session) -> Path:
    """The built-in head's frames, clear where it isn't; what stands behind it goes to `BACKDROP`."""
    take = session.take
    return render(
        session,
        "frames_rgba",
        "Rendering in Blender",
        {"motion": take.key("motion"), "character": take.key("character"), "size": session.options.size},
        {"view": "portrait", "backdrop_to": str(take.path(BACKDROP).resolve())},
        [BACKDROP],
    )


def composites(
    session: Session, name: str, title: str, rgba: Path | Callable[[int], Path], target: Target,
    plates: Sequence[np.ndarray], keys: dict, hidden: Hidden | None = None
) -> FrameFolder:
    """Rendered crops over the crops of `plates`, full frames, one behind each; what is `hidden` is not painted.

    `rgba` is the renders' folder, or says where each render lies.
    """
    folder = session.take.path(name)
    size = crop_size(session, target)
    place = rgba if callable(rgba) else partial(frame_path, rgba)

    def work(progress):
        folder.mkdir(exist_ok=True)

        def one(index: int) -> None:
            path = frame_path(folder, index)
            if not path.exists():
                drawn = read_png(place(index))
                behind = crop_resize(plates[index], target.track.crop, size)
                away = None if hidden is None else hidden(index, size)
                mask = None if away is None else face_mask(drawn[..., 3], FEATHER * size) * (1 - away)
                picture = composite(drawn, behind, mask=mask)
                write_whole(path, encode_png(picture))

        each(len(plates), one, progress)
        write_index(folder, complete=True, count=len(plates), fps=FPS, notes=[])
        return {"frames": len(plates), "size": size}

    session.stage(name, title, {**keys, "size": size}, [name], work)
    return FrameFolder.open(folder)
