"""The refiner in a film: the clip's own frames rendered, the network fitted to them, and applied to the film's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.performance import Performance
from ml_backend.background.plate_frames import PlateFrames
from ml_backend.background.warp import crop_resize
from ml_backend.config import FPS, refiner_weights
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, write_index, write_whole
from ml_backend.parallel import each
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.reconstruct.texture import CHARACTER_FILE
from ml_backend.reconstruct.unseen import unseen_character
from ml_backend.refine.apply import apply
from ml_backend.refine.dataset import MIN_FRAMES
from ml_backend.refine.preview import draw_preview
from ml_backend.refine.train import FROM_SCRATCH, fine_tune, tail_length
from ml_backend.take import file_hash
from ml_backend.talk.picture import composites, crop_size, render
from ml_backend.talk.recalling import Film, recollect, remember_clip
from ml_backend.talk.session import Session
from ml_backend.talk.survey import Hidden, Survey
from ml_backend.talk.target import Target
from ml_backend.terminal import hushed

REFINER_FRAMES = 50
"""Fewer frames than this can't train a refiner and confirm it on a held-out tail; general weights they can confirm."""

BEFORE_AND_AFTER = "refined_preview.png"
"""Picture in the take: a few frames as rendered, and refined below."""

REFINED = "refined"
"""Folder in the take: the film's frames, refined."""

WEIGHTS = "refiner.safetensors"
"""File in the take: the weights fitted to the clip."""

UNSEEN = "unseen_character"
"""Folder in the take: the character made without the end that the refiner is judged by."""

FIT_FRAMES = 300
"""Most frames of the clip that the refiner is fitted to (Yi et al., §4)."""


def render_fit(session: Session, target: Target) -> tuple[Callable[[int], Path], dict]:
    """RGBA crops of the clip's own tracked performance: where each lies, and what they were made from.

    A living texture knows the clip's frames, so the end that is held out is drawn with one made without it
    (`ml_backend.reconstruct.unseen`). What EEVEE draws of such a texture is drawn without it: over its plate 48 to
    55 dB from EEVEE's, as near the clip's frames, in a third of the time (measured on two clips).
    """
    take, count = session.take, min(len(target.track), FIT_FRAMES)
    tail = tail_length(count, FROM_SCRATCH.tail) if target.character.lives else 0
    first, last = np.split(np.arange(count), [count - tail])
    rows = _draw_rows if target.character.lives and session.options.engine == "eevee" else _render_rows
    own = rows(session, target, "fit_rgba", first, "character.npz", "character")
    if not tail:
        return partial(frame_path, own), {"rgba": take.key("fit_rgba")}
    _unseen(session, target, last)
    end = rows(session, target, "fit_rgba_end", last, f"{UNSEEN}/{CHARACTER_FILE}", UNSEEN)

    def place(index: int) -> Path:
        return frame_path(own, index) if index < len(first) else frame_path(end, index - len(first))

    return place, {"rgba": take.key("fit_rgba"), "end": take.key("fit_rgba_end")}


def _unseen(session: Session, target: Target, away: np.ndarray) -> None:
    take = session.take

    def build(progress):
        with hushed(take.path("logs/track.log")):
            unseen_character(target.track, target.frames, session.model, take.path(UNSEEN), away)

    session.stage(UNSEEN, "Building the character without the held-out end",
                  {"character": take.key("character"), "away": away.tolist()}, [UNSEEN], build)


def _draw_rows(session: Session, target: Target, name: str, rows: np.ndarray, character: str, stage: str) -> Path:
    """As `_render_rows`, without Blender; see `ml_backend.prepare.drawing`."""
    take, track, size = session.take, target.track, crop_size(session, target)
    folder, pose = take.path(name), target.track.pose()

    def draw(progress):
        session.close()  # the Blenders have drawn the film's frames, and would only hold memory
        folder.mkdir(exist_ok=True)
        place = take.path(character)
        drawing = FaceDrawing(session.model, character_file.load(place), place.parent)

        def one(number: int) -> None:
            path, row = frame_path(folder, number), rows[number]
            if not path.exists():
                write_whole(path, encode_png(drawing.draw(np.clip(track.expression[row], 0, 1), pose[row], size)))

        each(len(rows), one, progress)
        return {"frames": len(rows), "size": size}

    settings = {"track": take.key("track"), "character": take.key(stage), "size": size, "rows": rows.tolist()}
    session.stage(name, "Drawing the clip's own frames", settings, [name], draw)
    return folder


def _render_rows(session: Session, target: Target, name: str, rows: np.ndarray, character: str, stage: str) -> Path:
    """Crops of the tracked frames `rows`, drawn with the take's file `character` that `stage` made."""
    take, track, size = session.take, target.track, crop_size(session, target)
    path = take.path(f"{name}.npz".replace("rgba", "performance"))
    own = Performance(np.arange(len(rows)) / FPS, np.clip(track.expression[rows], 0, 1),
                      list(map(str, track.expression_names)), track.pose()[rows], {"made_from": "track"})
    performance_file.save(own, path)
    return render(
        session,
        name,
        "Rendering the clip's own frames",
        {"track": take.key("track"), "character": take.key(stage), "size": size, "rows": rows.tolist()},
        {"performance": str(path.resolve()), "character": str(take.path(character).resolve()), "size": size,
         "face_only": True},
    )


