"""Regions and albedo of the head's vertices."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from blender_assets.head import landmarks as lm
from blender_assets.head.fields import Canvas
from blender_assets.head.part import Part, smoothstep
from blender_assets.head.topology import inside

REGIONS = ("face", "lips", "jaw", "brow", "eyes", "scalp", "neck")
HAIR = np.array((0.20, 0.15, 0.12))
PARTS = {
    "mouth_bag": (0.36, 0.13, 0.12),
    "teeth_upper": (0.90, 0.87, 0.80),
    "teeth_lower": (0.88, 0.85, 0.78),
    "tongue": (0.68, 0.34, 0.34),
    "eye_left": (0.90, 0.88, 0.86),
    "eye_right": (0.90, 0.88, 0.86),
}
MATERIALS = {
    "gums": (0.66, 0.35, 0.35),
    "lips": (0.60, 0.30, 0.29),
    "iris": (0.33, 0.26, 0.20),
    "pupil": (0.03, 0.03, 0.03),
}


def _from_polygon(plane: np.ndarray, loop: np.ndarray, width: float) -> np.ndarray:
    """(N,) 1 inside the polygon of vertices `loop`, falling to 0 over `width` metres outside it."""
    polygon = plane[loop]
    segment = np.roll(polygon, -1, 0) - polygon
    offset = plane[:, None] - polygon[None]
    t = np.clip((offset * segment).sum(-1) / (segment**2).sum(-1), 0, 1)
    distance = np.linalg.norm(offset - t[..., None] * segment, axis=-1).min(1)
    return np.where(inside(plane, polygon), 1.0, smoothstep(distance, width, 0.0))


def face_masks(on: Canvas) -> dict[str, np.ndarray]:
    """(N,) masks of the face's own vertices: oval (0 at its edge), lips, brow, eyes."""
    plane = on.plane
    oval = on.head.face.loops["oval"]
    distance = np.sqrt(((plane[:, None] - plane[oval][None]) ** 2).sum(-1)).min(1)
    brows = np.zeros(len(plane))
    for loop in (
        (276, 283, 282, 295, 285, 336, 296, 334, 293, 300),
        (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
    ):
        brows = np.maximum(brows, _from_polygon(plane, np.array(loop), 0.003))
    eyes = np.maximum(
        _from_polygon(plane, on.head.face.loops["eye_left"], 0.012),
        _from_polygon(plane, on.head.face.loops["eye_right"], 0.012),
    )
    outer = _from_polygon(plane, np.array(lm.LIPS_OUTER), 0.002)
    return {"face": smoothstep(distance, 0.0, 0.012), "lips": outer, "brow": brows, "eyes": eyes}


def regions(on: Canvas) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (R, V) weights of the head's regions."""
    head = on.head
    skin = head.parts[0].vertices
    masks = {name: np.zeros(len(skin)) for name in REGIONS}
    for name, values in face_masks(on).items():
        masks[name][: len(on.rest)] = values
    outer = skin[len(on.rest) :]
    masks["jaw"] = np.concatenate(
        [np.clip(on.jaw, 0, 1), np.clip(on.jaw[head.column], 0, 1) * head.fade[len(on.rest) :]]
    )
    masks["scalp"][len(on.rest) :] = scalp(outer)
    masks["neck"] = smoothstep(skin[:, 1], 0.085, 0.12)
    rows = []
    for name in REGIONS:
        rows.append(np.concatenate([masks[name], *(_part_region(part, name) for part in head.parts[1:])]))
    return REGIONS, np.stack(rows)


def scalp(points: np.ndarray) -> np.ndarray:
    """(N,) 1 where hair grows: behind and above a line from the forehead over the ears to the nape."""
    line = np.interp(
        points[:, 2], [-0.04, 0.0, 0.035, 0.06, 0.10, 0.16], [-0.092, -0.08, -0.052, -0.03, 0.035, 0.05]
    )
    soft = 0.008 + 0.012 * smoothstep(points[:, 2], 0.05, 0.11)
    return smoothstep((points[:, 1] - line) / soft, 1, -1)


def _part_region(part: Part, name: str) -> np.ndarray:
    full = {
        "face": (
            "lids_left",
            "lids_right",
            "eye_left",
            "eye_right",
            "mouth_bag",
            "teeth_upper",
            "teeth_lower",
            "tongue",
        ),
        "eyes": ("lids_left", "lids_right", "eye_left", "eye_right"),
        "jaw": ("teeth_lower", "tongue"),
    }
    return np.full(len(part.vertices), 1.0 if part.name in full.get(name, ()) else 0.0)


def texture(on: Canvas, learned: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Albedo: mean (V, 3) and modes (J, V, 3), display-encoded; the face's colours are `learned`, the rest
    is painted."""
    head = on.head
    count, skin = len(on.rest), head.parts[0].vertices
    plane = learned["plane"].astype(np.float64)
    values = np.concatenate([learned["mean"][None], learned["modes"]]).astype(np.float64)
    # The learned samples lie at the vertices of the mesh they were learned on; another mesh of the same
    # plane is near enough.
    nearest = cKDTree(plane).query(on.plane)[1]
    face = values[:, nearest]
    tone = _tone(on, face)
    hair, grown = np.zeros(len(skin)), scalp(skin[count:])
    hair[count:] = grown
    colour = np.concatenate([face, np.tile(tone[:, None], (1, len(skin) - count, 1))], 1)
    # Beyond the oval the face's own edge colour fades into the mean tone.
    colour[:, count:] += head.fade[count:, None] * (face[:, head.column] - tone[:, None])
    colour[0] += hair[:, None] * (HAIR - colour[0])
    colour[1:] *= (1 - hair)[:, None]
    rest = [_part_colours(part, tone) for part in head.parts[1:]]
    full = np.concatenate([colour, *rest], 1)
    hair_mode = np.zeros(full.shape[1:])
    hair_mode[: len(skin)] = hair[:, None] * [0.13, 0.11, 0.09]
    return np.clip(full[0], 0, 1), np.concatenate([full[1:], hair_mode[None]])


def _tone(on: Canvas, face: np.ndarray) -> np.ndarray:
    """(1 + J, 3) mean of colours and modes (1 + J, N, 3) at the face's oval, which neck and skull
    continue."""
    return face[:, on.head.face.loops["oval"]].mean(1)


def _part_colours(part: Part, tone: np.ndarray) -> np.ndarray:
    """(1 + J, V, 3) colours of a part: ears and lids take the skin's `tone` and its modes, the rest is the
    same for all."""
    colours = np.zeros((len(tone), len(part.vertices), 3))
    if part.name.startswith(("ear", "lids")):
        colours[:] = tone[:, None]
        pink = np.array([1.0, 0.95, 0.94]) if part.name.startswith("ear") else np.array([0.93, 0.82, 0.80])
        colours[0] *= pink
    else:
        colours[0] = _part_colour(part)
    return colours


def _part_colour(part: Part) -> np.ndarray:
    colour = np.tile(np.array(PARTS[part.name]), (len(part.vertices), 1))
    for name, value in MATERIALS.items():
        corners = part.faces[part.materials == name]
        colour[np.unique(corners[corners >= 0])] = value
    return colour
