"""Identity modes of the whole head from the landmark modes of tracked people."""

from __future__ import annotations

import numpy as np

from blender_assets.head import ears
from blender_assets.head import landmarks as lm
from blender_assets.head.fields import Canvas
from blender_assets.head.geometry import close_lips
from blender_assets.head.part import smoothstep

FOLLOW = 20.0
"""Rings of the skull over which it stops following the oval. Over fewer, a narrower jaw leaves a bright shelf behind
its edge."""
EYE_LOOPS = {"eye_left": lm.EYE_LEFT, "eye_right": lm.EYE_RIGHT}


def build(on: Canvas, statistics: dict[str, np.ndarray]) -> np.ndarray:
    """(I, V, 3) metres per σ: the face takes the learned modes, skull and inner parts follow what they are
    attached to."""
    return np.stack([_mode(on, mode) for mode in close_lips(statistics["identity_modes"].astype(np.float64))])


def _mode(on: Canvas, mode: np.ndarray) -> np.ndarray:
    head = on.head
    face = head.face.weights @ mode[: lm.FACE_COUNT]
    # The skull keeps a share of its oval's change all the way, the neck takes none; but next to the oval the
    # neck follows too, or else the jaw's edge tears into a crease.
    skin = head.parts[0].vertices[len(face) :]
    columns = len(head.face.loops["oval"])
    beside = 1 - smoothstep(np.arange(len(skin)) // columns + 1.0, 0, FOLLOW)
    still = smoothstep(skin[:, 1], 0.05, 0.15) * (1 - beside)
    fade = np.maximum(beside, 0.5) * (1 - still)
    oval = face[head.face.loops["oval"]]
    level = _smooth_ring(oval)
    rank = {vertex: index for index, vertex in enumerate(head.face.loops["oval"].tolist())}
    ring = np.array([rank[vertex] for vertex in head.column])
    blend = beside[:, None]
    pieces = [np.concatenate([face, fade[:, None] * (blend * oval[ring] + (1 - blend) * level[ring])])]
    lips = face[head.face.loops["lips"]]
    for part in head.parts[1:]:
        if part.name in EYE_LOOPS:
            pieces.append(np.broadcast_to(mode[list(EYE_LOOPS[part.name])].mean(0), part.vertices.shape))
        elif part.name in ("lids_left", "lids_right"):
            loop = head.face.loops[part.name.replace("lids", "eye")]
            rings = len(part.vertices) // len(loop)
            share = np.repeat(np.linspace(1, 0, rings), len(loop))[:, None]
            pieces.append(share * np.tile(face[loop], (rings, 1)) + (1 - share) * face[loop].mean(0))
        elif part.name.startswith("ear"):
            root = np.linalg.norm(
                head.parts[0].vertices - part.vertices[-ears.SPOKES :].mean(0), axis=1
            ).argmin()
            pieces.append(np.broadcast_to(pieces[0][root], part.vertices.shape))
        elif part.name == "mouth_bag":
            rings = (len(part.vertices) - 1) // len(lips)
            share = np.repeat(np.linspace(1, 0, rings), len(lips))[:, None]
            moved = share * np.tile(lips, (rings, 1)) + (1 - share) * lips.mean(0)
            pieces.append(np.concatenate([moved, [lips.mean(0)]]))
        else:
            pieces.append(np.broadcast_to(lips.mean(0), part.vertices.shape))
    return np.concatenate(pieces)


def _smooth_ring(values: np.ndarray, rounds: int = 30) -> np.ndarray:
    for _ in range(rounds):
        values = 0.5 * values + 0.25 * (np.roll(values, 1, 0) + np.roll(values, -1, 0))
    return values
