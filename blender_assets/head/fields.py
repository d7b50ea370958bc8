"""Building blocks of expressions: displacement fields on the face's vertices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from blender_assets.head import eyes
from blender_assets.head.geometry import JAW_AXIS, Head, lower_side
from blender_assets.head.part import smoothstep
from blender_assets.head.topology import interpolation

Pull = tuple[int, tuple[float, float, float], float]  # landmark, displacement in mm, radius in mm

# Share of the jaw's turn that the skin over it takes, at landmarks of the person's left half (mirrored for
# the right).
JAW_SHARES = {
    14: 1.0,
    317: 0.99,
    402: 0.96,
    318: 0.85,
    324: 0.63,
    308: 0.38,
    415: 0.16,
    310: 0.04,
    311: -0.01,
    312: -0.03,
    13: -0.03,
    0: -0.02,
    267: -0.02,
    269: -0.01,
    270: 0.03,
    409: 0.17,
    291: 0.38,
    375: 0.60,
    321: 0.83,
    405: 0.95,
    314: 0.99,
    17: 1.0,
    18: 1.0,
    200: 1.0,
    199: 1.0,
    175: 1.0,
    152: 1.0,
    377: 0.99,
    400: 0.97,
    378: 0.93,
    379: 0.86,
    365: 0.74,
    397: 0.56,
    288: 0.36,
    361: 0.16,
    323: 0.04,
    454: 0.0,
    356: 0.0,
    389: 0.0,
    2: 0.0,
    326: 0.0,
    327: 0.0,
    4: 0.0,
    423: 0.0,
    425: 0.02,
    280: 0.01,
    352: 0.02,
    411: 0.06,
    376: 0.08,
    427: 0.12,
    436: 0.12,
    432: 0.42,
    434: 0.5,
    416: 0.30,
    433: 0.2,
    262: 1.0,
    431: 0.92,
    424: 0.94,
    330: 0.0,
    346: 0.0,
    450: 0.0,
    10: 0.0,
    9: 0.0,
    168: 0.0,
    333: 0.0,
    446: 0.0,
    435: 0.24,
    401: 0.1,
    447: 0.0,
    366: 0.02,
    393: 0.0,
    391: 0.0,
    322: 0.04,
    410: 0.14,
    287: 0.36,
    422: 0.6,
    273: 0.7,
    335: 0.86,
}
JAW_TURN = np.radians(19.0)  # at weight 1
JAW_SLIDE = np.array([0.0, 0.003, -0.009])  # m; the joint slides forward as the mouth opens wide


@dataclass(frozen=True)
class Canvas:
    """What fields are painted on: the face's rest vertices and their places. N vertices.

    Attributes
    ----------
    head : the neutral head
    rest : (N, 3) positions, metres
    plane : (N, 2) place in the face's plane, metres
    side : (N,) −1 above, +1 below the mouth's line
    jaw : (N,) share of the jaw's motion
    mirror : (478,) landmark permutation
    learned : shape's name → (468, 3) metres, what tracked people add to it
    """

    head: Head
    rest: np.ndarray
    plane: np.ndarray
    side: np.ndarray
    jaw: np.ndarray
    mirror: np.ndarray
    learned: Mapping[str, np.ndarray] = field(default_factory=dict)


def canvas(head: Head, mirror: np.ndarray, learned: Mapping[str, np.ndarray] | None = None) -> Canvas:
    """The canvas of `head`, whose landmarks mirror by `mirror` (478,), with `learned` corrections of shapes."""
    face = head.face
    rest = head.parts[0].vertices[: len(face.plane)]
    known = {}
    for landmark, share in JAW_SHARES.items():
        for place in {landmark, int(mirror[landmark])}:
            known[place] = {landmark: share}
    jaw = interpolation(face.plane, face.quads, known).sum(1)
    return Canvas(head, rest, face.plane, lower_side(head), np.clip(jaw, -0.05, 1), mirror, learned or {})


def pulls(on: Canvas, anchors: list[Pull], lips: str = "both") -> np.ndarray:
    """(N, 3) metres: Gaussian pulls at landmarks, averaged where they overlap; `lips` = upper, lower or
    both."""
    total, weight = np.zeros((len(on.plane), 3)), np.zeros(len(on.plane))
    for landmark, move, radius in anchors:
        distance = np.linalg.norm(on.plane - on.plane[landmark], axis=1)
        share = np.exp(-((distance / (radius * 1e-3)) ** 2))
        total += share[:, None] * np.array(move) * 1e-3
        weight += share
    total /= np.maximum(weight, 1)[:, None]
    if lips == "upper":
        total *= smoothstep(on.side, 0.8, -0.8)[:, None]
    elif lips == "lower":
        total *= smoothstep(on.side, -0.8, 0.8)[:, None]
    return total * edge_fade(on)[:, None]


def edge_fade(on: Canvas, width: float = 0.018) -> np.ndarray:
    """(N,) 1 within the face, falling to 0 over the last `width` metres to its oval."""
    oval = on.plane[on.head.face.loops["oval"]]
    distance = np.sqrt(((on.plane[:, None] - oval[None]) ** 2).sum(-1)).min(1)
    return smoothstep(distance, 0.0, width)


def mirrored(on: Canvas, field: np.ndarray) -> np.ndarray:
    """The field (N, 3) as the other side of the face would make it."""
    return field[on.head.face.mirror] * [-1, 1, 1]


def jaw_turn(points: np.ndarray, share: np.ndarray, angle: float, slide: np.ndarray) -> np.ndarray:
    """(V, 3) displacement of `points` (V, 3) by `share` (V,) of a jaw turned open by `angle` (radians) and
    slid (3,)."""
    arm = points - JAW_AXIS
    turn = np.clip(share, 0, 1) * angle
    cos, sin = np.cos(turn), np.sin(turn)
    y = cos * arm[:, 1] - sin * arm[:, 2]
    z = sin * arm[:, 1] + cos * arm[:, 2]
    moved = np.stack([arm[:, 0], y, z], 1) - arm
    return moved + share[:, None] * slide + np.minimum(share, 0)[:, None] * [0, 0.03, 0]


def lids(on: Canvas, side: str, upper: float, lower: float) -> np.ndarray:
    """(N, 3) lids of `side` turned about the eyeball: `upper` of the way down, `lower` of the way up to
    each other.

    A negative amount opens. The lid rolls over the eyeball: its vertices turn about the axis through the
    eyeball's centre.
    """
    loop = on.head.face.loops[f"eye_{side}"]
    middle = on.head.eye_left if side == "left" else on.head.eye_right
    half = len(loop) // 2
    arm = on.rest - middle
    angle = np.arctan2(arm[:, 1], -arm[:, 2])
    radius = np.hypot(arm[:, 1], arm[:, 2])
    over, under = loop[: half + 1], np.append(loop[half:], loop[0])
    order_over, order_under = over[np.argsort(arm[over, 0])], under[np.argsort(arm[under, 0])]
    above = np.interp(arm[:, 0], arm[order_over, 0], angle[order_over])
    below = np.interp(arm[:, 0], arm[order_under, 0], angle[order_under])
    gap = below - above
    # How far beside the corners and, along the skin, from the margins.
    corners = on.rest[loop[[0, half]], 0]
    beside = np.maximum(np.maximum(on.rest[:, 0] - corners.max(), corners.min() - on.rest[:, 0]), 0)
    line = 0.5 * (above + below)
    away_up = np.linalg.norm(on.plane[:, None] - on.plane[over][None], axis=-1).min(1)
    away_down = np.linalg.norm(on.plane[:, None] - on.plane[under][None], axis=-1).min(1)
    near = np.exp(-((beside / 0.003) ** 2)) * (np.linalg.norm(arm, axis=1) < 0.03)
    is_upper = angle < line
    is_upper[over[1:-1]], is_upper[under[1:-1]] = True, False
    is_upper[loop[[0, half]]] = True
    turn = np.where(
        is_upper,
        upper * gap * smoothstep(away_up, 0.0115, 0.0008),
        -lower * gap * smoothstep(away_down, 0.010, 0.0008),
    )
    turned = angle + turn * near
    moved = on.rest.copy()
    moved[:, 1] = middle[1] + radius * np.sin(turned)
    moved[:, 2] = middle[2] - radius * np.cos(turned)
    touched = np.abs(turn * near) > 1e-4
    # Weights between 0 and 1 take the chord, which comes nearer to the eyeball than both of its ends.
    clearance = np.where(is_upper, 0.0013, 0.0008)
    moved[touched] = eyes.outside(moved, middle, clearance)[touched]
    return moved - on.rest


def lip_distance(on: Canvas) -> np.ndarray:
    """(N,) m in the plane to the nearest point of the lips' inner margin of the vertex's own lip."""
    loop = on.head.face.loops["lips"]
    upper, lower = loop[: len(loop) // 2 + 1], np.append(loop[len(loop) // 2 :], loop[0])
    near = [
        np.linalg.norm(on.plane[:, None] - on.plane[part][None], axis=-1).min(1) for part in (upper, lower)
    ]
    return np.where(on.side < 0, near[0], near[1])


def spread(on: Canvas, anchors: dict[int, np.ndarray]) -> np.ndarray:
    """(N, 3) the smoothest field with the displacements `anchors` (3,) at their landmarks."""
    face = on.head.face
    weights = interpolation(face.plane, face.quads, {landmark: {landmark: 1.0} for landmark in anchors})
    return weights[:, list(anchors)] @ np.stack(list(anchors.values()))
