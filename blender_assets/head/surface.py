"""Regions and albedo of the head's vertices."""

from __future__ import annotations

import numpy as np

from blender_assets.head import landmarks as lm
from blender_assets.head.fields import Canvas, lip_distance
from blender_assets.head.part import Part, smoothstep
from blender_assets.head.topology import inside

REGIONS = ("face", "lips", "jaw", "brow", "eyes", "scalp", "neck")
SKIN, LIPS, BROWS, HAIR = (np.array(c) for c in ((0.80, 0.61, 0.52), (0.70, 0.42, 0.39), (0.36, 0.26, 0.21), (0.20, 0.15, 0.12)))
PARTS = {"mouth_bag": (0.32, 0.10, 0.10), "teeth_upper": (0.90, 0.87, 0.80), "teeth_lower": (0.88, 0.85, 0.78),
         "tongue": (0.68, 0.34, 0.34), "eye_left": (0.90, 0.88, 0.86), "eye_right": (0.90, 0.88, 0.86)}
MATERIALS = {"gums": (0.66, 0.35, 0.35), "lips": (0.60, 0.30, 0.29), "iris": (0.33, 0.26, 0.20), "pupil": (0.03, 0.03, 0.03)}


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
    for loop in ((276, 283, 282, 295, 285, 336, 296, 334, 293, 300), (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)):
        brows = np.maximum(brows, _from_polygon(plane, np.array(loop), 0.003))
    eyes = np.maximum(_from_polygon(plane, on.head.face.loops["eye_left"], 0.012),
                      _from_polygon(plane, on.head.face.loops["eye_right"], 0.012))
    outer = _from_polygon(plane, np.array(lm.LIPS_OUTER), 0.002)
    return {"face": smoothstep(distance, 0.0, 0.012), "lips": outer, "brow": brows, "eyes": eyes}


def regions(on: Canvas) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (R, V) weights of the head's regions."""
    head = on.head
    skin = head.parts[0].vertices
    masks = {name: np.zeros(len(skin)) for name in REGIONS}
    for name, values in face_masks(on).items():
        masks[name][: len(on.rest)] = values
    outer = skin[len(on.rest):]
    masks["jaw"] = np.concatenate([np.clip(on.jaw, 0, 1), np.clip(on.jaw[head.column], 0, 1) * head.fade[len(on.rest):]])
    masks["scalp"][len(on.rest):] = scalp(outer)
    masks["neck"] = smoothstep(skin[:, 1], 0.085, 0.12)
    rows = []
    for name in REGIONS:
        rows.append(np.concatenate([masks[name], *(_part_region(part, name) for part in head.parts[1:])]))
    return REGIONS, np.stack(rows)


def scalp(points: np.ndarray) -> np.ndarray:
    """(N,) 1 where hair grows: behind and above a line from the forehead over the ears to the nape."""
    line = np.interp(points[:, 2], [-0.04, 0.0, 0.035, 0.06, 0.10, 0.16], [-0.092, -0.08, -0.052, -0.03, 0.035, 0.05])
    return smoothstep(points[:, 1] - line, 0.004, -0.006)


def _part_region(part: Part, name: str) -> np.ndarray:
    full = {"face": ("eye_left", "eye_right", "mouth_bag", "teeth_upper", "teeth_lower", "tongue"),
            "eyes": ("eye_left", "eye_right"), "jaw": ("teeth_lower", "tongue")}
    return np.full(len(part.vertices), 1.0 if part.name in full.get(name, ()) else 0.0)


def texture(on: Canvas, statistics: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Albedo: mean (V, 3) and modes (J, V, 3), display-encoded."""
    del statistics
    head = on.head
    masks = face_masks(on)
    skin = head.parts[0].vertices
    count = len(on.rest)
    colour = np.tile(SKIN, (len(skin), 1))
    hair = np.zeros(len(skin))
    hair[count:] = scalp(skin[count:])
    lips, brows = np.zeros(len(skin)), np.zeros(len(skin))
    lips[:count], brows[:count] = masks["lips"] * smoothstep(lip_distance(on), 0.014, 0.004), masks["brow"]
    for mask, target, amount in ((lips, LIPS, 1.0), (brows, BROWS, 0.75), (hair, HAIR, 1.0)):
        colour += (amount * mask)[:, None] * (target - colour)
    skin_only = (1 - lips) * (1 - hair) * (1 - 0.6 * brows)
    modes = [skin_only[:, None] * np.array([0.09, 0.10, 0.11]), skin_only[:, None] * np.array([0.02, -0.02, -0.03]),
             lips[:, None] * np.array([0.05, -0.03, -0.02]), lips[:, None] * np.array([0.07, 0.06, 0.06]),
             brows[:, None] * np.array([0.10, 0.09, 0.08]), hair[:, None] * np.array([0.12, 0.10, 0.08])]
    rest = [_part_colour(part) for part in head.parts[1:]]
    zeros = np.zeros((len(modes), sum(map(len, rest)), 3))
    return np.concatenate([colour, *rest]), np.concatenate([np.stack(modes), zeros], 1)


def _part_colour(part: Part) -> np.ndarray:
    colour = np.tile(np.array(PARTS.get(part.name, SKIN)), (len(part.vertices), 1))
    for name, value in MATERIALS.items():
        corners = part.faces[part.materials == name]
        colour[np.unique(corners[corners >= 0])] = value
    return colour
