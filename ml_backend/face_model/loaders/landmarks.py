"""The 68 points that most face models document, in terms of MediaPipe's 478.

The 68-point scheme is that of the 300-W challenge (Sagonas et al. 2013), counted from 0; "right" is the person's right.
"""

from __future__ import annotations

import numpy as np

MEDIAPIPE_OF_68: dict[int, int] = {
    8: 152,
    17: 70, 18: 63, 19: 105, 20: 66, 21: 107, 22: 336, 23: 296, 24: 334, 25: 293, 26: 300,
    27: 168, 28: 197, 29: 5, 30: 4, 31: 98, 32: 97, 33: 2, 34: 326, 35: 327,
    36: 33, 37: 160, 38: 158, 39: 133, 40: 153, 41: 144, 42: 362, 43: 385, 44: 387, 45: 263, 46: 373, 47: 380,
    48: 61, 49: 39, 50: 37, 51: 0, 52: 267, 53: 269, 54: 291, 55: 405, 56: 314, 57: 17, 58: 84, 59: 181,
    60: 78, 61: 81, 62: 13, 63: 311, 64: 308, 65: 402, 66: 14, 67: 178,
}  # fmt: skip
"""300-W index → MediaPipe index. The outline 0–16 without the chin is missing: it is no fixed place of a face."""

RIGID = (33, 133, 362, 263, 168, 5, 4, 2, 98, 327, 61, 291, 0, 17)
"""MediaPipe points that fix scale and rotation."""

LOOSE = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 152, 39, 269, 405, 181, 81, 311, 402, 178)
"""MediaPipe points that slide along the skin between annotators: they guide, they don't bind."""

UPPER_LIP = (0, 37, 267, 39, 269)
LOWER_LIP = (17, 84, 314, 181, 405)
"""Outer lip points, from which the upper and the lower half of the mouth are told apart."""

UPPER_INNER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_INNER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
"""Inner edges of the lips, each pair facing each other."""

CORNERS = (78, 308)
"""Inner corners of the mouth."""

IRIS_RIGHT, IRIS_LEFT = 468, 473

ICT = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509,
    978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
"""ICT-FaceKit's vertices of the 68 points, as its vertex_indices.json names them."""

BFM_2009 = {
    17: 38792, 19: 40087, 21: 40514, 22: 41091, 24: 41511, 26: 42825, 30: 8319, 33: 8334, 36: 2088, 39: 5959, 42: 10603,
    45: 14472, 48: 5006, 51: 8344, 54: 11714, 57: 8374, 62: 8354, 66: 8366,
}  # fmt: skip
"""BFM 2009's MPEG-4 feature points (the model's face05 list) at the 68 points, vertices of the 53,490."""

BFM_2017 = {
    8: 47846, 30: 8156, 36: 2602, 39: 5830, 42: 10390, 45: 13481, 48: 5522, 49: 6026, 50: 7355, 51: 8181, 52: 9007,
    53: 10329, 54: 10857, 55: 9730, 56: 8670, 57: 8199, 58: 7726, 59: 6898, 60: 6291, 61: 7364, 62: 8190, 63: 9016,
    64: 10088, 65: 8663, 66: 8191, 67: 7719,
}  # fmt: skip
"""The same for model2017-1_bfm_nomouth.h5, vertices of the 53,149."""


def anchors(vertices: dict[int, int] | np.ndarray | tuple[int, ...]) -> dict[int, int]:
    """MediaPipe index → vertex from 300-W index → vertex (a dict, or 68 vertices in order)."""
    pairs = vertices.items() if isinstance(vertices, dict) else enumerate(np.asarray(vertices).ravel().tolist())
    return {MEDIAPIPE_OF_68[point]: int(vertex) for point, vertex in pairs if point in MEDIAPIPE_OF_68}
