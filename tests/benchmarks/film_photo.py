"""Photos that speak: the photo at rest, the pose wanted and the pose seen, what stays, and pictures to look at.

Each photo's folder in the cache holds the film, the sheet of poses ``poses.png`` and the take.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.performance import Performance
from ml_backend.artefacts.photo_mesh import PhotoMesh
from ml_backend.audio.load import load_speech
from ml_backend.config import FPS
from ml_backend.data.frames import encode_png, frame_path, read_png, write_whole
from ml_backend.errors import UserInputError
from ml_backend.face_model.synthesis import deform, project, rotation_matrix, to_camera
from ml_backend.reconstruct.posed import neutral_shape
from ml_backend.reconstruct.profile_mesh import CHIN, TOP
from ml_backend.reconstruct.track import track_clip
from ml_backend.talk import picture
from ml_backend.talk.photo import full_frames, photo_film, take_apart
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target, load_target
from tests.benchmarks import film_takes
from tests.benchmarks.film_photo_faults import Faults, Sheet, doubled, excess, faults
from tests.benchmarks.report import Figure

CLIPS = ("person_s18", "person_s20", "person_s32")
SECONDS = 10.0
YAWS, PITCHES = (-25, -12, 0, 12, 25), (-15, 0, 15)
FAULTS = {"holes": ("holes in the head", 1.0), "crumbs": ("crumbs beside the head", 0.3),
          "ragged": ("ragged outline", 6.0)}
DOUBLED, SAME = 1.0, 6
REST_PSNR, ALIKE, GAIN = 35.0, 0.9, (0.8, 1.2)


def measure(options: argparse.Namespace) -> list[Figure]:
    """Figures of every photo; raises `UserInputError` where the data folder lacks them."""
    return [figure for path in photos(options) for figure in _photo(path, options)]


def photos(options: argparse.Namespace) -> list[Path]:
    """The portrait and the first frames of `CLIPS`, those in the cache."""
    found = [options.data / "portraits" / "astronaut_512.png"]
    for name in CLIPS:
        clip, out = options.data / "motion_only" / f"{name}.mp4", options.cache / "film" / "photos" / f"{name}.png"
        if not clip.is_file():
            raise UserInputError(f"{clip} is missing; use the whole data folder.")
        if not out.is_file():
            with av.open(str(clip)) as container:
                first = next(container.decode(video=0)).to_ndarray(format="rgb24")
            out.parent.mkdir(parents=True, exist_ok=True)
            write_whole(out, encode_png(first))
        found.append(out)
    return found


def _photo(path: Path, options: argparse.Namespace) -> list[Figure]:
    speech = _speech(options)
    with film_takes.session(path, options, speech=speech, seed=1) as session:
        target = load_target(session)
        wanted = photo_film(session, load_speech(speech), target)
        mesh = take_apart(session, target)
        rest, poses, worse, second = _poses(session, target, mesh)
        write_whole(session.take.folder.parent / "poses.png", encode_png(poses))
        changed = _changed(session, target, mesh, len(wanted))
        seen = _seen(session, wanted, options)
    error = np.mean((rest.astype(float) - target.frames[0]) ** 2)
    figures = [Figure("photo", f"{path.stem}: the photo at rest", float(10 * np.log10(255**2 / max(error, 1e-9))), "dB",
                      REST_PSNR, True, "PSNR, whole frame"),
               Figure("photo", f"{path.stem}: pixels changed that nothing covers", float(changed), "", 0.0, False,
                      "all frames of the film, before coding"),
               *_worst(path.stem, worse),
               Figure("photo", f"{path.stem}: second chin or cheek", second, "%", DOUBLED, False,
                      "of what the sheet shows of the face, beside the face in the worst pose")]
    return figures + _agreement(path.stem, wanted.pose, seen)


def _worst(name: str, worse: Faults) -> list[Figure]:
    note = f"worst pose of ±{max(YAWS)}° and ±{max(PITCHES)}°, over the photo's own"
    return [Figure("photo", f"{name}: {what}", getattr(worse, field), "%", bar, False, note)
            for field, (what, bar) in FAULTS.items()]


def _speech(options: argparse.Namespace) -> Path:
    out = options.cache / "film" / "speech_10s.wav"
    if not out.is_file():
        samples, rate = soundfile.read(film_takes.speech_file(options), dtype="float32")
        soundfile.write(out, samples[: round(SECONDS * rate)], rate)
    return out


def _poses(session: Session, target: Target, mesh: PhotoMesh) -> tuple[np.ndarray, np.ndarray, Faults, float]:
    """The frame at rest, the sheet of poses about it, turned about the neck's pivot, and their worst faults."""
    rest, pivot = target.track.pose()[0].astype(float), session.model.joint("head").astype(float)
    rows = [rest]
    for pitch, yaw in product(PITCHES, YAWS):
        pose = rest + np.radians([pitch, yaw, 0, 0, 0, 0])
        pose[3:] = rest[3:] + rotation_matrix(rest[:3]) @ pivot - rotation_matrix(pose[:3]) @ pivot
        rows.append(pose)
    own = np.repeat(np.clip(target.track.expression, 0, 1), len(rows), 0)
    act = Performance(np.arange(len(rows)) / FPS, own, [str(name) for name in target.track.expression_names],
                      np.array(rows, np.float32), {"made_from": "benchmark"})
    take = session.take
    performance_file.save(act, take.path("poses.npz"))
    size = max(8, round(int(mesh.window[2:].max()) * picture.crop_size(session, target) / float(target.track.crop[2])))
    size = min(size, int(mesh.window[2:].max()))
    rgba = picture.render(session, "poses_rgba", "Rendering poses", {"photo": take.key("photo"), "size": size},
                          {"photo": str(take.path("photo.npz").resolve()), "view": "photo", "size": size,
                           "performance": str(take.path("poses.npz").resolve())})
    plate = read_png(take.path("photo_plate.png"))[..., :3]
    frames = list(full_frames(plate, mesh, rgba, len(rows)))
    x, y, width, height = (int(value) for value in mesh.window)
    parts = [frame[y:y + height, x:x + width] for frame in frames[1:]]
    lines = [np.hstack(parts[start:start + len(YAWS)]) for start in range(0, len(parts), len(YAWS))]
    drawn = [cv2.resize(read_png(frame_path(rgba, index)), (width, height)) for index in range(len(rows))]
    tall = float(np.linalg.norm(target.track.landmarks[0, CHIN, :2] - target.track.landmarks[0, TOP, :2]))
    found = [faults(picture, tall) for picture in drawn]
    second = max(doubled(sheet, face, target.frames.size, tall) for sheet, face in _turned(session, target, mesh, rows))
    return frames[0], np.vstack(lines), excess(found[1:], found[0]), second


