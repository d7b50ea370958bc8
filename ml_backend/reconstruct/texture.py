"""Character: the person of a track as a rig needs them, with the detailed albedo as a picture beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts.character import Character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct import enliven, illumination, paint, points, symmetry, unwrap
from ml_backend.reconstruct.person import inner, person_finder
from ml_backend.reconstruct.posed import Posed, neutral_shape, place, sample
from ml_backend.reconstruct.profile_sheet import off_outlines

ALBEDO_FILE, CHARACTER_FILE = "detailed_albedo.png", "character.npz"
TURNED, STEEP = np.radians(8.0), np.radians(35.0)
MOST_FRAMES, ALIKE = 14, 0.15
"""Frames of which the texture is made, and how much the last one must differ from all others."""
SIGNS = {"eyeBlink": 2.0, "jawOpen": 3.0, "mouthSmile": 1.5, "mouthPucker": 1.5, "mouthUpperUp": 1.5,
         "browInnerUp": 1.0}
"""Expressions by which frames are chosen, and their weights beside a turn by 8°."""
MOST_INNER = 48
"""Frames that tell the colours of eyes and mouth."""
BLINK_ON, BLINK_OFF = 0.5, 0.3
DEFAULT_BLINK_RATE, DEFAULT_BLINK_SECONDS = 0.28, 0.2
"""Seventeen a minute, a fifth of a second: what people do in conversation (Bentivoglio et al. 1997 for the rate)."""
ENOUGH_SECONDS = 8.0
PERSON_FACES = 2.4
"""Side of the picture in which the person is told from the background, in faces: a head with its shoulders."""
EDGE = 0.02
"""Face sizes within the person's outline where pixels are mixed with the background."""


def make_character(track: FaceTrack, frames: Sequence[np.ndarray], model: FaceModel, folder: Path, *,
                   name: str = CHARACTER_FILE, lives: bool = True) -> Character:
    """Write `name` (the Character) and ``detailed_albedo.png`` into `folder`, each whole or not at all.

    Parameters
    ----------
    track : the clip's track
    frames : the clip's frames, RGB uint8, as tracked
    model : the face model of the track
    folder : is made when missing
    lives : whether the texture may move with the face, where the clip tells how

    Raises
    ------
    UserInputError
        If the folder can't be written.
    """
    neutral, triangles = neutral_shape(track, model), model.triangles()
    with person_finder() as find, ThreadPoolExecutor() as pool:
        one_at_a_time = Lock()

        def person(number: int) -> Posed:
            view = place(track, model, number, frames[number], neutral, triangles)
            window = _window(track, number)
            with one_at_a_time:
                found = find(view.image, window)
            return replace(view, person=inner(found, EDGE / PERSON_FACES * float(window[2])))

        views = list(pool.map(lambda number: _cut_out(person(number), track), texture_frames(track, model, frames)))
        light, tint = illumination.neutral(track.light)
        low = illumination.tinted_albedo(model, track.texture, tint)
        seen = views if len(track) > 1 else symmetry.completed(off_outlines(views[0], model), model)
        sheet, scale = unwrap.detailed_albedo(seen, model, low, light, texture_side(track))
        # Where the light falls short, skin brighter than white would lose its colour: the light is raised instead.
        light, low = (light * scale).astype(np.float32), low / np.float32(scale)
        inside = [place(track, model, number, frames[number], neutral, triangles) for number in inner_frames(track)]
        low = paint.inner_colours(inside, track, model, neutral, _toned(low, sheet, model), light)
        alive = enliven.enlivened(track, model, neutral, sheet, low, light, person) if lives else None
    _write_png(sheet if alive is None else alive.sheet, Path(folder) / ALBEDO_FILE)
    character_file.save(made := _character(track, model, neutral, low, light, alive), Path(folder) / name)
    return made


