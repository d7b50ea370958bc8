"""The 52 ARKit shapes of the head."""

from __future__ import annotations

import numpy as np

from blender_assets.head import eyes
from blender_assets.head import landmarks as lm
from blender_assets.head.arkit import ARKIT_52
from blender_assets.head.fields import JAW_SLIDE, JAW_TURN, Canvas, edge_fade, jaw_turn, lids, mirrored, pulls, spread
from blender_assets.head.muscles import ONE_SIDED, SYMMETRIC
from blender_assets.head.part import smoothstep

LOOK = {
    "In": np.radians((0, 30.0)),
    "Out": np.radians((0, -30.0)),
    "Up": np.radians((-20.0, 0)),
    "Down": np.radians((26.0, 0)),
}
# Share of the way to each other that the upper lid goes down and the lower up. The lids follow the gaze, the lower one
# far enough that a blink while looking down still meets it.
LOOK_LIDS = {"In": (0.0, 0.0), "Out": (0.0, 0.0), "Up": (-0.20, 0.12), "Down": (0.38, -0.22)}
LIDS = {"eyeBlink": (0.87, 0.15), "eyeSquint": (0.06, 0.18), "eyeWide": (-0.28, -0.06)}
PARTING = ("jawOpen", "mouthClose", "mouthFunnel", "mouthLowerDown", "mouthUpperUp", "tongueOut")
"""Shapes that are meant to part the lips; all others leave them sealed, alone and in any sum."""
SEAL_REACH = 0.008  # m from the lips' margin over which sealing them fades out
THROAT_RINGS = (18.0, 12.0)  # of the skull's, that go along with a sliding and with an opening jaw
JAW = {
    "jawOpen": (JAW_TURN, JAW_SLIDE),
    "jawForward": (0.0, np.array([0, 0.0005, -0.007])),
    "jawLeft": (0.0, np.array([0.007, 0, 0])),
    "jawRight": (0.0, np.array([-0.007, 0, 0])),
    # The tongue needs room between the teeth.
    "tongueOut": (np.radians(4.0), np.array([0, 0.0006, -0.0018])),
}
# mouthClose: share of the gap taken up, from the outer to the inner loop of each lip, and around the mouth.
CLOSE_UPPER, CLOSE_LOWER = (0.22, 0.25, 0.27, 0.28), (-0.62, -0.68, -0.71, -0.72)
CLOSE_AROUND = {
    164: 0.10,
    393: 0.09,
    18: -0.36,
    313: -0.34,
    200: -0.10,
    421: -0.09,
    335: -0.20,
    406: -0.34,
    424: -0.10,
}
CLOSE_STILL = (
    2,
    326,
    97,
    423,
    203,
    426,
    206,
    427,
    207,
    436,
    216,
    434,
    214,
    432,
    212,
    364,
    135,
    394,
    169,
    199,
    175,
    152,
    262,
    32,
    431,
    211,
    428,
    208,
    4,
    10,
    280,
    50,
    352,
    123,
    454,
    234,
    397,
    172,
    378,
    149,
    9,
    386,
    159,
    374,
    145,
    287,
    57,
    430,
    210,
)
CORNERS = (lm.LIPS_INNER[0], lm.LIPS_INNER[10], lm.LIPS_OUTER[0], lm.LIPS_OUTER[10])
BAG_FOLLOW = np.array(
    [0.0, 0.0, 0.05, 0.15, 0.35, 0.6, 0.8, 0.9, 1.0]
)  # by ring: from the lips' margin to the jaw


def build(on: Canvas) -> np.ndarray:
    """(52, V, 3) displacements in metres at weight 1 of all vertices of the head's parts, in `ARKIT_52`
    order."""
    return np.stack([_shape(on, name) for name in ARKIT_52])


def face_field(on: Canvas, name: str) -> np.ndarray:
    """(N, 3) displacement of the face's vertices by the shape `name`, lips sealed and lids let alone where they must
    be."""
    field = _designed(on, name)
    if name in on.learned:
        field = field + edge_fade(on)[:, None] * (on.head.face.weights @ on.learned[name])
    if not name.startswith("eye"):
        field = field * lid_rest(on)[:, None]
    return field if name.startswith(PARTING) else sealed(on, field)


