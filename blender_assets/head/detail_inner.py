"""Detail of eyes, teeth and tongue in their own charts, as factors of the vertices' mean colours."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from blender_assets.head import eyes, mouth
from blender_assets.head.part import smoothstep

IRIS, RIM, PUPIL = np.array((0.36, 0.285, 0.215)), np.array((0.42, 0.40, 0.42)), np.array((0.02, 0.018, 0.018))
WHITE, CORNER = np.array((0.895, 0.855, 0.825)), np.array((0.80, 0.58, 0.55))
ENAMEL, NECK, EDGE = np.array((0.96, 0.92, 0.85)), np.array((0.88, 0.79, 0.66)), np.array((0.87, 0.88, 0.87))
GUM, GAP = np.array((0.70, 0.38, 0.37)), np.array((0.30, 0.18, 0.14))
TONGUE = np.array((0.74, 0.38, 0.37))
PUPIL_ANGLE = 10.0
FIBRES = 720


def eye(base: np.ndarray, random: np.random.Generator, *, flip: bool) -> np.ndarray:
    """Factors (N, N, 3) of an eyeball whose vertices show `base` (N, N, 3); `flip`: the nose lies to the left."""
    count = len(base)
    y, x = (np.mgrid[0:count, 0:count] + 0.5 - count / 2) / (0.49 * count) * np.degrees(eyes.ANGLES[-1])
    angle, turn = np.hypot(x, y), np.arctan2(y, x)
    share = np.clip((angle - PUPIL_ANGLE) / (eyes.LIMBUS - PUPIL_ANGLE), 0, 1.2)
    fibre = _fibres(turn, share, random)
    ruff = np.exp(-(((share - 0.30) / 0.16) ** 2))
    shade = (0.80 + 0.42 * fibre + 0.28 * ruff) * (1 - 0.30 * smoothstep(share, 0.12, 0.0))
    colour = IRIS * shade[..., None]
    limbus = smoothstep(share, 0.70, 0.97)[..., None]
    colour = colour * (1 + limbus * (RIM - 1))
    white = _sclera(x, y, angle, random, -1.0 if flip else 1.0)
    edge = smoothstep(angle, eyes.LIMBUS - 0.8, eyes.LIMBUS + 1.6)[..., None]
    colour = colour + edge * (white - colour)
    hole = smoothstep(angle, PUPIL_ANGLE + 0.7, PUPIL_ANGLE - 0.5)[..., None]
    return (colour + hole * (PUPIL - colour)) / np.maximum(base, 0.02)


def _fibres(turn: np.ndarray, share: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Radial fibres about 0, deviation near 1/3: two layers, the finer one towards the rim."""
    layers = []
    for sigma in (1.6, 4.0):
        ring = gaussian_filter1d(random.normal(size=FIBRES), sigma, mode="wrap")
        sway = 3.0 * gaussian_filter1d(random.normal(size=FIBRES), 20, mode="wrap") * 4
        place = (turn / (2 * np.pi) * FIBRES).astype(int) % FIBRES
        moved = (turn / (2 * np.pi) * FIBRES + sway[place] * share).astype(int) % FIBRES
        layers.append((ring / ring.std())[moved])
    return 0.33 * (0.65 * layers[0] * np.clip(share * 1.6, 0.2, 1) + 0.6 * layers[1])


def _sclera(x: np.ndarray, y: np.ndarray, angle: np.ndarray, random: np.random.Generator, nose: float) -> np.ndarray:
    """(N, N, 3) colours of the white: warm, pink towards the corners, most of all towards the nose, some veins."""
    inner = smoothstep(nose * x, 30, 58)
    corner = np.clip(0.30 * smoothstep(np.abs(x), 30, 62) + 0.75 * inner, 0, 1)
    noise = gaussian_filter(random.normal(size=x.shape), 5)
    noise /= noise.std()
    veins = np.exp(-((noise / 0.07) ** 2)) * smoothstep(angle, 36, 60) * 0.22
    white = WHITE + corner[..., None] * (CORNER - WHITE)
    return white * (1 - veins[..., None] * np.array((0.25, 0.9, 0.9)))