def _character(track: FaceTrack, model: FaceModel, neutral: np.ndarray, low: np.ndarray, light: np.ndarray,
               alive: enliven.Enlivened | None) -> Character:
    """The person, with what the track tells beside shape and colours."""
    pose = track.pose()[track.confidence > 0] if (track.confidence > 0).any() else track.pose()
    rate, duration = blink_statistics(track)
    made = Character(np.array(str(model.name)), neutral, track.identity.astype(np.float32), low, np.array(ALBEDO_FILE),
                     light, track.size.astype(np.int32), np.array(float(track.focal)),
                     track.crop.astype(np.float32), pose.mean(0).astype(np.float32), pose.std(0).astype(np.float32),
                     np.array(rate, np.float32), np.array(duration, np.float32))
    if alive is None:
        return made
    drive = alive.drive
    return replace(made, living_modes=alive.modes, living_scale=alive.scale, living_names=drive.names,
                   living_gains=drive.gains, living_offset=drive.offset, living_limits=drive.limits)


def _toned(low: np.ndarray, sheet: np.ndarray, model: FaceModel) -> np.ndarray:
    """`low` (V, 3) with ears and lids, which the picture `sheet` doesn't cover, shifted to the skin's tone."""
    beside = [name for name in map(str, model.part_names) if name.startswith(("ear", "lids"))]
    if not beside:
        return low
    place_of = np.zeros((len(low), 2))
    real = model.faces >= 0
    place_of[model.faces[real]] = model.uv[model.face_uvs[real]]
    side = sheet.shape[0]
    known = np.flatnonzero(illumination.skin_trust(model) > 0.9)
    pixel = np.stack([place_of[known, 0] * side - 0.5, (1 - place_of[known, 1]) * side - 0.5], 1)
    shift = np.median(sample(sheet, pixel) - low[known], axis=0) if len(known) else np.zeros(3)
    out = low.copy()
    for name in beside:
        out[model.part(name)] = np.clip(low[model.part(name)] + shift, 0, 1)
    return out


def _window(track: FaceTrack, number: int) -> np.ndarray:
    """(3,) x, y, side, pixels: the head and shoulders of frame `number`."""
    flat = track.landmarks[number, :, :2]
    side = PERSON_FACES * float(np.ptp(flat, axis=0).max())
    return np.array([*(flat.min(0) + flat.max(0)) / 2 - side / 2, side])


def _cut_out(view: Posed, track: FaceTrack) -> Posed:
    """`view` that knows which pixels are the person's skin: a mesh that reaches beyond the jaw sees the background, and
    one whose lids or lips are not quite where they are sees an eye or teeth."""
    assert view.person is not None
    flat, holes = track.landmarks[view.number, :, :2], np.zeros(view.person.shape, np.uint8)
    for ring in (points.EYE_RIGHT, points.EYE_LEFT, points.LIPS_INNER):
        cv2.fillPoly(holes, [np.round((flat[list(ring)] - 0.5) * 16).astype(np.int32)], (1,), shift=4)
    # Half a pixel more, since the pixels at the edge are mixed.
    return replace(view, person=view.person * (1 - cv2.blur(holes.astype(np.float32), (3, 3)).clip(0, 0.5) * 2))


def texture_side(track: FaceTrack) -> int:
    """Texels along the texture's side for the face's size in pixels."""
    face = float(np.median(np.ptp(track.landmarks[..., 1], axis=1)))
    return 512 if face < 160 else 1024 if face < 320 else 2048


def neutral_cost(track: FaceTrack, model: FaceModel) -> np.ndarray:
    """(T,) how far each frame is from a calm face that looks into the camera; infinite where no face was found."""
    vertices = model.landmark_vertex
    moved = np.tensordot(track.expression, model.expression_basis[:, vertices], 1)
    calm = np.sqrt((moved**2).sum(-1).mean(1)) / 0.0015
    turned = np.abs(track.rotation[:, :2]) / np.radians(8.0)
    cost = calm + turned.sum(1)
    return np.where(track.confidence > 0, cost, np.inf)


