"""The neutral head: face mesh, skull, eyes and mouth put together, with what every vertex follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_assets.head import ears, eyes, mouth, skull
from blender_assets.head import landmarks as lm
from blender_assets.head.parametrisation import unroll
from blender_assets.head.part import Part, smoothstep
from blender_assets.head.topology import FaceMesh, build_face

JAW_AXIS = np.array(
    [0.0, -0.004, 0.046]
)  # m, middle of the two jaw joints, a finger's breadth before the ear canals
EAR = np.array(
    [0.1, 0.004, 0.062]
)  # m; the ear's front edge lies where the ray from the head's centre to here leaves it
LOWER_EDGE = np.array([0.0, -0.0019, 0.0026])  # m, lower incisors' edge from the upper ones': a usual overbite
HEAD_PIVOT = np.array([0.0, 0.045, 0.075])  # m, where skull and neck meet


@dataclass(frozen=True)
class Head:
    """The neutral head before expressions. N face vertices, K ring vertices of the skull.

    Attributes
    ----------
    points : (478, 3) float, landmarks with closed lips and lids on the eyeballs
    face : the face's mesh; its vertices come first in `parts[0]`
    fade : (N + K,) float, how much of the oval's motion the skin takes: 1 in the face, to 0 on skull and neck
    column : (K,) int, the oval vertex that each skull vertex follows
    parts : skin first, then lid edges, ears, eyeballs, bag, teeth and tongue
    eye_left, eye_right : (3,) centres of the eyeballs
    """

    points: np.ndarray
    face: FaceMesh
    fade: np.ndarray
    column: np.ndarray
    parts: list[Part]
    eye_left: np.ndarray
    eye_right: np.ndarray


def close_lips(points: np.ndarray) -> np.ndarray:
    """`points` (…, 478, 3) with upper and lower inner lip at their mean; works on shapes and on
    displacements."""
    result = points.copy()
    middle = 0.5 * (points[..., list(lm.LIPS_UPPER_INNER), :] + points[..., list(lm.LIPS_LOWER_INNER), :])
    for inner, third in (
        (lm.LIPS_UPPER_INNER, lm.LIPS_THIRD[1:10]),
        (lm.LIPS_LOWER_INNER, lm.LIPS_THIRD[:10:-1]),
    ):
        moved = middle - points[..., list(inner), :]
        result[..., list(inner), :] = middle
        result[..., list(third), :] += 0.6 * moved
    return result


def seat_lids(points: np.ndarray) -> np.ndarray:
    """`points` (478, 3) with the lids' margins resting on the eyeballs, where they are not wider than
    these."""
    result = points.copy()
    for side, loop in (("left", lm.EYE_LEFT), ("right", lm.EYE_RIGHT)):
        middle = eyes.centre(points, side)
        away = result[list(loop)] - middle
        length = np.linalg.norm(away, axis=1)
        rest = eyes.RADIUS + eyes.LID_CLEARANCE
        # Margins within 2 mm lie on the eye; the canthi beyond keep some of their distance.
        wanted = rest + np.maximum(length - rest - 0.001, 0) * 0.8
        result[list(loop)] = middle + away * (wanted / length)[:, None]
    return result


def build(mean: np.ndarray, mirror: np.ndarray) -> Head:
    """The neutral head of the mean landmarks `mean` (478, 3) with their `mirror` permutation (478,)."""
    points = close_lips(mean.astype(np.float64))
    plane = unroll(mean)
    plane = 0.5 * (plane + plane[mirror[: lm.FACE_COUNT]] * [-1, 1])
    points = seat_lids(points)
    face = build_face(plane)
    left, right = eyes.centre(points, "left"), eyes.centre(points, "right")
    surface = face.weights @ points[: lm.FACE_COUNT]
    for middle in (left, right):
        surface = eyes.outside(surface, middle, 0.0004)
    skin, fade, column = _skin(face, surface)
    margin = surface[face.loops["lips"]]
    centre = margin[[0, 20]].mean(0)
    front = margin[[10, 30]].mean(0)
    edge = np.array([0.0, front[1] + 0.0012, front[2] + 0.0058])
    ear = skull.surface(_direction(EAR))[0]
    parts = [
        skin,
        eyes.rim(surface[face.loops["eye_left"]], left, "left"),
        eyes.rim(surface[face.loops["eye_right"]], right, "right"),
        ears.ear(ear, "left"),
        ears.ear(ear, "right"),
        eyes.eyeball(left, "left"),
        eyes.eyeball(right, "right"),
        mouth.bag(margin),
        mouth.teeth(edge, True),
        mouth.teeth(edge + LOWER_EDGE, False),
        mouth.tongue(np.array([0.0, centre[1] + 0.006, front[2] + 0.0125])),
    ]
    return Head(points, face, fade, column, parts, left, right)


def _direction(towards: np.ndarray) -> np.ndarray:
    away = (towards - skull.CENTRE)[None]
    return away / np.linalg.norm(away)


def _skin(face: FaceMesh, surface: np.ndarray) -> tuple[Part, np.ndarray, np.ndarray]:
    oval = face.loops["oval"]
    n, first = len(oval), len(surface)
    outer = skull.rings(surface[oval])
    vertices = np.concatenate([surface, outer.reshape(-1, 3)])
    quads = np.concatenate([face.quads, skull.ring_quads(oval, first)])
    free = first + np.arange((skull.RINGS - 1) * n)
    ring = np.repeat(np.arange(1, skull.RINGS), n)
    vertices = skull.fair(vertices, quads, free, 0.12 * smoothstep(ring, 0, 12.0) + 2e-5)
    level = np.repeat(np.arange(1, skull.RINGS + 1), n)
    fade = np.concatenate([np.ones(first), 1 - smoothstep(level, 0, 8.0)])
    uv = _skin_uv(face, n)
    return Part("skin", vertices, quads, uv, np.full(len(quads), "skin")), fade, np.tile(oval, skull.RINGS)


def _skin_uv(face: FaceMesh, n: int) -> np.ndarray:
    """(V, 2) chart of the skin: the face's plane in the middle, the skull's rings around it out to a
    circle."""
    plane = face.plane * [1, -1]
    oval = plane[face.loops["oval"]]
    middle = 0.5 * (oval.max(0) + oval.min(0))
    scale = 0.36 / (0.5 * np.ptp(oval, axis=0).max())
    inner = (plane - middle) * scale
    edge = inner[face.loops["oval"]]
    direction = np.unwrap(np.arctan2(edge[:, 1], edge[:, 0]))
    circle = 0.495 * np.stack([np.cos(direction), np.sin(direction)], 1)
    share = (np.arange(1, skull.RINGS + 1) / skull.RINGS)[:, None, None]
    rings = edge + share * (circle - edge)
    return 0.5 + np.concatenate([inner, rings.reshape(-1, 2)])


def lower_side(head: Head) -> np.ndarray:
    """(N,) −1 … 1 for the face's vertices: above or below the line between the lips, smooth beyond their
    corners."""
    plane = head.face.plane
    loop = head.face.loops["lips"]
    half = len(loop) // 2
    upper, lower = loop[: half + 1], np.append(loop[half:], loop[0])[::-1]
    line = np.interp(plane[:, 0], plane[upper, 0], 0.5 * (plane[upper, 1] + plane[lower, 1]))
    return np.clip((plane[:, 1] - line) / 0.006, -1, 1)
