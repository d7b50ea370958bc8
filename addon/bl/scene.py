"""A job done in Blender: an empty scene, the head, its keys, camera, what stands behind it, images and the .blend."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core import character as characters
from ..core import face_model, look, performance, photo, plates
from ..core.errors import UserInputError
from ..core.job import RenderJob
from ..core.timing import FrameClock
from . import camera, compat, hair, keyframes, materials, render, rig, sound, workbench
from . import photo as turning
from . import plates as backgrounds

Progress = Callable[[str, int, int], None]
BACKDROP = (0.52, 0.55, 0.60)


@dataclass(frozen=True)
class Inputs:
    """What a job's files hold; `act` already has the plates' poses where there are plates. `worn`: None over plates.

    `photo`: the mesh of the photo that turns with the head, None where there is none.
    """

    model: face_model.FaceModel
    character: characters.Character
    texture: Path | None
    act: performance.Performance
    plates: plates.Plates | None
    worn: look.Look | None = None
    photo: photo.PhotoMesh | None = None

    @property
    def rest(self) -> np.ndarray:
        """(6,) the head's mean pose, rad and m."""
        return self.act.pose.astype(np.float64).mean(0)

    @property
    def origin(self) -> np.ndarray:
        """(3,) metres in camera space: the head's mean position, which becomes the world's origin."""
        return self.rest[3:]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the clip's frame, pixels."""
        return int(self.character.size[0]), int(self.character.size[1])


def perform(job: RenderJob, progress: Progress, warn: Callable[[str], None]) -> dict[str, Any]:
    """Do `job`; returns what the result message says. Raises `ParleyError`."""
    inputs = read(job)
    indices = _indices(job, len(inputs.act))
    empty_file()
    progress("build", 0, 1)
    head = rig.build(inputs.model, inputs.character, inputs.texture, inputs.rest, inputs.worn)
    if inputs.photo is not None:
        turning.add(head, inputs.photo, inputs.character.light)
    view = _camera(job, inputs)
    bpy.context.scene.camera = view
    backdrop = _backdrop(job, inputs, view)
    progress("build", 1, 1)
    done: dict[str, Any] = {"frames": len(indices), "rendered": 0, "blender": bpy.app.version_string}
    if job.output is not None and indices:
        done |= _render(job, inputs, head, backdrop, indices, progress, warn)
    if job.scene is not None:
        done |= _save(job, inputs, head, view, progress, warn)
    return done


def read(job: RenderJob) -> Inputs:
    """Read and check all files of `job`; raises `ArtefactError`."""
    model = face_model.load(job.face_model)
    person = characters.load(job.character)
    characters.match(person, model, job.character)
    act = performance.load(job.performance)
    matched = plates.load(job.plates) if job.plates is not None else None
    if matched is not None:
        if len(matched) < len(act):
            raise UserInputError(f"{job.plates} has {len(matched)} frames, the performance {len(act)}; match again.")
        act = replace(act, pose=matched.pose[:len(act)])
    texture = person.texture(job.character.parent)
    # A head that takes someone's place in their own film or photo shows what was measured of them, and no more.
    nobody = texture is None and matched is None and not job.face_only and job.photo is None
    return Inputs(model, person, texture, act, matched, look.beside(job.face_model, model) if nobody else None,
                  photo.load(job.photo) if job.photo is not None else None)


def empty_file() -> None:
    """Forget everything that is open: no default cube, no user's add-ons, one empty scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.name = "Parley"


def _indices(job: RenderJob, count: int) -> list[int]:
    indices = list(range(count)) if job.frames is None else list(job.frames)
    if any(index >= count for index in indices):
        raise UserInputError(f"The job asks for frame {max(indices)}, the performance has {count} frames, from 0.")
    part, parts = job.share
    return [index for index in indices if index // render.STRETCH % parts == part]


def _camera(job: RenderJob, inputs: Inputs) -> bpy.types.Object:
    """The camera of the job's view."""
    person = inputs.character
    focal, size = float(person.focal), person.size
    if job.view == "full":
        return camera.add("Parley Camera", focal, size, inputs.origin)
    if job.view == "photo" and inputs.photo is not None:
        x, y, width, height = (float(value) for value in inputs.photo.window)
        window = (x, y, width, height)
    elif job.view == "portrait":
        window = camera.portrait_window(person.neutral_shape, inputs.rest, focal, size)
    else:
        x, y, side = (float(value) for value in person.crop)
        window = (x, y, side, side)
    return camera.add("Parley Camera", focal, size, inputs.origin, window)