def texture_frames(track: FaceTrack, model: FaceModel, frames: Sequence[np.ndarray]) -> list[int]:
    """Frames to build the texture from: the calmest frontal one first, then those that differ most from the chosen.

    They differ by pose and by expression, so that the sides of the face, lids of shut eyes and lips of an open mouth
    are among what is seen.
    """
    cost = neutral_cost(track, model)
    order = np.argsort(cost, kind="stable")[: max(1, min(8, len(cost) // 10 + 1))]
    first = int(max(order, key=lambda number: _sharpness(frames[number], track, int(number)) / (1 + cost[number])))
    usable = np.isfinite(cost) & (np.abs(track.rotation[:, 1] - track.rotation[first, 1]) < STEEP)
    signs = _signs(track)
    out, distance = [first], np.full(len(cost), np.inf)
    while len(out) < MOST_FRAMES:
        distance = np.minimum(distance, np.linalg.norm(signs - signs[out[-1]], axis=1))
        following = int(np.where(usable, distance, -1.0).argmax())
        if not usable[following] or distance[following] < ALIKE:
            break
        out.append(following)
    return out


def inner_frames(track: FaceTrack) -> list[int]:
    """Evenly spaced frames: what lids and lips hide changes all the time."""
    known = np.flatnonzero(track.confidence > 0)
    picks = np.linspace(0, len(known) - 1, min(MOST_INNER, len(known))).round().astype(int)
    return [int(number) for number in known[picks]] or [0]


def _signs(track: FaceTrack) -> np.ndarray:
    """(T, S) what makes two frames show different skin, each in steps that matter."""
    names = [str(name) for name in track.expression_names]
    groups = [[k for k, name in enumerate(names) if name.startswith(start)] for start in SIGNS]
    said = [track.expression[:, group].mean(1) * gain for group, gain in zip(groups, SIGNS.values(), strict=True)
            if group]
    turned = track.rotation[:, :2] / TURNED
    return np.concatenate([turned, np.reshape(said, (-1, len(track))).T], 1)


def _shut(track: FaceTrack) -> np.ndarray:
    names = [str(name) for name in track.expression_names]
    lids = [k for k, name in enumerate(names) if name.startswith("eyeBlink")]
    return track.expression[:, lids].mean(1) if lids else np.zeros(len(track))


def _sharpness(frame: np.ndarray, track: FaceTrack, number: int) -> float:
    """Mean strength of edges within the face, so that a frame blurred by motion is not chosen."""
    low, high = track.landmarks[number, :, :2].min(0), track.landmarks[number, :, :2].max(0)
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    part = frame[y0:max(y1, y0 + 2), x0:max(x1, x0 + 2)]
    if part.size == 0:
        return 0.0
    grey = part.astype(np.float32).mean(-1) if part.ndim == 3 else part.astype(np.float32)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def blink_statistics(track: FaceTrack) -> tuple[float, float]:
    """Blinks per second and a blink's seconds; what is usual where the clip is too short to tell."""
    shut, fps = _shut(track), float(track.fps)
    starts, lengths, inside = [], [], False
    for number, value in enumerate(shut):
        if not inside and value > BLINK_ON:
            inside = True
            starts.append(number)
        elif inside and value < BLINK_OFF:
            inside = False
            lengths.append(number - starts[-1])
    real = [length / fps for length in lengths if length <= 0.6 * fps]
    duration = float(np.median(real)) if len(real) >= 3 else DEFAULT_BLINK_SECONDS
    seconds = len(track) / fps
    # A prior worth eight seconds of the usual rate keeps short clips from saying "never".
    rate = (len(real) + DEFAULT_BLINK_RATE * ENOUGH_SECONDS) / (seconds + ENOUGH_SECONDS)
    return float(rate), float(np.clip(duration, 0.08, 0.5))


def _write_png(picture: np.ndarray, path: Path) -> None:
    part = path.with_name(f"{path.stem}.part.png")
    coded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(coded.tobytes())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserInputError(f"Can't write {path}: {error.strerror}. Free some space or choose another folder."
                             ) from error
