"""Random heads, drawn by Blender and tracked from the picture alone: what returns of pose, expression and person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.schema import load_npz
from ml_backend.blender import Blender, child_script, run_job
from ml_backend.config import head_model
from ml_backend.data.frames import frame_path, read_png
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.face_model.look import hairstyles
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.synthesis import deform, rotation_angles, rotation_matrix, to_camera, vertex_normals
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import illumination
from ml_backend.reconstruct.track import track_clip
from tests.benchmarks import face_heads
from tests.benchmarks.face_heads import SIZE, Heads
from tests.benchmarks.report import Figure

PART = "round trip"
SEED = 7
SAMPLES = 8
"""Of a pixel of a picture."""
POSE_BAR, CORRELATION_BAR, ABOVE_CHANCE = 2.5, 0.85, 0.2
CHANNELS = ("jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight",
            "browInnerUp")
CHILD = Path(__file__).with_name("face_heads_child.py")
SHUFFLES = 20
FACING = 0.3


@dataclass(frozen=True)
class Returned:
    """What came back of N heads, those with a face only. `which` (N,) are their numbers."""

    which: np.ndarray
    tracks: list[FaceTrack]


def pictures(heads: Heads, blender: Blender, work: Path, model_file: Path, progress: Progress = silent, *,
             samples: int = SAMPLES) -> list[np.ndarray]:
    """(S, S, 3) uint8 pictures of `heads`, drawn by one child process and laid over their backgrounds."""
    rendered = work / "rendered"
    if not _same(heads, work / "heads.npz"):
        for old in rendered.glob("*.png"):
            old.unlink()
        face_heads.save(heads, work / "heads.npz")
    job = {"heads": str(work / "heads.npz"), "face_model": str(model_file.resolve()), "output": str(rendered),
           "size": SIZE, "samples": samples}
    words = tuple(str(CHILD) if word == str(child_script()) else word for word in blender.command)
    run_job(Blender(words, blender.module), job, work / "job.json", work / "blender.log", progress=progress)
    return [over(read_png(frame_path(rendered, number)), heads.background[number]) for number in range(len(heads))]


def _same(heads: Heads, path: Path) -> bool:
    """Whether the pictures that lie beside `path` are of these heads."""
    try:
        kept = load_npz(path, face_heads.SCHEMA, face_heads.VERSION)
    except ArtefactError:
        return False
    drawn = ("neutral", "albedo", "expression", "pose", "focal", "light", "hair")
    return all(name in kept and np.array_equal(kept[name], getattr(heads, name)) for name in drawn)


def over(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: RGBA `picture` (H, W, 4) over a gradient between two colours (2, 3)."""
    share = np.linspace(0, 1, len(picture))[:, None, None]
    behind = 255 * (background[0] * (1 - share) + background[1] * share)
    alpha = picture[..., 3:].astype(float) / 255
    return np.round(picture[..., :3] * alpha + behind * (1 - alpha)).astype(np.uint8)


def track(images: Sequence[np.ndarray], model: FaceModel, progress: Progress = silent) -> Returned:
    """Track each picture by itself, as a photo; those without a face are left out."""
    found: list[tuple[int, FaceTrack]] = []
    for number, image in enumerate(images):
        progress(number, len(images))
        try:
            found.append((number, track_clip([image], model)))
        except UserInputError:
            continue  # no face: counted by who asks
    return Returned(np.array([number for number, _ in found], int), [one for _, one in found])


def angle_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) degrees of the rotation from angles `first` (N, 3) to `second` (N, 3), radians."""
    turn = rotation_matrix(first).transpose(0, 2, 1) @ rotation_matrix(second)
    return np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))


def axis_errors(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(N, 3) degrees of pitch, yaw and roll by which `found` (N, 3) differs from `truth`, in the head's own axes."""
    turn = rotation_matrix(truth).transpose(0, 2, 1) @ rotation_matrix(found)
    return np.degrees(rotation_angles(turn))


def correlation(truth: np.ndarray, found: np.ndarray) -> float:
    """Pearson's r; 0 where either doesn't vary."""
    if truth.std() < 1e-9 or found.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(truth, found)[0, 1])


