"""What is expected of each expression channel before anything is seen: size, speed, partner on the other side.

Standard deviations of a zero-mean prior on the weight: small where several channels look alike in 478 points (a puffed
cheek, a shifted jaw), large where the points show the channel plainly. Speeds are standard deviations of a step in
1/25 s.
"""

from __future__ import annotations

import numpy as np

_SIZE = {
    "tongueOut": 0.01, "cheekPuff": 0.06, "jawLeft": 0.08, "jawRight": 0.08, "jawForward": 0.08,
    "noseSneer": 0.15, "cheekSquint": 0.12, "mouthLeft": 0.12, "mouthRight": 0.12, "mouthClose": 0.2,
    "mouthPress": 0.2, "mouthDimple": 0.2, "mouthRoll": 0.16, "mouthShrug": 0.15, "mouthFrown": 0.3,
    "mouthStretch": 0.3,
    "eyeSquint": 0.2, "eyeWide": 0.3, "eyeBlink": 1.0, "eyeLook": 0.6, "jawOpen": 1.0, "mouthSmile": 0.6,
    "mouthFunnel": 0.22, "mouthLowerDown": 0.25, "mouthUpperUp": 0.22,
}
_SPEED = {"eyeBlink": 0.8, "eyeLook": 0.25, "eyeWide": 0.1, "eyeSquint": 0.06, "brow": 0.06, "cheek": 0.04,
          "nose": 0.05, "jawLeft": 0.03, "jawRight": 0.03, "jawForward": 0.04, "jawOpen": 0.25, "mouthLeft": 0.06,
          "mouthRight": 0.06, "mouth": 0.15, "tongue": 0.05}
DEFAULT_SIZE, DEFAULT_SPEED, MIRROR = 0.4, 0.1, 0.25
"""`MIRROR`: standard deviation of left minus right of a pair, except blinks and looks, which are free."""
UNSEEN = 1e-3
"""Standard deviation of where the eyes look when no iris is seen: lids alone would be taken for a look down."""
LOPSIDED = 0.35
"""Standard deviation of identity coefficients that move the two halves of a face apart rather than alike: their modes
were learned from people who look a little past the camera, and from one picture would pass for a turn of the head."""


def sizes(names: list[str]) -> np.ndarray:
    """(K,) prior standard deviations."""
    return np.array([_lookup(name, _SIZE, DEFAULT_SIZE) for name in names])


def temporal_weights(names: list[str], fps: float) -> np.ndarray:
    """(K,) weights of squared steps between frames at `fps`."""
    speed = np.array([_lookup(name, _SPEED, DEFAULT_SPEED) for name in names])
    return fps / 25.0 / speed**2


def precision(names: list[str], *, gaze: bool = True) -> np.ndarray:
    """(K, K) inverse prior covariance: sizes on the diagonal, left–right pairs tied; without `gaze` the eyes rest."""
    size = sizes(names)
    if not gaze:
        size[[name.startswith("eyeLook") for name in names]] = UNSEEN
    out = np.diag(1.0 / size**2)
    place = {name: k for k, name in enumerate(names)}
    for name, k in place.items():
        other = place.get(name[:-4] + "Right") if name.endswith("Left") else None
        if other is None or name in ("jawLeft", "mouthLeft") or name.startswith(("eyeBlink", "eyeLook")):
            continue
        tie = 1.0 / MIRROR**2
        out[[k, other], [k, other]] += tie
        out[k, other] -= tie
        out[other, k] -= tie
    return out


def identity_precision(mean: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """(I,) inverse prior variances of the modes `identity` (I, L, 3) of landmarks `mean` (L, 3), symmetric as a set."""
    distance = np.linalg.norm(mean[:, None] * [-1, 1, 1] - mean[None], axis=-1)
    swapped = identity[:, distance.argmin(1)] * [-1, 1, 1]
    return np.where((identity * swapped).sum((1, 2)) < 0, 1 / LOPSIDED**2, 1.0)


def caps(names: list[str]) -> dict[int, int]:
    """Channels that another one bounds from above: mouthClose closes what jawOpen has opened."""
    place = {name: k for k, name in enumerate(names)}
    if "mouthClose" in place and "jawOpen" in place:
        return {place["mouthClose"]: place["jawOpen"]}
    return {}


def _lookup(name: str, table: dict[str, float], default: float) -> float:
    """The value of the longest key that `name` starts with."""
    keys = [key for key in table if name.startswith(key)]
    return table[max(keys, key=len)] if keys else default
