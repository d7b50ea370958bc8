"""Frames out of Blender: settings that cost only what they show, a probe before the run, and a run that resumes."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core.errors import RenderError
from . import compat

Progress = Callable[[int, int], None]
STRETCH = 10
"""Frames rendered in one go. More would hardly be faster, and Blender can't be stopped in between."""
SMALL, LARGE = 64, 1024
"""Longer side of a probe's picture in pixels, and the size above which a full one is tried too."""
PNG_END = b"IEND\xaeB`\x82"
VISIBLE = 0.002
"""Least share of pixels with some alpha for a probe to count as a picture."""


def configure(scene: bpy.types.Scene, engine: str, size: tuple[int, int], samples: int,
              motion_blur: float = 0.0) -> None:
    """Set `scene` to render RGBA of `size` pixels with `engine` ("eevee", "workbench"), values passed through.

    No shadows, no ray tracing, no volumes: the materials emit. The world's light probe is kept at its smallest, which
    alone makes an EEVEE frame five times as fast on a processor. `motion_blur` is the share of a frame's time that the
    shutter is open, about the frame's own moment; 0 = sharp. Workbench knows none.
    """
    scene.render.engine = compat.engine(engine)
    scene.render.resolution_x, scene.render.resolution_y = int(size[0]), int(size[1])
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.dither_intensity = 0.0
    scene.render.use_compositing = scene.render.use_sequencer = False
    scene.render.use_motion_blur = motion_blur > 0
    if motion_blur > 0:
        scene.render.motion_blur_shutter, scene.render.motion_blur_position = motion_blur, "CENTER"
    scene.render.filter_size = 1.0
    compat.image_format(scene, "PNG", "RGBA")
    scene.render.image_settings.color_depth, scene.render.image_settings.compression = "8", 15
    # When, where and how quickly a picture was made is nobody's business, and makes equal pictures unequal files.
    compat.set_if_there(scene.render, use_stamp_date=False, use_stamp_render_time=False, use_stamp_memory=False,
                        use_stamp_hostname=False, use_stamp_filename=False)
    pass_values_through(scene)
    compat.set_if_there(scene.eevee, taa_render_samples=samples, taa_samples=samples, use_shadows=False,
                        use_raytracing=False, use_fast_gi=False, use_volumetric_shadows=False, volumetric_samples=1,
                        gi_irradiance_pool_size="16", shadow_pool_size="16")
    if scene.world is None:
        scene.world = bpy.data.worlds.new("Parley World")
        scene.world.color = (0, 0, 0)
    compat.set_if_there(scene.world, probe_resolution="128", use_sun_shadow=False)
    _workbench(scene.display)


def pass_values_through(scene: bpy.types.Scene) -> None:
    """Colour management that changes no value: the materials hold display-encoded colours."""
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Raw"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0
    scene.sequencer_colorspace_settings.name = "sRGB"


def probe(scene: bpy.types.Scene, frame: int, warn: Callable[[str], None]) -> None:
    """Render `frame` small, and large as well where it is large; where EEVEE can't, change to Workbench and say so.

    Raises
    ------
    RenderError
        If Workbench draws nothing either.
    """
    size = scene.render.resolution_x, scene.render.resolution_y
    try:
        problem = _trial(scene, frame, SMALL)
        if not problem and max(size) > LARGE:
            problem = _trial(scene, frame, max(size))
        if problem and scene.render.engine != compat.engine("workbench"):
            warn(f"EEVEE can't draw here ({problem}); Workbench draws the frames instead.")
            scene.render.engine = compat.engine("workbench")
            problem = _trial(scene, frame, SMALL)
        if problem:
            raise RenderError(f"Blender draws no picture here: {problem}. Look at Blender's own messages in the log.")
    finally:
        scene.render.resolution_x, scene.render.resolution_y = size


