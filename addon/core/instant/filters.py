"""Small filters over time that SciPy would bring and Blender does not: along the first axis, symmetric kernels only."""

from __future__ import annotations

import numpy as np

NEAREST, REFLECT, ZERO = "edge", "symmetric", "constant"
"""What lies beyond the ends: the end's value, the values mirrored with the end itself, zero."""


def windows(values: np.ndarray, size: int, beyond: str = REFLECT) -> np.ndarray:
    """(T, D…, size) view: the `size` entries about each of `values` (T, D…); an even one reaches further back."""
    before = size // 2
    padding = [(before, size - before - 1), *[(0, 0)] * (values.ndim - 1)]
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, padding, mode=beyond), size, axis=0)  # type: ignore[call-overload]


def convolve(values: np.ndarray, kernel: np.ndarray, beyond: str = NEAREST) -> np.ndarray:
    """`values` (T, D…) weighted by a symmetric `kernel` (odd length) about each entry."""
    reach = len(kernel) // 2
    padded = np.pad(values, [(reach, reach), *[(0, 0)] * (values.ndim - 1)], mode=beyond)  # type: ignore[call-overload]
    total = kernel[0] * padded[:len(values)]
    for offset in range(1, len(kernel)):
        total = total + kernel[offset] * padded[offset:offset + len(values)]
    return total


def gaussian(values: np.ndarray, deviation: float, beyond: str = REFLECT) -> np.ndarray:
    """`values` (T, D…) smoothed by a Gaussian of `deviation` entries, cut off at four deviations."""
    reach = int(4 * deviation + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return convolve(values, kernel / kernel.sum(), beyond)


def highest(values: np.ndarray, size: int, beyond: str = REFLECT) -> np.ndarray:
    """Running maximum of `values` (T,)."""
    return windows(values, size, beyond).max(-1)


def lowest(values: np.ndarray, size: int) -> np.ndarray:
    """Running minimum of `values` (T,), mirrored at the ends."""
    return windows(values, size).min(-1)


def median(values: np.ndarray, size: int) -> np.ndarray:
    """Running median of `values` (T,), mirrored at the ends."""
    return np.median(windows(values, size), axis=-1)


def mean(values: np.ndarray, size: int) -> np.ndarray:
    """Running mean of `values` (T,), mirrored at the ends."""
    sums = np.cumsum(np.pad(values, (size // 2 + 1, size - size // 2 - 1), mode=REFLECT))
    sums = sums - sums[0] if size % 2 else sums
    return (sums[size:] - sums[:-size]) / size


def peaks(values: np.ndarray) -> np.ndarray:
    """Entries of `values` (T,) that are higher than both neighbours; of a plateau the middle."""
    change = np.flatnonzero(np.diff(values))
    if len(change) < 2:
        return np.zeros(0, np.int64)
    rising = values[change + 1] > values[change]
    top = np.flatnonzero(rising[:-1] & ~rising[1:])
    return (change[top] + 1 + change[top + 1]) // 2


def apart(places: np.ndarray, heights: np.ndarray, distance: int) -> np.ndarray:
    """Those of `places` (ascending) that keep `distance` from each other, the higher ones chosen first."""
    keep = np.ones(len(places), bool)
    for index in np.argsort(heights)[::-1]:
        if keep[index]:
            low, high = np.searchsorted(places, [places[index] - distance + 1, places[index] + distance])
            keep[low:high] = False
            keep[index] = True
    return places[keep]


def prominences(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How far each peak of `values` at `places` stands above the higher of the valleys beside it."""
    result = np.empty(len(places))
    for number, place in enumerate(places):
        height = values[place]
        higher = np.flatnonzero(values > height)
        at = int(np.searchsorted(higher, place))
        first = int(higher[at - 1]) + 1 if at else 0
        last = int(higher[at]) if at < len(higher) else len(values)
        result[number] = height - max(values[first:place + 1].min(), values[place:last].min())
    return result


def spline(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`values` (N, D) given at 0, 1, 2…, N > 3, at fractional `times` (M,): the cubic spline without knots at its ends.

    Its third derivative does not jump at the last but one of the given places ("not a knot").
    """
    bend = 6 * np.diff(values, n=2, axis=0)
    second = np.zeros((len(values), values.shape[1]))
    # With equal steps those conditions say what the second derivative is next to the ends.
    second[1], second[-2] = bend[0] / 6, bend[-1] / 6
    if len(values) > 4:
        inner = bend[1:-1].copy()
        inner[0] -= second[1]
        inner[-1] -= second[-2]
        second[2:-2] = _tridiagonal(inner)
    second[0], second[-1] = 2 * second[1] - second[2], 2 * second[-2] - second[-3]
    low = np.clip(np.floor(times).astype(int), 0, len(values) - 2)
    ahead = (times - low)[:, None]
    back = 1 - ahead
    return (back * values[low] + ahead * values[low + 1]
            + ((back ** 3 - back) * second[low] + (ahead ** 3 - ahead) * second[low + 1]) / 6)


def _tridiagonal(right: np.ndarray) -> np.ndarray:
    """(N, D) solution of x[i − 1] + 4 x[i] + x[i + 1] = `right`[i] (N, D), zero beyond the ends (Thomas)."""
    count = len(right)
    share, solved = np.empty(count), right.copy()
    before, past = 0.0, np.zeros(right.shape[1])
    for index in range(count):
        before = share[index] = 1 / (4 - before)
        past = solved[index] = (solved[index] - past) * before
    for index in range(count - 2, -1, -1):
        solved[index] -= share[index] * solved[index + 1]
    return solved


def root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a symmetric `matrix` without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