def say_unrefined(session: Session, frames: int) -> None:
    """Tell whoever left the refiner on that there is too little to fit it to: a photo, or a clip of few `frames`."""
    if session.options.refine:
        what = f"A clip of {frames} frames is" if frames > 1 else "A photo, one frame, is"
        session.terminal.say(f"{what} too little to fit the refiner to; the rendering is used as it is.")


def refine(session: Session, target: Target, seen: Survey, drawn: FrameFolder, film: Film | None = None
           ) -> tuple[FrameFolder, bool]:
    """Refine `drawn`, what `film` shows; returns the frames to use and whether they are refined.

    First what the clip's own frames lacked is given to frames like them; then the network is fitted and applied.
    """
    if not session.options.refine:
        return drawn, False
    short = len(target.track) < REFINER_FRAMES
    if (short and refiner_weights() is None) or len(target.track) < MIN_FRAMES:
        say_unrefined(session, len(target.track))
        return drawn, False
    rgba, made_from = render_fit(session, target)
    fit = _own_frames(session, target, seen, rgba, made_from)
    if film is not None and not short and _remember(session, target, seen, fit, rgba):
        return recollect(session, target, seen, drawn, film, REFINED, BEFORE_AND_AFTER), True
    facts = _fit(session, target, fit, short=short)
    if facts.get("pass_through", True):
        session.terminal.warn(
            "The refiner was no better than the rendering on the clip's held-out end; the rendering is used as it is."
        )
        return drawn, False
    return _apply(session, drawn), True


def _remember(session: Session, target: Target, seen: Survey, fit: FrameFolder, rgba: Callable[[int], Path]) -> bool:
    """Whether a memory of the clip's frames makes its held-out end better."""
    ends = np.arange(len(fit) - tail_length(len(fit), FROM_SCRATCH.tail), len(fit))
    unseen = session.take.path(UNSEEN) if target.character.lives else None
    facts = remember_clip(session, target, seen, fit, rgba, ends, unseen)
    if facts["used"]:
        session.facts["refiner"] = {**facts, "pass_through": False}
    return bool(facts["used"])


def _own_frames(session: Session, target: Target, seen: Survey, rgba: Callable[[int], Path], made_from: dict
                ) -> FrameFolder:
    """The clip's own frames as composites, what is before the face left alone."""
    rows = np.arange(min(len(target.track), FIT_FRAMES))
    return composites(session, "fit_composites", "Composing the clip's own frames", rgba, target,
                      PlateFrames(target.frames, rows), {**made_from, "survey": session.take.key("survey")},
                      Hidden(seen, target.track.crop, rows))


def _fit(session: Session, target: Target, fit: FrameFolder, *, short: bool) -> dict:
    """Fit the refiner to the composites `fit`, or with a `short` clip only ask what general weights are worth."""
    options, take, size, crop = session.options, session.take, crop_size(session, target), target.track.crop
    minutes = 0.0 if short else options.refine_minutes
    # What is fitted from scratch is as good (measured); too few frames to fit to still have the general weights.
    general = refiner_weights() if short else None

    def learn(progress):
        real = [crop_resize(target.frames[index], crop, size) for index in range(len(fit))]
        points = (target.track.landmarks[:len(fit), :, :2] - crop[:2]) * (size / crop[2])
        report = fine_tune(fit, real, points, take.path(WEIGHTS), minutes=minutes, seed=options.seed, general=general,
                           progress=progress, identity=options.identity)
        return {**report.as_dict(), "weights": WEIGHTS}

    if minutes:
        session.terminal.say(f"The refiner is fitted to the clip for {minutes:g} min (--refine-minutes).")
    settings = {"fit": take.key("fit_composites"), "minutes": minutes, "seed": options.seed,
                "identity": options.identity, "general": file_hash(general) if general else None}
    return session.stage("refiner", "Fitting the refiner", settings, [WEIGHTS], learn)


def _apply(session: Session, drawn: FrameFolder) -> FrameFolder:
    """The frames `drawn`, refined."""
    options, take = session.options, session.take
    folder = take.path(REFINED)

    def paint(progress):
        report = apply(drawn, take.path(WEIGHTS), folder, progress=progress, strength=options.refine_strength,
                       say=session.terminal.warn)
        write_index(folder, complete=True, count=report.frames, fps=FPS, notes=[])
        draw_preview(drawn, FrameFolder.open(folder), take.path(BEFORE_AND_AFTER))
        return {"frames": report.frames, "attention": report.attention}

    settings = {"composites": take.key("composites"), "refiner": take.key("refiner"),
                "strength": options.refine_strength}
    session.stage(REFINED, "Refining", settings, [REFINED, BEFORE_AND_AFTER], paint)
    return FrameFolder.open(folder)
