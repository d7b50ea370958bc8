"""Ears: a disc of rings with helix, groove and bowl, set on the side of the head."""

from __future__ import annotations

import numpy as np

from blender_assets.head.part import Part, fan, grid_quads

HEIGHT, WIDTH = 0.060, 0.034  # m (Farkas 1994)
SPOKES = 28
# Rings from the bowl outward: radius as a share of the outline, height over the ear's plane (m).
RINGS = np.array(
    [
        [0.22, -0.0028],
        [0.38, -0.0024],
        [0.47, 0.0005],
        [0.56, 0.0024],
        [0.66, 0.0022],
        [0.76, 0.0004],
        [0.84, 0.0002],
        [0.90, 0.0028],
        [0.97, 0.0036],
        [1.02, 0.0016],
        [0.99, -0.0016],
        [0.86, -0.0034],
        [0.72, -0.0100],
        [0.66, -0.0200],
    ]
)
TILT = np.radians(24)  # the rear edge stands off the head


def ear(root: np.ndarray, side: str) -> Part:
    """The ear of `side`, its front edge's middle at `root` (3,) on the head's surface."""
    turn = 2 * np.pi * np.arange(SPOKES) / SPOKES
    forward, up = np.cos(turn), np.sin(turn)
    # Broad above, a narrow lobe below; the front edge is flat where it grows out of the cheek.
    half = 0.5 * WIDTH * (1 + 0.16 * up - 0.10 * (up < -0.5) * (-0.5 - up))
    x = half * np.where(forward > 0, 0.72, 1.0) * forward
    y = 0.5 * HEIGHT * up
    front = np.clip(forward, 0, 1) ** 2
    rings = [np.array([[0.001, -0.001, -0.0030]])]
    for share, height in RINGS:
        # In front the rim sinks into the cheek, so that only rear and top stand off; the lobe is plain.
        lift = height * (1 - 0.75 * np.clip(-up - 0.55, 0, 1) / 0.45)
        rings.append(np.stack([share * x, share * y, lift - 0.006 * front * share**4 * (height > -0.01)], 1))
    local = np.concatenate(rings)
    # Local axes: forward, up, out of the head; the plane leans outward towards the rear and back at the top.
    lean = np.radians(12)
    forward_axis, up_axis = local[:, 0], local[:, 1]
    forward_lean = forward_axis * np.cos(lean) - up_axis * np.sin(lean)
    up_lean = forward_axis * np.sin(lean) + up_axis * np.cos(lean)
    out = local[:, 2] + 0.009 - np.sin(TILT) * (forward_lean - 0.3 * WIDTH)
    depth = -np.cos(TILT) * (forward_lean - 0.3 * WIDTH)
    vertices = root + np.stack([out, -up_lean, depth], 1)
    faces = np.concatenate(
        [fan(0, 1 + np.arange(SPOKES)), grid_quads(len(RINGS), SPOKES, closed=True, start=1)]
    )
    faces[:SPOKES] = faces[:SPOKES, [0, 2, 1, 3]]
    spread = np.linspace(1 / len(RINGS), 1, len(RINGS))
    disc = (spread[:, None, None] * np.stack([forward, up], -1)).reshape(-1, 2)
    uv = 0.5 + 0.49 * np.concatenate([[[0, 0]], disc])
    if side == "right":
        vertices, faces = (
            vertices * [-1, 1, 1],
            np.where(faces[:, 3:] < 0, faces[:, [0, 2, 1, 3]], faces[:, ::-1]),
        )
    return Part(f"ear_{side}", vertices, faces, uv, np.full(len(faces), "skin"))