def _turned(session: Session, target: Target, mesh: PhotoMesh, poses: list[np.ndarray]
            ) -> Iterator[tuple[Sheet, np.ndarray]]:
    """The sheet in every pose and the outlines (F, 3, 2) of the triangles of the face that is drawn before it."""
    track, model, size = target.track, session.model, np.asarray(target.track.size, float)
    weights = np.clip(track.expression[0], 0, 1)
    shape = deform(neutral_shape(track, model), model.expression_basis, weights)
    moved = weights[[model.names.index(str(name)) for name in mesh.names]]
    points = mesh.vertices + np.tensordot(moved, mesh.offsets, 1)
    triangles = model.triangles()
    triangles = triangles[(mesh.drawn[triangles] > 0.5).all(1)]
    rest, still = to_camera(points, poses[0]), mesh.still[:, None]

    def flat(camera: np.ndarray) -> np.ndarray:
        return project(camera, float(track.focal), size / 2) - 0.5

    # What of the photo's own face the sheet shows: inside it, and in its own colours.
    texture = read_png(session.take.path("photo_head.png"))
    at = np.array([texture.shape[1], texture.shape[0]])
    u, v = np.clip(np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], 1) * at, 0, at - 1).astype(int).T
    x, y = np.clip(np.round(flat(rest)), 0, size - 1).astype(int).T
    oval = np.zeros((int(size[1]), int(size[0])), np.uint8)
    inner = model.triangles()[(model.region("face")[model.triangles()] > 0.9).all(1)]
    cv2.fillPoly(oval, list(np.round(flat(to_camera(shape, poses[0]))[inner]).astype(np.int32)), (1,))
    alike = np.abs(texture[v, u, :3].astype(int) - target.frames[0][y, x]).max(1) <= SAME
    face = alike & (texture[v, u, 3] > 200) & (oval[y, x] > 0)
    for pose in poses:
        yield (Sheet(flat(still * rest + (1 - still) * to_camera(points, pose)), face),
               flat(to_camera(shape, pose))[triangles])


def _changed(session: Session, target: Target, mesh: PhotoMesh, count: int) -> int:
    """Pixels of the film outside all renders and outside the plate's hole that are not the photo's, over all frames."""
    photo, plate = target.frames[0], read_png(session.take.path("photo_plate.png"))[..., :3]
    rgba, total = session.take.path("frames_rgba"), 0
    x, y, width, height = (int(value) for value in mesh.window)
    for index, frame in enumerate(full_frames(plate, mesh, rgba, count)):
        free = (plate == photo).all(-1)
        alpha = cv2.resize(read_png(frame_path(rgba, index))[..., 3], (width, height), interpolation=cv2.INTER_CUBIC)
        free[y:y + height, x:x + width] &= cv2.dilate(alpha, np.ones((5, 5), np.uint8)) == 0
        total += int((frame != photo).any(-1)[free].sum())
    return total


def _seen(session: Session, wanted: Performance, options: argparse.Namespace) -> np.ndarray:
    """(T, 6) pose tracked in the film as it is watched."""
    with av.open(str(session.options.out)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return track_clip(frames[: len(wanted)], session.model, fps=float(FPS)).pose()


def _agreement(name: str, wanted: np.ndarray, seen: np.ndarray) -> list[Figure]:
    figures = []
    count = min(len(wanted), len(seen))
    for axis, label in enumerate(("pitch", "yaw", "roll")):
        a, b = (np.degrees(pose[:count, axis] - pose[:count, axis].mean()) for pose in (wanted, seen))
        gain = float((a * b).sum() / max((a * a).sum(), 1e-9))
        note = f"tracked in the film; it moves by {a.std():.1f}° (σ), {np.ptp(a):.0f}° in all"
        figures.append(Figure("photo", f"{name}: {label}, r", float(np.corrcoef(a, b)[0, 1]), "", ALIKE, True, note))
        figures.append(Figure("photo", f"{name}: {label}, gain", gain, "", None, True,
                              f"aim {GAIN[0]:g} to {GAIN[1]:g}"))
    return figures
