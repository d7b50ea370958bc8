"""Who speaks when: Silero's voice activity detector (MIT) run in NumPy, on the film's frames."""

from __future__ import annotations

import numpy as np

from . import filters, layers
from .features import FRAME, frame_count
from .weights import Weights

SCHEMA = "parley.voice"
BLOCK, CONTEXT, REFLECTED = 512, 64, 64
"""Samples of a probability, how many before it are heard too, and how many are mirrored after it."""
WINDOW, STRIDE, BINS, SIZE = 256, 128, 129, 128
GROUP = 256
"""Blocks that are encoded at a time."""
SURE, DOUBTFUL = 0.5, 0.3
"""Probability at which speech begins, and under which it ends."""
GAP, BURST = 3, 2


class Detector:
    """The network of the weights; raises `ArtefactError` where they don't fit it."""

    def __init__(self, weights: Weights) -> None:
        sizes = ((BINS, SIZE), (SIZE, SIZE // 2), (SIZE // 2, SIZE // 2), (SIZE // 2, SIZE))
        self.basis = weights.array("stft_conv.weight", (2 * BINS, 1, WINDOW))
        self.encoder = [(weights.array(f"conv{number}.weight", (out, into, 3)),
                         weights.array(f"conv{number}.bias", (out,)))
                        for number, (into, out) in enumerate(sizes, 1)]
        self.arriving = weights.array("lstm_cell.weight_ih", (4 * SIZE, SIZE)).T.copy()
        self.recurrent = weights.array("lstm_cell.weight_hh", (4 * SIZE, SIZE))
        self.bias = weights.array("lstm_cell.bias_ih", (4 * SIZE,)) + weights.array("lstm_cell.bias_hh", (4 * SIZE,))
        self.head = weights.array("final_conv.weight", (1, SIZE, 1))[0, :, 0]
        self.head_bias = weights.array("final_conv.bias", (1,))

    def probabilities(self, samples: np.ndarray, pulse: layers.Pulse = layers.idle) -> np.ndarray:
        """(B,) float32, one per 512 of `samples` (N,): how likely somebody speaks."""
        count = -(-len(samples) // BLOCK)
        whole = np.zeros(CONTEXT + count * BLOCK, np.float32)
        whole[CONTEXT:CONTEXT + len(samples)] = samples
        blocks = np.lib.stride_tricks.sliding_window_view(whole, CONTEXT + BLOCK)[::BLOCK]
        state, found = None, []
        for start in range(0, count, GROUP):
            gates = self._encode(blocks[start:start + GROUP]) @ self.arriving + self.bias
            hidden, state = layers.lstm(gates[:, None], self.recurrent[None], pulse, state)
            found.append(layers.sigmoid(np.maximum(hidden[:, 0], 0) @ self.head + self.head_bias))
        return np.concatenate(found)

    def _encode(self, blocks: np.ndarray) -> np.ndarray:
        """(B, 128) of `blocks` (B, 576): magnitudes of four short spectra, then convolutions down to one step."""
        heard = np.concatenate([blocks, blocks[:, -2:-2 - REFLECTED:-1]], 1)
        parts = layers.convolution(heard[..., None], self.basis, stride=STRIDE)
        values = np.sqrt(parts[..., :BINS] ** 2 + parts[..., BINS:] ** 2)
        for (weight, bias), stride in zip(self.encoder, (1, 2, 2, 1), strict=True):
            values = np.maximum(layers.convolution(values, weight, bias, stride=stride, padding=1), 0)
        return values[:, 0]


def activity(samples: np.ndarray, detector: Detector, pulse: layers.Pulse = layers.idle) -> np.ndarray:
    """(T,) bool per film frame of `samples` (N,): does somebody speak? Gaps under 120 ms count, bursts under 80 not."""
    frames = frame_count(len(samples))
    if len(samples) < BLOCK or not np.abs(samples).max() > 0:
        return np.zeros(frames, bool)
    loud = min(0.5 / max(float(np.percentile(np.abs(samples), 99.5)), 1e-6), 100.0)
    found = detector.probabilities(np.asarray(samples * loud, np.float32), pulse)
    times = (np.arange(len(found)) + 0.5) * BLOCK
    probability = np.interp((np.arange(frames) + 0.5) * FRAME, times, found).astype(np.float32)
    active = np.zeros(frames, bool)
    for start, stop in stretches(probability >= DOUBTFUL):
        active[start:stop] = probability[start:stop].max() >= SURE
    wide = np.pad(active, GAP)
    joined = filters.lowest(filters.highest(wide, GAP), GAP)[GAP:-GAP]
    for start, stop in stretches(joined):
        if stop - start < BURST:
            joined[start:stop] = False
    return joined


def stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last-but-one frame of each stretch of true `flags` (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
