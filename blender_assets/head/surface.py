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
HAIR_MODE = np.array((0.16, 0.125, 0.075))
WHITE = np.array((0.954, 0.992, 1.051))
"""Tint of the light that tracking finds on 14 clips with the learned mean as it is: the mean is too warm by it."""
EDGE_TONE = 0.75
"""How far the learned mean gives way to one tone at the face's edge."""
BROW = 0.52
"""Share of the hair's colour in the middle of a brow; the median over many people washes their brows out."""
EAR, LID_EDGE = np.array([1.0, 0.95, 0.94]), np.array([0.80, 0.68, 0.66])
LASHES = 0.58, 0.85
"""What lashes leave of the skin's colour at the margins of the upper and the lower lid."""
BROW_EDGE = 0.0034, 0.0030  # m outside and inside the landmarks' outline
BROW_LOOPS = (
    (276, 283, 282, 295, 285, 336, 296, 334, 293, 300),
    (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
)
IRIS_MODES = np.array([(0.10, 0.10, 0.10), (-0.06, 0.02, 0.12)])
"""Per σ: light against dark, and blue against brown."""
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


def _from_polygon(plane: np.ndarray, loop: np.ndarray, width: float, inset: float = 0.0) -> np.ndarray:
    """(N,) 1 inside the polygon of vertices `loop`, falling to 0 from `inset` metres inside its edge to
    `width` outside."""
    polygon = plane[loop]
    segment = np.roll(polygon, -1, 0) - polygon
    offset = plane[:, None] - polygon[None]
    t = np.clip((offset * segment).sum(-1) / (segment**2).sum(-1), 0, 1)
    distance = np.linalg.norm(offset - t[..., None] * segment, axis=-1).min(1)
    return smoothstep(np.where(inside(plane, polygon), -distance, distance), width, -inset)


def face_masks(on: Canvas) -> dict[str, np.ndarray]:
    """(N,) masks of the face's own vertices: oval (0 at its edge), lips, brow, eyes."""
    plane = on.plane
    oval = on.head.face.loops["oval"]
    distance = np.sqrt(((plane[:, None] - plane[oval][None]) ** 2).sum(-1)).min(1)
    brow = np.zeros(len(plane))
    for loop in BROW_LOOPS:
        brow = np.maximum(brow, _from_polygon(plane, np.array(loop), 0.003))
    eyes = np.maximum(
        _from_polygon(plane, on.head.face.loops["eye_left"], 0.012),
        _from_polygon(plane, on.head.face.loops["eye_right"], 0.012),
    )
    outer = _from_polygon(plane, np.array(lm.LIPS_OUTER), 0.002)
    return {"face": smoothstep(distance, 0.0, 0.012), "lips": outer, "brow": brow, "eyes": eyes}


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


HAIRLINE = np.array(
    [(-0.030, -0.094), (-0.015, -0.093), (0.0, -0.087), (0.012, -0.075), (0.028, -0.053), (0.038, -0.033),
     (0.046, -0.010), (0.053, 0.002), (0.060, -0.020), (0.066, -0.036), (0.080, -0.036), (0.090, -0.004),
     (0.100, 0.030), (0.130, 0.043), (0.165, 0.048)]
)  # fmt: skip
"""z and y, m, of the hair's line: forehead, temple, whiskers before the ear, around it, nape."""


def scalp(points: np.ndarray) -> np.ndarray:
    """(…,) 1 where hair grows: behind and above `HAIRLINE`, of `points` (…, 3)."""
    line = np.interp(points[..., 2], *HAIRLINE.T)
    soft = 0.007 + 0.010 * smoothstep(points[..., 2], 0.08, 0.12)
    return smoothstep((points[..., 1] - line) / soft, 1, -1)


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
    is painted. The last modes are the hair's and the irises'."""
    head = on.head
    count, skin = len(on.rest), head.parts[0].vertices
    face = _face_colours(on, learned)
    tone = _tone(on, face)
    hair, grown = np.zeros(len(skin)), scalp(skin[count:])
    hair[count:] = grown
    colour = np.concatenate([face, np.tile(tone[:, None], (1, len(skin) - count, 1))], 1)
    # Beyond the oval the face's own edge colour fades into the mean tone.
    colour[:, count:] += head.fade[count:, None] * (face[:, head.column] - tone[:, None])
    hair[:count] = BROW * brows(on)
    colour[0] += hair[:, None] * (HAIR - colour[0])
    colour[1:] *= (1 - hair)[:, None]
    for side in ("left", "right"):
        loop = head.face.loops[f"eye_{side}"]
        colour[:, loop] *= _lashes(len(loop))[:, None]
    rest = [_part_colours(part, tone, _margin(on, part, face)) for part in head.parts[1:]]
    full = np.concatenate([colour, *rest], 1)
    hair_mode = np.zeros(full.shape[1:])
    hair_mode[: len(skin)] = hair[:, None] * HAIR_MODE
    return np.clip(full[0], 0, 1), np.concatenate([full[1:], hair_mode[None], _iris_modes(on, full.shape[1])])


def _lashes(count: int) -> np.ndarray:
    """(count,) share of the skin's colour that lashes leave around a lid's margin, a loop that runs from a corner
    over the upper lid and back over the lower one."""
    turn = 2 * np.pi * np.arange(count) / count
    upper, lower = (1 - (1 - share) * np.sqrt(np.abs(np.sin(turn))) for share in LASHES)
    return np.where(np.sin(turn) > 0, upper, lower)


def _face_colours(on: Canvas, learned: dict[str, np.ndarray]) -> np.ndarray:
    """(1 + J, N, 3) learned mean and modes at the face's vertices, under white light."""
    plane = learned["plane"].astype(np.float64)
    values = np.concatenate([learned["mean"][None], learned["modes"]]).astype(np.float64)
    # The learned samples lie at the vertices of the mesh they were learned on; another mesh of the same
    # plane is near enough.
    values = WHITE * values[:, cKDTree(plane).query(on.plane)[1]]
    # Temples and jaw hold other people's hair and shadows: towards the oval the mean fades into its own tone.
    oval = on.head.face.loops["oval"]
    distance = np.sqrt(((on.plane[:, None] - on.plane[oval][None]) ** 2).sum(-1)).min(1)
    tone = values[0, oval].mean(0)
    fade = EDGE_TONE * smoothstep(distance, 0.036, 0.004)[:, None]
    values[0] += fade * (tone - values[0])
    return values


def _iris_modes(on: Canvas, count: int) -> np.ndarray:
    """(2, count, 3) `IRIS_MODES` at the vertices of the irises, which include the limbus."""
    modes, start = np.zeros((len(IRIS_MODES), count, 3)), 0
    for part in on.head.parts:
        if part.name.startswith("eye_"):
            corners = part.faces[part.materials == "iris"]
            pupil = part.faces[part.materials == "pupil"]
            own = np.setdiff1d(corners[corners >= 0], pupil[pupil >= 0])
            modes[:, start + own] = IRIS_MODES[:, None]
        start += len(part.vertices)
    return modes


def brows(on: Canvas) -> np.ndarray:
    """(N,) how much brow hair grows at the face's own vertices: dense in the middle, thin at the tail's end."""
    dense = np.zeros(len(on.plane))
    for loop in BROW_LOOPS:
        dense = np.maximum(dense, _from_polygon(on.plane, np.array(loop), *BROW_EDGE))
    return dense


def _tone(on: Canvas, face: np.ndarray) -> np.ndarray:
    """(1 + J, 3) mean of colours and modes (1 + J, N, 3) at the face's oval, which neck and skull
    continue."""
    return face[:, on.head.face.loops["oval"]].mean(1)


def _margin(on: Canvas, part: Part, face: np.ndarray) -> np.ndarray | None:
    """(1 + J, V, 3) colours of the skin at the margin that each vertex of a lid's edge hangs on, of `face`
    (1 + J, N, 3); None for other parts."""
    if not part.name.startswith("lids"):
        return None
    loop = on.head.face.loops[part.name.replace("lids", "eye")]
    return np.tile(face[:, loop], (1, len(part.vertices) // len(loop), 1))


def _part_colours(part: Part, tone: np.ndarray, margin: np.ndarray | None) -> np.ndarray:
    """(1 + J, V, 3) colours of a part: ears take the skin's `tone` and its modes, a lid's edge that of its
    `margin` (else a bright line shows between closed lids), the rest is the same for all."""
    colours = np.zeros((len(tone), len(part.vertices), 3))
    if margin is not None:
        columns = len(part.vertices) // 4
        rings = np.linspace(0, 1, 4).repeat(columns)[:, None]
        lashes = np.tile(_lashes(columns), 4)[:, None]
        return margin * (1 + rings * (LID_EDGE - 1)) * (1 - (1 - rings) * (1 - lashes))
    if part.name.startswith("ear"):
        colours[:] = tone[:, None]
        colours[0] *= EAR
    else:
        colours[0] = _part_colour(part)
    return colours


def _part_colour(part: Part) -> np.ndarray:
    colour = np.tile(np.array(PARTS[part.name]), (len(part.vertices), 1))
    teeth = part.faces[part.materials == "teeth"]
    for name, value in MATERIALS.items():
        corners = part.faces[part.materials == name]
        # A tooth is white up to its gum; the line itself is in the detail image.
        colour[np.setdiff1d(corners[corners >= 0], teeth)] = value
    return colour
