"""Inside of the mouth: rolled lips and bag, rows of teeth on gums, tongue."""

from __future__ import annotations

import numpy as np

from blender_assets.head.part import Part, fan, grid_quads

# Rings of the bag behind the lips' margin: depth (m), half height added (m), sideways scale.
BAG = np.array(
    [
        [0.0012, 0.0004, 1.0],
        [0.0030, 0.0022, 1.0],
        [0.0042, 0.0065, 1.01],
        [0.0060, 0.0120, 1.05],
        [0.0130, 0.0180, 1.10],
        [0.0260, 0.0215, 1.14],
        [0.0420, 0.0200, 1.10],
        [0.0560, 0.0130, 0.85],
    ]
)
LIP_RINGS = 2  # of them, how many are still lip
TEETH = 14
COLUMNS = 4  # per tooth
ARCH_WIDTH, ARCH_DEPTH, ARCH_SPAN = 0.0255, 0.036, np.radians(82)


def bag(margin: np.ndarray) -> Part:
    """The bag behind the lips' margin (40, 3), a loop from the right corner over the upper lip; its first
    ring repeats it."""
    n = len(margin)
    middle = margin.mean(0)
    side = np.where(np.arange(n) < n // 2, -1.0, 1.0)
    across = np.abs(margin[:, 0] - middle[0]) / np.abs(margin[:, 0] - middle[0]).max()
    side *= np.sqrt(np.clip(1 - across**2, 0, None))
    line = margin[:, 1]
    rings = [margin]
    for index, (depth, height, wide) in enumerate(BAG):
        ring = margin.copy()
        level = index / (len(BAG) - 1)
        ring[:, 0] = middle[0] + (margin[:, 0] - middle[0]) * wide
        ring[:, 1] = line + (middle[1] - line) * level + side * height
        ring[:, 2] = margin[:, 2] + depth + (middle[2] + 0.006 - margin[:, 2]) * 0.5 * level
        rings.append(ring)
    vertices = np.concatenate([*rings, [rings[-1].mean(0) + np.array([0, 0, 0.006])]])
    last = n * len(BAG) + np.arange(n)
    quads = grid_quads(len(BAG) + 1, n, closed=True)
    faces = np.concatenate([quads[:, ::-1], fan(len(vertices) - 1, last)[:, [0, 2, 1, 3]]])
    turn = np.pi - 2 * np.pi * np.arange(n) / n
    radius = 1 - np.arange(len(BAG) + 1) / (len(BAG) + 1)
    disc = (radius[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)).reshape(-1, 2)
    uv = 0.5 + 0.49 * np.concatenate([disc, [[0, 0]]])
    materials = np.where(np.arange(len(faces)) < LIP_RINGS * n, "lips", "mouth")
    return Part("mouth_bag", vertices, faces, uv, materials)


def teeth(front: np.ndarray, upper: bool) -> Part:
    """A row of teeth on its gum; `front` (3,) is the middle of the incisors' edge."""
    columns = TEETH * COLUMNS + 1
    where = np.linspace(-1, 1, columns)
    angle = where * ARCH_SPAN
    within = np.abs(((where + 1) / 2 * TEETH) % 1 - 0.5) * 2  # 0 in the middle of a tooth, 1 between two
    within[[0, -1]] = 1
    notch = within**4
    length = 0.0088 - 0.0022 * np.abs(where) + (0.0006 * np.cos(3 * angle))
    # Rows from the gum's top over the tooth's front to the edge and up its back: share of length, outward
    # offset (m).
    rows = [
        (1.9, -0.0020),
        (1.35, 0.0002),
        (1.02, 0.0008),
        (0.9, 0.0006),
        (0.5, 0.0012),
        (0.12, 0.0006),
        (0.0, -0.0006),
        (0.05, -0.0030),
        (0.6, -0.0052),
        (1.1, -0.0068),
        (1.9, -0.0075),
    ]
    tooth = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0.0])
    up = -1.0 if upper else 1.0
    outward = np.stack([np.sin(angle), np.zeros(columns), -np.cos(angle)], 1)
    base = np.stack([ARCH_WIDTH * np.sin(angle), np.zeros(columns), ARCH_DEPTH * (1 - np.cos(angle))], 1)
    vertices = []
    for (share, offset), is_tooth in zip(rows, tooth, strict=True):
        height = up * (share * length - (share < 0.2) * is_tooth * 0.0004 * -notch)
        out = offset - is_tooth * 0.0006 * notch
        vertices.append(front + base + out[:, None] * outward + np.stack([0 * height, height, 0 * height], 1))
    faces = grid_quads(len(rows), columns, closed=False)
    if upper:
        faces = faces[:, ::-1]
    materials = np.repeat(np.where((tooth[:-1] + tooth[1:]) > 1, "teeth", "gums"), columns - 1)
    v = np.linspace(0.98, 0.02, len(rows)) if upper else np.linspace(0.02, 0.98, len(rows))
    uv = np.stack(np.broadcast_arrays(0.01 + 0.98 * (where[None] + 1) / 2, v[:, None]), -1).reshape(-1, 2)
    return Part("teeth_upper" if upper else "teeth_lower", np.concatenate(vertices), faces, uv, materials)


def tongue(tip: np.ndarray) -> Part:
    """The tongue lying in the lower arch, its tip at `tip` (3,): rings of 16 along its length, rounded at
    the tip."""
    n, length = 16, 0.046
    t = np.array([0.0, 0.03, 0.1, 0.2, 0.32, 0.45, 0.6, 0.75, 0.88, 1.0])
    width = 0.0165 * np.sqrt(1 - (1 - np.minimum(t / 0.45, 1)) ** 2.2) * (1 + 0.12 * t)
    thick = 0.0042 * np.sqrt(1 - (1 - np.minimum(t / 0.25, 1)) ** 2) * (1 + 0.9 * t)
    turn = 2 * np.pi * np.arange(n) / n
    x = width[:, None] * np.cos(turn)
    groove = 0.0010 * np.exp(-((x / 0.004) ** 2)) * (np.sin(turn) > 0)
    y = -thick[:, None] * np.sin(turn) - 0.006 * np.sin(np.pi * np.minimum(t, 0.7))[:, None] + groove
    z = np.broadcast_to(length * t[:, None], x.shape)
    body = np.stack([x, y, z], -1)[1:].reshape(-1, 3)
    vertices = np.concatenate([[[0, 0, 0]], body]) + tip
    faces = np.concatenate(
        [fan(0, 1 + np.arange(n)), grid_quads(len(t) - 1, n, closed=True, start=1)[:, ::-1]]
    )
    disc = (t[1:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)).reshape(-1, 2)
    uv = 0.5 + 0.49 * np.concatenate([[[0, 0]], disc])
    return Part("tongue", vertices, faces, uv, np.full(len(faces), "tongue"))