def sealed(on: Canvas, field: np.ndarray) -> np.ndarray:
    """`field` (N, 3) with both margins of the lips moved alike, what is taken from each fading out over its lip."""
    loop = on.head.face.loops["lips"]
    half = len(loop) // 2
    upper, lower = loop[1:half], loop[:half:-1]
    apart = 0.5 * (field[lower] - field[upper])
    result = field.copy()
    above = on.side < 0
    for margin, change, own in ((upper, apart, above), (lower, -apart, ~above)):
        away = np.linalg.norm(on.plane[:, None] - on.plane[margin][None], axis=-1)
        share = np.exp(-((away - away.min(1, keepdims=True)) / 0.0015))
        share /= share.sum(1, keepdims=True)
        result += (smoothstep(away.min(1), SEAL_REACH, 0.0) * own)[:, None] * (share @ change)
    result[upper] = result[lower] = field[upper] + apart
    return result


def lid_rest(on: Canvas) -> np.ndarray:
    """(N,) 0 at the lids' margins to 1 at 8 mm from them: brows, nose and cheeks pull at no lid."""
    loops = np.concatenate([on.head.face.loops["eye_left"], on.head.face.loops["eye_right"]])
    away = np.linalg.norm(on.plane[:, None] - on.plane[loops][None], axis=-1).min(1)
    return smoothstep(away, 0.0, 0.008)


def _designed(on: Canvas, name: str) -> np.ndarray:
    if name.endswith("Right") and name not in ("jawRight", "mouthRight"):
        return mirrored(on, _designed(on, name.removesuffix("Right") + "Left"))
    if name == "mouthRight":
        return mirrored(on, _designed(on, "mouthLeft"))
    if name in JAW:
        angle, slide = JAW[name]
        field = jaw_turn(on.rest, on.jaw, angle, slide)
        return field + _pulled_both(on, SYMMETRIC[name]) if name in SYMMETRIC else field
    if name == "mouthClose":
        return close_field(on)
    stem = name.removesuffix("Left")
    if stem in LIDS:
        field = lids(on, "left", *LIDS[stem])
        return field + _pulled(on, ONE_SIDED[stem]) if stem in ONE_SIDED else field
    if stem.startswith("eyeLook"):
        return lids(on, "left", *LOOK_LIDS[stem.removeprefix("eyeLook")])
    if stem in ONE_SIDED:
        return _pulled(on, ONE_SIDED[stem])
    if name == "mouthLeft":
        # Odd under mirroring, so that mouthRight is its exact opposite and a solver has no use for both at once.
        field = _pulled(on, SYMMETRIC[name])
        return 0.5 * (field - mirrored(on, field))
    return _pulled_both(on, SYMMETRIC[name])


def _pulled(on: Canvas, groups: dict[str, list]) -> np.ndarray:
    return np.sum([pulls(on, anchors, lips) for lips, anchors in groups.items()], 0)


def _pulled_both(on: Canvas, groups: dict[str, list]) -> np.ndarray:
    full = {
        lips: anchors
        + [
            (int(on.mirror[place]), (-x, y, z), radius)
            for place, (x, y, z), radius in anchors
            if on.mirror[place] != place
        ]
        for lips, anchors in groups.items()
    }
    field = _pulled(on, full)
    return 0.5 * (field + mirrored(on, field))


def close_field(on: Canvas) -> np.ndarray:
    """(N, 3) mouthClose: undoes the gap that jawOpen tears between the lips, the lower lip going most of
    the way."""
    opened = face_field(on, "jawOpen")
    anchors = {landmark: np.zeros(3) for landmark in CLOSE_STILL}
    for shares, rings in ((CLOSE_UPPER, slice(1, 10)), (CLOSE_LOWER, slice(10, None))):
        for share, loop in zip(shares, lm.LIPS_RINGS, strict=True):
            for landmark, upper, lower in _lip_columns(loop, rings):
                anchors[landmark] = share * (opened[lower] - opened[upper])
    middle = opened[14] - opened[13]
    for landmark, share in CLOSE_AROUND.items():
        for place in {landmark, int(on.mirror[landmark])}:
            anchors[place] = share * middle
    for corner in CORNERS:
        # jawOpen draws the corners in because the lips part; closed lips are wider again.
        anchors[corner] = -0.75 * opened[corner] * [1, 0, 0]
    field = spread(on, anchors)
    loop = on.head.face.loops["lips"]
    half = len(loop) // 2
    upper, lower = loop[1:half], loop[:half:-1]
    gap = opened[lower] - opened[upper]
    # The margins meet exactly, also between landmarks.
    field[upper], field[lower] = CLOSE_UPPER[-1] * gap, CLOSE_LOWER[-1] * gap
    return field


