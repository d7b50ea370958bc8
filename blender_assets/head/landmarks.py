"""Index sets of MediaPipe's 478-point face mesh that the head is built on (Kartynnik et al. 2019;
Grishchenko et al. 2020)."""

from __future__ import annotations

import numpy as np

COUNT = 478
FACE_COUNT = 468  # the rest are the iris points

# Closed loops start at the image-left corner (the person's right) and run over the top to the other corner
# and back below.
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
# The two loops between: second from outside and third.
LIPS_SECOND = (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 307, 320, 404, 315, 16, 85, 180, 90, 77)
LIPS_THIRD = (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 325, 319, 403, 316, 15, 86, 179, 89, 96)
LIPS_RINGS = (LIPS_OUTER, LIPS_SECOND, LIPS_THIRD, LIPS_INNER)
LIPS_UPPER_INNER, LIPS_LOWER_INNER = LIPS_INNER[1:10], LIPS_INNER[:10:-1]
EYE_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
EYE_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
OVAL = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)
BROW_LEFT = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
BROW_RIGHT = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
IRIS_RIGHT, IRIS_LEFT = 468, 473  # centres; the four points after each lie on the limbus

# Forehead, temples, bridge of the nose and eye corners: what expressions move least.
RIGID = np.array(
    [
        10,
        109,
        67,
        103,
        54,
        21,
        162,
        127,
        338,
        297,
        332,
        284,
        251,
        389,
        356,
        151,
        9,
        8,
        168,
        6,
        197,
        195,
        33,
        133,
        362,
        263,
        234,
        454,
        93,
        323,
    ]
)
EYE_CORNERS = (33, 263)  # outer corners, right and left