def frames(scene: bpy.types.Scene, indices: list[int], folder: Path, progress: Progress) -> int:
    """Render the scene frame index + 1 of each of `indices` to `folder`/%06d.png, except those that are there.

    Consecutive frames are rendered in one go, which halves EEVEE's time for each. A file gets its name only when it
    is complete. Returns the number of frames that were rendered; `progress` may raise to stop, which takes up to
    `STRETCH` frames more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = sorted({index for index in indices if not (folder / f"{index:06d}.png").exists()})
    total, ready = len(set(indices)), len(set(indices)) - len(missing)
    progress(ready, total)
    with tempfile.TemporaryDirectory(prefix=".rendering", dir=folder) as parts:
        writer = _Writer(Path(parts), folder, ready, total, progress)
        scene.render.filepath = os.path.join(parts, "######")
        with _handler(bpy.app.handlers.render_write, writer.written):
            for first, last in runs(missing):
                scene.frame_start, scene.frame_end, scene.frame_step = first + 1, last + 1, 1
                _animate(writer)
                if first == missing[0]:
                    _check_first(folder, range(first, last + 1))
    return len(missing)


def _check_first(folder: Path, stretch: range) -> None:
    """Never a silent black film: raise `RenderError`, and leave none of the `stretch`, if its first image is blank."""
    problem = _blank(read(folder / f"{stretch[0]:06d}.png"))
    if problem:
        for index in stretch:
            (folder / f"{index:06d}.png").unlink(missing_ok=True)
        raise RenderError(f"Frame {stretch[0]} came out wrong: {problem}. Try the other engine, or a smaller size.")


def runs(indices: list[int]) -> list[tuple[int, int]]:
    """First and last of each stretch of at most `STRETCH` consecutive numbers in the sorted `indices`."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index - 1 and index - found[-1][0] < STRETCH:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


class _Writer:
    """Moves each finished image to its place and counts; keeps what `progress` raised, as Blender swallows it."""

    def __init__(self, parts: Path, folder: Path, done: int, total: int, progress: Progress) -> None:
        self.parts, self.folder, self.done, self.total, self.progress = parts, folder, done, total, progress
        self.problem: BaseException | None = None

    def written(self, scene: bpy.types.Scene, *_: object) -> None:
        """Called by Blender after it has written a frame."""
        try:
            number = scene.frame_current
            check_whole(self.parts / f"{number:06d}.png")
            os.replace(self.parts / f"{number:06d}.png", self.folder / f"{number - 1:06d}.png")
            self.done += 1
            if self.problem is None:
                self.progress(self.done, self.total)
        except BaseException as problem:
            self.problem = problem
            raise


def _animate(writer: _Writer) -> None:
    before = writer.done
    try:
        bpy.ops.render.render(animation=True)
    except RuntimeError as error:
        raise RenderError(f"Blender stopped rendering: {error}.") from (writer.problem or error)
    if writer.problem is not None:
        raise writer.problem
    if writer.done == before:
        raise RenderError("Blender rendered no frame; look at its own messages in the log.")


def _trial(scene: bpy.types.Scene, frame: int, longest: int) -> str:
    """"" if the scene's frame `frame` can be drawn `longest` pixels long, else what went wrong."""
    size = scene.render.resolution_x, scene.render.resolution_y
    scale = longest / max(size)
    scene.render.resolution_x, scene.render.resolution_y = (max(round(side * scale), 4) for side in size)
    with tempfile.TemporaryDirectory() as folder:
        scene.frame_set(frame)
        scene.render.filepath = os.path.join(folder, "probe.png")
        try:
            bpy.ops.render.render(write_still=True)
        except RuntimeError as error:
            return str(error).strip()
        if not os.path.exists(scene.render.filepath):
            return "no file was written"
        pixels = read(Path(scene.render.filepath))
    return _blank(pixels)


def _blank(pixels: np.ndarray) -> str:
    """"" if `pixels` (H, W, 4) show something, else what they show."""
    if (pixels[..., 3] > 0).mean() < VISIBLE:
        return "the picture is empty"
    if pixels[..., :3].max() <= 0:
        return "the picture is black"
    return ""


def check_whole(path: Path) -> None:
    """Raise `RenderError` if the PNG at `path` is cut off: on a full disk Blender writes what fits and says nothing."""
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - len(PNG_END)))
        if stream.read() != PNG_END:
            raise RenderError("An image could not be written whole; most likely the disk is full.")


def read(path: Path) -> np.ndarray:
    """(H, W, 4) float32 of the image at `path`, values as stored, first row on top."""
    image: Any = bpy.data.images.load(str(path), check_existing=False)
    try:
        image.colorspace_settings.name = "Non-Color"
        values = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(values)
        return values.reshape(image.size[1], image.size[0], -1)[::-1]
    finally:
        bpy.data.images.remove(image)


def _workbench(display: Any) -> None:
    shading = display.shading
    shading.light, shading.color_type = "FLAT", "VERTEX"
    shading.show_cavity = shading.show_shadows = shading.show_object_outline = False
    display.render_aa = "8"


@contextmanager
def _handler(handlers: list, function: Callable[..., None]) -> Iterator[None]:
    handlers.append(function)
    try:
        yield
    finally:
        handlers.remove(function)