def _lip_columns(loop: tuple[int, ...], rings: slice) -> list[tuple[int, int, int]]:
    """Landmark of a lip loop and the upper and lower landmark of the inner loop at the same place along the
    lips."""
    upper = lm.LIPS_UPPER_INNER
    lower = lm.LIPS_LOWER_INNER
    part = loop[1:10] if rings.start == 1 else loop[:10:-1]
    return list(zip(part, upper, lower, strict=True))


def _shape(on: Canvas, name: str) -> np.ndarray:
    head = on.head
    face = face_field(on, name)
    for middle in (head.eye_left, head.eye_right):
        face = _off_eyeball(on.rest, face, middle)
    pieces = [np.concatenate([face, _skull(on, name, face)])]
    angle, slide = JAW.get(name, (0.0, np.zeros(3)))
    for part in head.parts[1:]:
        if part.name in ("eye_left", "eye_right"):
            pieces.append(_eyeball(part.vertices, name, part.name))
        elif part.name in ("lids_left", "lids_right"):
            loop = head.face.loops[part.name.replace("lids", "eye")]
            pieces.append(np.tile(face[loop], (len(part.vertices) // len(loop), 1)))
        elif part.name == "mouth_bag":
            pieces.append(_bag(part.vertices, face[head.face.loops["lips"]], angle, slide))
        elif part.name in ("teeth_lower", "tongue"):
            moved = jaw_turn(part.vertices, np.ones(len(part.vertices)), angle, slide)
            pieces.append(
                moved + _tongue_out(part.vertices) if (part.name, name) == ("tongue", "tongueOut") else moved
            )
        else:
            pieces.append(np.zeros_like(part.vertices))
    return np.concatenate(pieces)


def _off_eyeball(rest: np.ndarray, field: np.ndarray, middle: np.ndarray) -> np.ndarray:
    near = (np.linalg.norm(rest - middle, axis=1) < 0.022) & (np.linalg.norm(field, axis=1) > 1e-6)
    result = field.copy()
    result[near] = eyes.outside(rest[near] + field[near], middle, 0.0005) - rest[near]
    return result


def _skull(on: Canvas, name: str, face: np.ndarray) -> np.ndarray:
    skin = on.head.parts[0].vertices[len(face) :]
    fade = on.head.fade[len(face) :]
    if name in JAW:
        # The throat goes along a long way, or else the jaw's edge would bare a strip of it.
        ring = 1.0 + np.arange(len(skin)) // len(on.head.face.loops["oval"])
        fade = 1 - smoothstep(ring, 0.0, THROAT_RINGS[name == "jawOpen"])
        return jaw_turn(skin, on.jaw[on.head.column] * fade, *JAW[name])
    return face[on.head.column] * fade[:, None]


def _eyeball(vertices: np.ndarray, name: str, part: str) -> np.ndarray:
    side = part.removeprefix("eye_")
    stem = name.removesuffix("Left").removesuffix("Right")
    if not (name.lower().endswith(side) and stem.startswith("eyeLook")):
        return np.zeros_like(vertices)
    pitch, yaw = LOOK[stem.removeprefix("eyeLook")]
    # The left eye looks in by turning to −x, the right eye by turning to +x.
    yaw = yaw if side == "left" else -yaw
    middle = 0.5 * (vertices.max(0) + vertices.min(0))
    middle[2] = vertices[0, 2] + eyes.RADIUS
    arm = vertices - middle
    cp, sp, cy, sy = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return arm @ turn.T - arm


def _bag(vertices: np.ndarray, margin: np.ndarray, angle: float, slide: np.ndarray) -> np.ndarray:
    n = len(margin)
    rings = (len(vertices) - 1) // n
    height = np.where(np.arange(n) < n // 2, 0.0, 1.0)
    height[[0, n // 2]] = 0.4
    share = np.append(np.tile(height, rings), 0.5)
    jaw = jaw_turn(vertices, share, angle, slide)
    follow = np.append(np.repeat(BAG_FOLLOW[:rings], n), 1.0)[:, None]
    lips = np.concatenate([np.tile(margin, (rings, 1)), [margin.mean(0)]])
    return (1 - follow) * lips + follow * jaw


def _tongue_out(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) the tongue thrust forward: over the lower teeth first, its tip sinking over the lip."""
    tip = vertices[:, 2].min()
    share = smoothstep(vertices[:, 2], tip + 0.046, tip)
    rise = -0.010 * share + 0.018 * share**3
    return np.stack([0.08 * share * vertices[:, 0], rise, -0.034 * share], 1)
