"""Forward passes of the few kinds of layer that Parley's networks are made of, on float32 arrays, time first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Pulse = Callable[[], None]
"""Called now and then while something long is worked out; may raise to stop it."""
PULSE_STEPS = 64
PART = 8192
"""Outputs of a convolution that are worked out at a time."""
SMALL = 8192
"""Numbers in a matrix up to which OpenBLAS multiplies in one thread; for so little others only wait for each other."""
ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def idle() -> None:
    """A pulse that stops nothing."""


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), without overflow."""
    return 0.5 * np.tanh(0.5 * values) + 0.5


def gelu(values: np.ndarray) -> np.ndarray:
    """x Φ(x); Φ by formula 7.1.26 of Abramowitz & Stegun, right to 10⁻⁷."""
    scaled = np.abs(values) * np.float32(np.sqrt(0.5))
    near = 1 / (1 + np.float32(0.3275911) * scaled)
    total = np.zeros_like(near)
    for factor in reversed(ERF):
        total = (total + np.float32(factor)) * near
    tail = total * np.exp(-scaled * scaled)
    return values * np.where(values >= 0, 2 - tail, tail) * np.float32(0.5)


def convolution(values: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *, stride: int = 1,
                padding: int = 0, dilation: int = 1) -> np.ndarray:
    """(…, T', O) of `values` (…, T, I) under `weight` (O, I, kernel) and `bias` (O,), zeros beyond the ends."""
    if padding:
        values = np.pad(values, [*[(0, 0)] * (values.ndim - 2), (padding, padding), (0, 0)])
    reach = dilation * (weight.shape[2] - 1) + 1
    count = (values.shape[-2] - reach) // stride + 1
    flat = np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, weight.shape[0]))
    # In parts, so that an hour of speech needs no gigabyte.
    parts = [_product(values[..., first * stride:(min(first + PART, count) - 1) * stride + reach, :], flat,
                      weight.shape[2], stride, dilation) for first in range(0, count, PART)]
    result = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)
    return result if bias is None else result + bias


def _product(values: np.ndarray, flat: np.ndarray, kernel: int, stride: int, dilation: int) -> np.ndarray:
    """(…, T', O) of `values` (…, T, I) under `flat` (kernel · I, O): what each output hears, side by side, times it."""
    last = (values.shape[-2] - dilation * (kernel - 1) - 1) // stride * stride + 1
    heard = np.concatenate([values[..., place:place + last:stride, :]
                            for place in range(0, dilation * kernel, dilation)], axis=-1)
    return (heard.reshape(-1, heard.shape[-1]) @ flat).reshape(*heard.shape[:-1], -1)


def folded(weight: np.ndarray, bias: np.ndarray | None, scale: np.ndarray, shift: np.ndarray, mean: np.ndarray,
           variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with the batch normalisation after it worked in (ε = 10⁻⁵)."""
    factor = scale / np.sqrt(variance + 1e-5)
    moved = -mean if bias is None else bias - mean
    return (weight * factor[:, None, None]).astype(np.float32), (moved * factor + shift).astype(np.float32)


def lstm(inputs: np.ndarray, recurrent: np.ndarray, pulse: Pulse = idle, state: tuple[np.ndarray, np.ndarray] | None
         = None) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """N long short-term memories side by side.

    Parameters
    ----------
    inputs : (T, N, 4 H) what arrives at the gates (input, forget, cell, output), biases included
    recurrent : (N, 4 H, H) weights from the last state
    state : (N, H) hidden and cell to begin with, zeros if None

    Returns
    -------
    (T, N, H) hidden states, and the last hidden and cell
    """
    steps, count, size = *inputs.shape[:2], recurrent.shape[2]
    # One tanh does for all gates: σ(x) = (1 + tanh(x / 2)) / 2.
    half = np.full(4 * size, 0.5, np.float32)
    half[2 * size:3 * size] = 1
    weight = _in_parts(recurrent * half[:, None])
    inputs = (inputs * half).astype(np.float32)
    hidden, cell = state if state is not None else (np.zeros((count, size), np.float32),) * 2
    result = np.empty((steps, count, size), np.float32)
    for step in range(steps):
        if step % PULSE_STEPS == 0:
            pulse()
        returning = np.matmul(hidden[:, None, None], weight).reshape(count, -1)
        gates = np.tanh(returning + inputs[step])
        opened = 0.5 * gates + 0.5
        cell = opened[:, size:2 * size] * cell + opened[:, :size] * gates[:, 2 * size:3 * size]
        hidden = result[step] = opened[:, 3 * size:] * np.tanh(cell)
    return result, (hidden, cell)


def _in_parts(weight: np.ndarray) -> np.ndarray:
    """(N, P, I, O / P) float32 of `weight` (N, O, I): turned, and cut into matrices of at most `SMALL` numbers."""
    count, out, into = weight.shape
    parts = 1
    while out * into > SMALL * parts and out % (2 * parts) == 0:
        parts *= 2
    turned = weight.reshape(count, parts, out // parts, into).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(turned, np.float32)
