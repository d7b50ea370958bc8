"""From a performance to pictures: Blender renders, composites over plates, the refiner."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.plates import Plates
from ml_backend.background.composite import composite
from ml_backend.background.warp import crop_resize
from ml_backend.blender import run_job
from ml_backend.config import FPS
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, read_png, write_index, write_whole
from ml_backend.refine.apply import apply
from ml_backend.refine.train import fine_tune
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target

REFINER_FRAMES = 50
"""Fewer frames than this can't train a refiner and confirm it on a held-out tail."""

FIT_FRAMES = 300
"""Most frames of the clip that the refiner is fitted to (Yi et al., §4)."""


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
    }
    return {**base, **settings}


def render(session: Session, name: str, title: str, settings: dict, job_settings: dict) -> Path:
    """Render frames in Blender into the take's folder `name`."""
    folder = session.take.path(name)

    def work(progress):
        result = run_job(
            session.blender,
            job(session, output=str(folder.resolve()), **job_settings),
            session.take.path(f"jobs/{name}.json"),
            session.take.path(f"logs/{name}.log"),
            progress=progress,
            warn=session.terminal.warn,
        )
        return {key: value for key, value in result.items() if isinstance(value, str | int | float)}

    session.stage(name, title, {**settings, "engine": session.options.engine}, [name], work)
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
    """The built-in head's frames."""
    take = session.take
    return render(
        session,
        "frames_rgba",
        "Rendering in Blender",
        {"motion": take.key("motion"), "character": take.key("character"), "size": session.options.size},
        {"view": "portrait"},
    )


def render_fit(session: Session, target: Target) -> Path:
    """RGBA crops of the clip's own tracked performance: what the refiner learns from."""
    take, track, size = session.take, target.track, crop_size(session, target)
    count = min(len(track), FIT_FRAMES)
    own = Performance(
        np.arange(count) / FPS,
        np.clip(track.expression[:count], 0, 1),
        list(map(str, track.expression_names)),
        track.pose()[:count],
        {"made_from": "track"},
    )
    performance_file.save(own, take.path("fit_performance.npz"))
    return render(
        session,
        "fit_rgba",
        "Rendering the clip's own frames",
        {"track": take.key("track"), "character": take.key("character"), "size": size},
        {"performance": str(take.path("fit_performance.npz").resolve()), "size": size, "face_only": True},
    )


def composites(
    session: Session, name: str, title: str, rgba: Path, target: Target, source: np.ndarray, keys: dict
) -> FrameFolder:
    """Rendered crops over the plates' crops, `source` (T,) telling which source frame is behind each."""
    folder = session.take.path(name)
    size = crop_size(session, target)

    def work(progress):
        folder.mkdir(exist_ok=True)
        for index, plate in enumerate(source):
            path = frame_path(folder, index)
            if not path.exists():
                picture = composite(
                    read_png(frame_path(rgba, index)),
                    crop_resize(target.frames[int(plate)], target.track.crop, size),
                )
                write_whole(path, encode_png(picture))
            progress(index + 1, len(source))
        write_index(folder, complete=True, count=len(source), fps=FPS, notes=[])
        return {"frames": len(source), "size": size}

    session.stage(name, title, {**keys, "size": size}, [name], work)
    return FrameFolder.open(folder)


def refine(session: Session, target: Target, plates: Plates, drawn: FrameFolder) -> tuple[FrameFolder, bool]:
    """Fit the refiner to the clip and apply it; returns the frames to use and whether they are refined."""
    options, take = session.options, session.take
    if not options.refine or len(target.track) < REFINER_FRAMES:
        return drawn, False
    rgba = render_fit(session, target)
    count = min(len(target.track), FIT_FRAMES)
    fit = composites(
        session,
        "fit_composites",
        "Composing the clip's own frames",
        rgba,
        target,
        np.arange(count),
        {"rgba": take.key("fit_rgba")},
    )
    weights, size = take.path("refiner.safetensors"), crop_size(session, target)
    crop = target.track.crop

    def learn(progress):
        real = [crop_resize(target.frames[index], crop, size) for index in range(count)]
        points = (target.track.landmarks[:count, :, :2] - crop[:2]) * (size / crop[2])
        report = fine_tune(
            fit, real, points, weights, minutes=options.refine_minutes, seed=options.seed, progress=progress
        )
        return {**report.as_dict(), "weights": weights.name}

    session.terminal.say(f"The refiner is fitted to the clip for {options.refine_minutes:g} min (--refine-minutes).")
    facts = session.stage(
        "refiner",
        "Fitting the refiner",
        {"fit": take.key("fit_composites"), "minutes": options.refine_minutes, "seed": options.seed},
        ["refiner.safetensors"],
        learn,
    )
    if facts.get("pass_through", True):
        session.terminal.warn(
            "The refiner was no better than the rendering on the clip's held-out end; the rendering is used as it is."
        )
        return drawn, False
    folder = take.path("refined")

    def paint(progress):
        report = apply(drawn, weights, folder, progress=progress)
        write_index(folder, complete=True, count=report.frames, fps=FPS, notes=[])
        return {"frames": report.frames, "attention": report.attention}

    settings = {"composites": take.key("composites"), "refiner": take.key("refiner")}
    session.stage("refined", "Refining", settings, ["refined"], paint)
    return FrameFolder.open(folder), True