def _backdrop(job: RenderJob, inputs: Inputs, view: bpy.types.Object) -> bpy.types.Object | None:
    if job.view != "portrait" and job.backdrop is None:
        return None
    distance = backgrounds.BEHIND * float(inputs.origin[2])
    return backgrounds.add_backdrop(view, job.backdrop or BACKDROP, distance)


def _save_backdrop(job: RenderJob) -> None:
    """The backdrop as a picture of its own, where the job wants it so."""
    if job.backdrop_to is None:
        return
    picture = backgrounds.gradient(job.backdrop or BACKDROP, job.size, job.size)
    part = job.backdrop_to.with_name(f".{job.backdrop_to.name}.{os.getpid()}.png")
    try:
        workbench.write(np.pad(picture, ((0, 0), (0, 0), (0, 1)), constant_values=1), part)
        os.replace(part, job.backdrop_to)
    except (OSError, RuntimeError) as error:
        raise UserInputError(f"Can't write {job.backdrop_to} ({error}); choose another folder.") from error


def _resolution(job: RenderJob, inputs: Inputs) -> tuple[int, int]:
    if job.view == "photo" and inputs.photo is not None:
        return inputs.photo.pixels(job.size)
    return inputs.size if job.view == "full" else (job.size, job.size)


def _render(job: RenderJob, inputs: Inputs, head: rig.Head, backdrop: bpy.types.Object | None, indices: list[int],
            progress: Progress, warn: Callable[[str], None]) -> dict[str, Any]:
    """Images of the samples `indices`: sample i is keyed at frame i + 1, whatever the scene's rate will be."""
    assert job.output is not None
    scene = bpy.context.scene
    render.configure(scene, job.engine, _resolution(job, inputs), job.samples, job.motion_blur)
    keyframes.write_samples(head, inputs.act, np.arange(len(inputs.act)) + 1)
    if inputs.photo is not None:
        return _render_photo(job, inputs, head, indices, progress, warn)
    rig.show_face_only(head, job.face_only)
    materials.set_feather(head.mesh.data, job.face_only)
    alone = job.face_only or job.backdrop_to is not None
    if backdrop is not None:
        backdrop.hide_render = alone
        _save_backdrop(job)
    render.probe(scene, indices[0] + 1, warn)
    report = lambda done, total: progress("render", done, total)  # noqa: E731
    if scene.render.engine == compat.engine("workbench"):
        behind = None if backdrop is None or alone else job.backdrop or BACKDROP
        hair.show(head.empty, False)  # it has no colours without shader nodes; the scalp is painted
        if backdrop is not None:
            backdrop.hide_render = True
        shader = workbench.Shader(head, inputs.model, inputs.character, inputs.act, inputs.texture is not None,
                                  job.face_only, behind)
        rendered = workbench.frames(scene, shader, indices, job.output, report)
        workbench.clean(head)
        hair.show(head.empty, True)
    else:
        rendered = render.frames(scene, indices, job.output, report)
    rig.show_face_only(head, False)
    materials.set_feather(head.mesh.data, False)
    if backdrop is not None:
        backdrop.hide_render = False
    return {"output": str(job.output), "rendered": rendered, "engine": scene.render.engine}


def _render_photo(job: RenderJob, inputs: Inputs, head: rig.Head, indices: list[int], progress: Progress,
                  warn: Callable[[str], None]) -> dict[str, Any]:
    """The turning head of a photo; by Workbench, which can't draw its mesh, the face alone in the photo's pose."""
    assert job.output is not None and inputs.photo is not None
    scene = bpy.context.scene
    rig.show_face_only(head, True)
    render.probe(scene, indices[0] + 1, warn)
    report = lambda done, total: progress("render", done, total)  # noqa: E731
    if scene.render.engine == compat.engine("workbench"):
        act = replace(inputs.act, pose=np.tile(inputs.photo.rest, (len(inputs.act), 1)))
        keyframes.write_samples(head, act, np.arange(len(act)) + 1)
        turning.show(False)
        shader = workbench.Shader(head, inputs.model, inputs.character, act, inputs.texture is not None, True, None)
        rendered = workbench.frames(scene, shader, indices, job.output, report)
        workbench.clean(head)
        turning.show(True)
    else:
        rendered = render.frames(scene, indices, job.output, report)
    rig.show_face_only(head, False)
    return {"output": str(job.output), "rendered": rendered, "engine": scene.render.engine}


