"""The film of a photo: its head turns as a mesh that shows the photo, over the photo without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts import photo_mesh
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.photo_mesh import PhotoMesh
from ml_backend.audio.load import Speech
from ml_backend.background.composite import composite
from ml_backend.background.warp import crop_resize
from ml_backend.config import motion_weights
from ml_backend.data.frames import encode_png, frame_path, read_png, write_whole
from ml_backend.film.layers import difference_layer, over
from ml_backend.reconstruct.posed import neutral_shape, place
from ml_backend.reconstruct.profile_mesh import PLATE_FILE, TEXTURE_FILE, build, layers
from ml_backend.take import file_hash
from ml_backend.talk import film, picture, preview, refining
from ml_backend.talk.extras import Parts, write_extras
from ml_backend.talk.session import Session
from ml_backend.talk.speaking import perform
from ml_backend.talk.target import Target
from ml_backend.terminal import hushed

MESH_FILE = "photo.npz"
FINER = 2.0
"""Texels along a rendered pixel: more would be skipped, and flicker."""


def photo_film(session: Session, speech: Speech, target: Target) -> Performance:
    """Performance, scene and film of the photo `target`; returns the performance."""
    options = session.options
    performance = perform(session, speech, motion_weights(options.weights), target)
    mesh = take_apart(session, target)
    film.make_scene(session, target)
    performance = preview.enter(session, performance)
    rgba, engine = render_photo(session, target, mesh)
    still = engine == "BLENDER_WORKBENCH"
    if still:
        session.terminal.warn("Workbench can't draw a photo that turns: the head keeps the photo's pose. Use EEVEE.")
    take = session.take
    behind = target.frames[0] if still else read_png(take.path(PLATE_FILE))[..., :3]
    film.make_film(
        session,
        full_frames(behind, mesh, rgba, len(performance), still=still),
        speech,
        {"rgba": take.key("frames_rgba"), "photo": take.key("photo"), "speech": file_hash(options.speech)},
        target.frames.size,
    )
    refining.say_unrefined(session, len(target.frames))
    size = picture.crop_size(session, target)

    def layer(index: int) -> np.ndarray:
        return head_layer(behind, mesh, rgba, index, still=still)

    def crop(index: int) -> np.ndarray:
        return crop_resize(over(layer(index), behind), target.track.crop, size)

    write_extras(session, speech, performance, Parts(layer, lambda _: behind, crop))
    return performance


def take_apart(session: Session, target: Target) -> PhotoMesh:
    """The photo's mesh and its pictures, saved in the take."""
    take = session.take
    density = _density(session, target)

    def work(progress):
        image, track, model = target.frames[0], target.track, session.model
        rest = neutral_shape(track, model)
        view = place(track, model, 0, image, rest, model.triangles())
        with hushed(take.path("logs/track.log")):
            parts = layers(view, track, model, rest)
        mesh = build(view, track, model, rest, parts, target.character.light)
        texture = parts.texture
        if density * FINER < 1:
            texture = _shrunk(texture, density * FINER)
        write_whole(take.path(TEXTURE_FILE), encode_png(texture))
        write_whole(take.path(PLATE_FILE), encode_png(parts.plate))
        photo_mesh.save(mesh, take.path(MESH_FILE))
        return {"vertices": len(mesh.vertices), "window": mesh.window.tolist()}

    session.stage("photo", "Taking the photo apart", {"character": take.key("character"), "density": density},
                  [MESH_FILE, TEXTURE_FILE, PLATE_FILE], work)
    return photo_mesh.load(take.path(MESH_FILE))


def render_photo(session: Session, target: Target, mesh: PhotoMesh) -> tuple[Path, str]:
    """RGBA pictures of what moves, in the mesh's window, and the engine that drew them."""
    take = session.take
    size = max(8, round(_density(session, target) * int(mesh.window[2:].max())))
    rgba = picture.render(
        session,
        "frames_rgba",
        "Rendering in Blender",
        {"motion": take.key("motion"), "photo": take.key("photo"), "size": size},
        {"photo": str(take.path(MESH_FILE).resolve()), "view": "photo", "size": size},
    )
    return rgba, str(session.facts["frames_rgba"].get("engine", ""))


def full_frames(behind: np.ndarray, mesh: PhotoMesh, rgba: Path, count: int, *, still: bool = False
                ) -> Iterator[np.ndarray]:
    """Yield every frame (H, W, 3) uint8: the rendered window over `behind`, whose other pixels stay as they are.

    Parameters
    ----------
    behind : (H, W, 3) uint8, the photo without its head, or with it if `still`
    still : the pictures show the face alone, as over a clip's plates
    """
    for index in range(count):
        yield over(head_layer(behind, mesh, rgba, index, still=still), behind)


def head_layer(behind: np.ndarray, mesh: PhotoMesh, rgba: Path, index: int, *, still: bool) -> np.ndarray:
    """(H, W, 4) uint8, straight alpha: what frame `index` shows over `behind`; see `full_frames`."""
    x, y, width, height = (int(value) for value in mesh.window)
    drawn = _grown(read_png(frame_path(rgba, index)), (width, height))
    layer = np.zeros((*behind.shape[:2], 4), np.uint8)
    if still:
        part = behind[y:y + height, x:x + width]
        drawn = difference_layer(composite(drawn, part), part)
    layer[y:y + height, x:x + width] = drawn
    return layer


def _density(session: Session, target: Target) -> float:
    """Rendered pixels along one of the photo's: those of the face crop, at most one."""
    return min(1.0, picture.crop_size(session, target) / float(target.track.crop[2]))


def _grown(rgba: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if rgba.shape[1::-1] == size:
        return rgba
    return _resized(rgba, size, cv2.INTER_CUBIC)


def _shrunk(rgba: np.ndarray, scale: float) -> np.ndarray:
    size = (max(1, round(rgba.shape[1] * scale)), max(1, round(rgba.shape[0] * scale)))
    return _resized(rgba, size, cv2.INTER_AREA)


def _resized(rgba: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """`rgba` in another size; colours weigh by their alpha, so that what is clear bleeds into nothing."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    both = cv2.resize(np.concatenate([rgba[..., :3] * alpha, alpha * 255], 2), size, interpolation=how)
    share = np.clip(both[..., 3:], 0, 255)
    colour = both[..., :3] / np.maximum(share / 255, 1e-3)
    return np.round(np.clip(np.concatenate([colour, share], 2), 0, 255)).astype(np.uint8)
