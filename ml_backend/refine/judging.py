"""Which of several weights is best on frames they have not seen, and how that is said."""

from __future__ import annotations

import numpy as np

from ml_backend.metrics.image import Quality

SHARPNESS_WEIGHT, SHARP_ENOUGH = 0.01, float(np.log(1.25))
"""What a mouth more or less sharp than the real one costs beside the error, and how much of that (ln) is free."""
COMPOSITES, GENERAL, TUNED = "composites", "general", "tuned"


def judged(quality: Quality) -> float:
    """One number to choose weights by, lower is better: the error, and a penalty for mouths blurred or too sharp."""
    sharpness = quality.mouth_sharpness
    if not np.isfinite(sharpness):
        return quality.error
    return quality.error + SHARPNESS_WEIGHT * max(0.0, abs(float(np.log(max(sharpness, 1e-3)))) - SHARP_ENOUGH)


def message(frames: int, before: Quality, after: Quality, worse: bool, used: str) -> str:
    """What a fine-tuning came to, for the user, in one sentence."""
    if worse:
        return f"Refining did not improve the clip's last {frames} frames, so the rendered frames stay as they are."
    how = "Refining" if used == TUNED else "Refining with the general weights, better than those fitted to the clip,"
    return (f"{how} improves the clip's last {frames} frames from {before.psnr:.1f} to {after.psnr:.1f} dB, SSIM "
            f"{before.ssim:.3f} to {after.ssim:.3f}.")