def cosines(truth: np.ndarray, found: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Mean cosine of the rows of `truth` and `found` (N, I), and of pairs that don't belong together."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9) for rows in (truth, found))
    random, chance = np.random.default_rng(seed), []
    for _ in range(SHUFFLES):
        chance.append((a * b[random.permutation(len(b))]).sum(1).mean())
    return float((a * b).sum(1).mean()), float(np.mean(chance))


def recognised(truth: np.ndarray, found: np.ndarray) -> float:
    """Share of the rows of `found` whose nearest row of `truth` by cosine is their own (N, I)."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9) for rows in (truth, found))
    return float(((b @ a.T).argmax(1) == np.arange(len(a))).mean())


def delta_e(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) CIE76 colour difference of sRGB colours (N, 3) in [0, 1]."""
    lab = [cv2.cvtColor(np.clip(colours, 0, 1).astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
           for colours in (first, second)]
    return np.linalg.norm(lab[0].astype(float) - lab[1], axis=1)


def albedo_error(heads: Heads, returned: Returned, model: FaceModel) -> tuple[float, float]:
    """Mean ΔE of the skin that the camera sees: of the tracked albedo, and of the model's mean texture."""
    triangles, skin = model.triangles(), illumination.skin_trust(model) > 0.5
    errors, usual = [], []
    for number, found in zip(returned.which, returned.tracks, strict=True):
        shape = deform(heads.neutral[number], model.expression_basis, heads.expression[number])
        camera = to_camera(shape, heads.pose[number].astype(float))
        facing = -(vertex_normals(camera, triangles) * camera).sum(1) / np.linalg.norm(camera, axis=1)
        seen = skin & (facing > FACING)
        _, tint = illumination.neutral(found.light)
        albedo = illumination.tinted_albedo(model, found.texture, tint)
        errors.append(delta_e(heads.albedo[number, seen], albedo[seen]).mean())
        usual.append(delta_e(heads.albedo[number, seen], model.texture_mean[seen]).mean())
    return float(np.mean(errors)), float(np.mean(usual))


def score(heads: Heads, returned: Returned, model: FaceModel) -> list[Figure]:
    """All figures of the round trip."""
    which, tracks = returned.which, returned.tracks
    if not len(which):
        return [Figure(PART, "pictures without a face", float(len(heads)), note=f"of {len(heads)}")]
    rotation = np.concatenate([one.rotation for one in tracks]).astype(float)
    truth = heads.pose[which, :3].astype(float)
    angle = angle_between(truth, rotation)
    figures = [Figure(PART, "pictures without a face", float(len(heads) - len(which)), note=f"of {len(heads)}"),
               Figure(PART, "pose error", float(angle.mean()), "°", POSE_BAR, False,
                      f"median {np.median(angle):.2f}°, 95 % below {np.percentile(angle, 95):.1f}°")]
    axes = axis_errors(truth, rotation)
    for axis, name in enumerate(("pitch", "yaw", "roll")):
        figures.append(Figure(PART, f"  {name}", float(np.abs(axes[:, axis]).mean()), "°",
                              note=f"mean {axes[:, axis].mean():+.2f}°"))
    expression = np.concatenate([one.expression for one in tracks])
    names = [str(name) for name in heads.names]
    for name in CHANNELS:
        real, seen = heads.expression[which, names.index(name)], expression[:, names.index(name)]
        figures.append(Figure(PART, name, correlation(real, seen), "", CORRELATION_BAR,
                              note=f"r; mean {real.mean():.2f} → {seen.mean():.2f}"))
    identity = np.stack([one.identity for one in tracks])
    same, chance = cosines(heads.identity[which], identity)
    figures.append(Figure(PART, "identity, cosine above chance", same - chance, "", ABOVE_CHANCE,
                          note=f"{same:.3f} against {chance:.3f}; the bar is our reading of \"by far\""))
    figures.append(Figure(PART, "identity, recognised", 100 * recognised(heads.identity[which], identity), "%",
                          note=f"nearest of {len(which)}; chance {100 / len(which):.1f} %"))
    error, usual = albedo_error(heads, returned, model)
    figures.append(Figure(PART, "albedo ΔE", error, note=f"CIE76, visible skin; the mean texture's is {usual:.1f}"))
    return figures


def measure(blender: Blender, cache: Path, count: int, progress: Progress = silent, model_file: Path | None = None
            ) -> list[Figure]:
    """Draw `count` heads, track them and score what returns."""
    model_file = model_file or head_model()
    model = load(model_file)
    heads = face_heads.draw(model, count, SEED, hairstyles(model_file))
    images = pictures(heads, blender, (cache / "round_trip").resolve(), model_file, progress)
    return score(heads, track(images, model, progress), model)
