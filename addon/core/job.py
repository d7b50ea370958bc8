"""RenderJob: what the child process is asked to do, read from a JSON file and checked before Blender does anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .errors import UserInputError

SCHEMA, VERSION = "parley.job", 1
ENGINES, VIEWS = ("eevee", "workbench"), ("crop", "full", "portrait", "photo")


@dataclass(frozen=True)
class RenderJob:
    """One head, one performance; frames, a scene, or both.

    Attributes
    ----------
    face_model, character, performance : artefact files
    plates : plates.json whose poses replace the performance's, or None
    plate_pattern : printf pattern of the full-size source frames, numbered from 0, or None
    photo : photo mesh that turns with the head, or None
    speech : file with the speech, for the scene's sequencer, or None
    fps : the scene's frame rate
    engine : "eevee" or "workbench"
    size : side of the square image that "crop" and "portrait" render, longer side of what "photo" renders, pixels
    view : "crop" (the character's face crop), "full" (its whole frame), "portrait" (head and shoulders) or "photo" (the
        part of a photo in which its mesh moves)
    frames : indices of the performance's samples to render; None = all
    output : folder for the images, named by index ("000000.png"); None = render nothing
    scene : .blend to save; None = none
    face_only : the images' alpha is the model's face region, and no plate or backdrop is in them
    backdrop : RGB in [0, 1] behind a portrait; None = the standard grey
    backdrop_to : PNG that takes the portrait's backdrop, the images then having none; None = it is in them
    samples : EEVEE samples a pixel
    share : (k, n): of the images only every n-th stretch from the k-th on, the others being drawn by other processes
    motion_blur : share of a frame's time that the shutter is open, 0 = every frame is sharp
    """

    face_model: Path
    character: Path
    performance: Path
    plates: Path | None = None
    plate_pattern: str | None = None
    photo: Path | None = None
    speech: Path | None = None
    fps: float = 25.0
    engine: str = "eevee"
    size: int = 512
    view: str = "crop"
    frames: tuple[int, ...] | None = None
    output: Path | None = None
    scene: Path | None = None
    face_only: bool = False
    backdrop: tuple[float, float, float] | None = None
    backdrop_to: Path | None = None
    samples: int = 4
    share: tuple[int, int] = (0, 1)
    motion_blur: float = 0.0


PATHS = ("face_model", "character", "performance", "plates", "photo", "speech", "output", "scene", "backdrop_to")
NEEDED = ("face_model", "character", "performance")


def load(path: Path | str) -> RenderJob:
    """Read the job at `path`; raises `UserInputError` naming the field that can't be used."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserInputError(f"{path} can't be read as a job ({error}).") from error
    if not isinstance(data, dict) or (data.pop("schema", None), data.pop("version", None)) != (SCHEMA, VERSION):
        raise UserInputError(f"{path} is no {SCHEMA} of version {VERSION}.")
    return parse(data, path)


def parse(data: dict[str, Any], path: Path | str = "job") -> RenderJob:
    """The job described by `data`; raises `UserInputError` naming the field that can't be used."""
    unknown = set(data) - {field.name for field in fields(RenderJob)}
    _require(not unknown, path, f"has fields that no job has: {', '.join(sorted(unknown))}")
    missing = [name for name in NEEDED if not data.get(name)]
    _require(not missing, path, f"lacks {', '.join(missing)}")
    values = {name: value for name, value in data.items() if value is not None}
    for name in PATHS:
        if name in values:
            _require(isinstance(values[name], str), path, f"has a {name} that is no path")
            values[name] = Path(values[name])
    for name in ("frames", "backdrop", "share"):
        if name in values:
            _require(isinstance(values[name], list), path, f"has {name} that is no list")
            values[name] = tuple(values[name])
    job = RenderJob(**values)
    _check(job, path)
    return job


def _check(job: RenderJob, path: Path | str) -> None:
    for name in (*NEEDED, "plates", "photo", "speech"):
        file = getattr(job, name)
        _require(file is None or file.is_file(), path, f"names a {name} that is not there: {file}")
    _require(job.engine in ENGINES, path, f"names the engine {job.engine}; there are {', '.join(ENGINES)}")
    _require(job.view in VIEWS, path, f"names the view {job.view}; there are {', '.join(VIEWS)}")
    _require(isinstance(job.size, int) and 8 <= job.size <= 8192, path,
             f"asks for a size of {job.size}, 8 to 8192 are possible")
    _require(job.fps > 0, path, f"asks for {job.fps} frames a second")
    _require(isinstance(job.samples, int) and 1 <= job.samples <= 1024, path, f"asks for {job.samples} samples")
    _require(job.backdrop is None or len(job.backdrop) == 3, path, "has a backdrop that is no RGB colour")
    _require(all(isinstance(index, int) and index >= 0 for index in job.frames or ()), path,
             "has a frame that is no index")
    _require(job.view != "photo" or job.photo is not None, path, "asks for the view of a photo but names none")
    _require(len(job.share) == 2 and all(isinstance(part, int) for part in job.share)
             and 0 <= job.share[0] < job.share[1], path, "has a share that is none")
    _require(isinstance(job.motion_blur, int | float) and 0 <= job.motion_blur <= 2, path,
             f"asks for a shutter open for {job.motion_blur} frames, 0 to 2 are possible")
    _require(job.plates is not None or job.plate_pattern is None, path,
             "has a plate pattern but no plates")
    _require(job.output is not None or job.scene is not None, path, "asks for neither images nor a scene")


def _require(condition: bool, path: Path | str, problem: str) -> None:
    if not condition:
        raise UserInputError(f"{path} {problem}.")