def _save(job: RenderJob, inputs: Inputs, head: rig.Head, view: bpy.types.Object, progress: Progress,
          warn: Callable[[str], None]) -> dict[str, Any]:
    """The editable scene: keys at the job's rate, plates and speech in place, written whole or not at all."""
    assert job.scene is not None
    # Over a plate the plate's own hair and neck belong in the picture; one click on the modifier shows the whole head.
    rig.show_face_only(head, job.face_only or inputs.photo is not None)
    scene = bpy.context.scene
    clock = _set_rate(scene, job.fps)
    frames = keyframes.write(head, inputs.act, clock)
    render.configure(scene, job.engine, _resolution(job, inputs), job.samples, job.motion_blur)
    scene.frame_start, scene.frame_end, scene.frame_step = int(frames[0]), int(frames[-1]), 1
    scene.frame_set(int(frames[0]))
    files = job.scene.with_name(f"{job.scene.stem}_files")
    if inputs.plates is not None and job.plate_pattern is not None:
        times = np.clip(clock.seconds(frames.astype(float)), 0, None)
        first = copy_plates(inputs, job.plate_pattern, files / "plates", times, lambda d, t: progress("plates", d, t))
        backgrounds.add_sequence(view, first, len(frames), float(inputs.character.focal), inputs.character.size,
                                 backgrounds.BEHIND * float(inputs.origin[2]))
    if inputs.photo is not None:
        turning.add_plate(view, inputs.photo, float(inputs.character.focal), inputs.character.size,
                          backgrounds.BEHIND * float(inputs.origin[2]))
    if job.speech is not None and sound.possible():
        sound.add(scene, job.speech, 1, files)
    elif job.speech is not None:
        warn("This Blender was built without sound, so the scene has no speech on its sequencer; add it there.")
    scene.render.filepath = "//render/######"
    _tidy(head)
    save_file(job.scene)
    return {"scene": str(job.scene), "scene_frames": len(frames)}


def copy_plates(inputs: Inputs, pattern: str, folder: Path, times: np.ndarray,
                progress: Callable[[int, int], None]) -> Path:
    """Put the matched source frames of `times` (N,) s into `folder`, numbered from 1; returns the first one's path.

    Hard links where the disk allows them, else copies. Raises `UserInputError` if a source frame is missing.
    """
    assert inputs.plates is not None
    suffix = Path(pattern).suffix
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    nearest = np.abs(inputs.act.times[None, :] - times[:, None]).argmin(1)
    for number, source in enumerate(inputs.plates.source[nearest], 1):
        frame = Path(pattern % int(source))
        if not frame.is_file():
            raise UserInputError(f"{frame} is missing; extract the clip's frames again.")
        target = folder / f"{number:06d}{suffix}"
        try:
            os.link(frame, target)
        except OSError:
            shutil.copyfile(frame, target)
        progress(number, len(times))
    return folder / f"{1:06d}{suffix}"


def save_file(path: Path) -> None:
    """Save the open file to `path` with textures packed and paths relative; raises `UserInputError`."""
    for image in bpy.data.images:
        # Not `has_data`: a picture that nothing has drawn yet isn't loaded, and has to be in the file all the same.
        if image.source == "FILE" and image.packed_file is None and Path(bpy.path.abspath(image.filepath)).is_file():
            image.pack()
    part = path.with_name(f".{path.name}.part.blend")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(part), check_existing=False, compress=True, relative_remap=True)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        raise UserInputError(f"Can't save {path} ({error}); choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def _set_rate(scene: bpy.types.Scene, fps: float) -> FrameClock:
    whole = max(round(fps), 1)
    scene.render.fps, scene.render.fps_base = whole, whole / fps
    return FrameClock(float(whole), whole / fps, 1.0)


def _tidy(head: rig.Head) -> None:
    """Leave the mesh selected and active, nothing unused in the file, and viewports that show what is rendered."""
    for item in bpy.context.scene.objects:
        item.select_set(item == head.mesh)
    bpy.context.view_layer.objects.active = head.mesh
    bpy.data.orphans_purge(do_recursive=True)
    solid = bpy.context.scene.render.engine == compat.engine("workbench")  # which knows no material preview
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                view = area.spaces.active
                view.region_3d.view_perspective = "CAMERA"
                # A file never opens in the mode "RENDERED"; this one shows the same for materials that only emit.
                view.shading.type = "SOLID" if solid else "MATERIAL"
                view.shading.use_scene_world = True