def teeth(base: np.ndarray, random: np.random.Generator, *, upper: bool) -> np.ndarray:
    """Factors (N, N, 3) of a row of teeth and its gum: scalloped gum line, dark gaps, one shade for each tooth."""
    count = len(base)
    line = (np.arange(count) + 0.5) / count
    where = np.clip((line - 0.01) / 0.98, 0, 1)
    step = where * mouth.TEETH
    number = np.minimum(step.astype(int), mouth.TEETH - 1)
    local = np.abs(step - number - 0.5)[None] * 2
    # v runs from the gum's top to the edge; the charts' rows are the mesh's rows.
    depth = (np.arange(count) + 0.5) / count
    row = np.clip((depth if upper else 1 - depth) * 1.0417 - 0.0208, 0, 1)[:, None] * 10
    share = np.interp(row, range(11), [1.9, 1.35, 1.02, 0.9, 0.5, 0.12, 0.0, 0.05, 0.6, 1.1, 1.9])
    front = smoothstep(row, 6.6, 6.0)
    middle = np.abs(number - (mouth.TEETH - 1) / 2)
    tone = 1 + 0.018 * random.normal(size=mouth.TEETH)[number] - 0.012 * middle
    canine = np.where(np.round(middle - 0.5) == 2, 1.0, 0.0)[None, :, None]
    high = smoothstep(share, 0.25, 0.95)[..., None]
    colour = ENAMEL + high * 0.75 * (NECK - ENAMEL)
    colour = colour + smoothstep(share, 0.2, 0.02)[..., None] * 0.7 * (EDGE - colour)
    colour = colour * (1 - canine * np.array((0.02, 0.05, 0.09))) * tone[None, :, None]
    colour = colour * (1 - 0.16 * local**2.5)[..., None]
    gap = smoothstep(local, 0.90, 1.0) * (0.35 + 0.65 * front)
    colour = colour + gap[..., None] * 0.70 * (GAP - colour)
    line_of_gum = 0.98 - 0.30 * local**2.2
    gum = smoothstep(share, line_of_gum - 0.025, line_of_gum + 0.02)[..., None]
    rim = np.exp(-(((share - line_of_gum - 0.03) / 0.05) ** 2))[..., None]
    noise = gaussian_filter(random.normal(size=(count, count)), 6)
    flesh = GUM * (1 + 0.05 * (noise / noise.std())[..., None]) * (1 + rim * 0.10)
    return (colour + gum * (flesh - colour)) / np.maximum(base, 0.02)


def tongue(base: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Factors (N, N, 3) of the tongue: papillae, a darker groove, a paler back."""
    count = len(base)
    y, x = (np.mgrid[0:count, 0:count] + 0.5 - count / 2) / (0.49 * count)
    noise = gaussian_filter(random.normal(size=(count, count)), 1.6)
    rough = np.clip(noise / noise.std(), -1.5, 2)
    groove = np.exp(-((x / 0.05) ** 2)) * (y < 0) * smoothstep(np.hypot(x, y), 0.05, 0.3)
    colour = TONGUE * (1 + 0.06 * rough - 0.22 * groove)[..., None]
    return colour / np.maximum(base, 0.02)


def bag(count: int) -> np.ndarray:
    """Factors (count, count, 3) of the mouth's bag: the lips darken at once behind their line."""
    y, x = (np.mgrid[0:count, 0:count] + 0.5 - count / 2) / (0.49 * count)
    radius = np.hypot(x, y)
    behind = smoothstep(radius, 1.0, 0.85) * smoothstep(radius, 0.55, 0.75)
    deep = smoothstep(radius, 0.75, 0.5)[..., None] * np.array((0.45, 0.15, 0.15))
    return 0.88 - behind[..., None] * np.array((0.40, 0.55, 0.52)) + deep
