"""From a performance to pictures: Blender renders, composites over plates, the refiner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.performance import Performance
from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.background.plate_frames import PlateFrames
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS, refiner_weights
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, read_png, write_index, write_whole
from ml_backend.refine.apply import apply
from ml_backend.refine.dataset import MIN_FRAMES
from ml_backend.refine.preview import draw_preview
from ml_backend.refine.train import fine_tune
from ml_backend.take import file_hash
from ml_backend.talk.session import Session
from ml_backend.talk.survey import Hidden, Survey
from ml_backend.talk.target import Target

REFINER_FRAMES = 50
"""Fewer frames than this can't train a refiner and confirm it on a held-out tail; general weights they can confirm."""

BEFORE_AND_AFTER = "refined_preview.png"
"""Picture in the take: a few frames as rendered, and refined below."""

BACKDROP = "backdrop.png"
"""File in the take: what stands behind the built-in head."""

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
    session: Session, name: str, title: str, rgba: Path, target: Target, plates: Sequence[np.ndarray], keys: dict,
    hidden: Hidden | None = None
) -> FrameFolder:
    """Rendered crops over the crops of `plates`, full frames, one behind each; what is `hidden` is not painted."""
    folder = session.take.path(name)
    size = crop_size(session, target)

    def work(progress):
        folder.mkdir(exist_ok=True)
        for index in range(len(plates)):
            path = frame_path(folder, index)
            if not path.exists():
                drawn = read_png(frame_path(rgba, index))
                behind = crop_resize(plates[index], target.track.crop, size)
                away = None if hidden is None else hidden(index, size)
                mask = None if away is None else face_mask(drawn[..., 3], FEATHER * size) * (1 - away)
                picture = composite(drawn, behind, mask=mask)
                write_whole(path, encode_png(picture))
            progress(index + 1, len(plates))
        write_index(folder, complete=True, count=len(plates), fps=FPS, notes=[])
        return {"frames": len(plates), "size": size}

    session.stage(name, title, {**keys, "size": size}, [name], work)
    return FrameFolder.open(folder)


def refine(session: Session, target: Target, seen: Survey, drawn: FrameFolder) -> tuple[FrameFolder, bool]:
    """Fit the refiner to the clip and apply it; returns the frames to use and whether they are refined."""
    options, take = session.options, session.take
    general, short = refiner_weights(), len(target.track) < REFINER_FRAMES
    if not options.refine or (short and general is None) or len(target.track) < MIN_FRAMES:
        return drawn, False
    rgba = render_fit(session, target)
    count = min(len(target.track), FIT_FRAMES)
    fit = composites(
        session,
        "fit_composites",
        "Composing the clip's own frames",
        rgba,
        target,
        PlateFrames(target.frames, np.arange(count)),
        {"rgba": take.key("fit_rgba"), "survey": take.key("survey")},
        Hidden(seen, target.track.crop, np.arange(count)),
    )
    weights, size = take.path("refiner.safetensors"), crop_size(session, target)
    crop = target.track.crop

    def learn(progress):
        real = [crop_resize(target.frames[index], crop, size) for index in range(count)]
        points = (target.track.landmarks[:count, :, :2] - crop[:2]) * (size / crop[2])
        report = fine_tune(
            fit, real, points, weights, minutes=minutes, seed=options.seed, general=general, progress=progress,
            identity=options.identity,
        )
        return {**report.as_dict(), "weights": weights.name}

    minutes = 0.0 if short else options.refine_minutes
    if minutes:
        session.terminal.say(f"The refiner is fitted to the clip for {minutes:g} min (--refine-minutes).")
    facts = session.stage(
        "refiner",
        "Fitting the refiner",
        {
            "fit": take.key("fit_composites"),
            "minutes": minutes,
            "seed": options.seed,
            "identity": options.identity,
            "general": file_hash(general) if general else None,
        },
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
        report = apply(
            drawn, weights, folder, progress=progress, strength=options.refine_strength, say=session.terminal.warn
        )
        write_index(folder, complete=True, count=report.frames, fps=FPS, notes=[])
        draw_preview(drawn, FrameFolder.open(folder), take.path(BEFORE_AND_AFTER))
        return {"frames": report.frames, "attention": report.attention}

    settings = {"composites": take.key("composites"), "refiner": take.key("refiner"),
                "strength": options.refine_strength}
    session.stage("refined", "Refining", settings, ["refined", BEFORE_AND_AFTER], paint)
    return FrameFolder.open(folder), True
