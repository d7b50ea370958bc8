"""The refiner's benchmark: figures within the face, the issue's bars, curve and mouth sheet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.metrics.image import Quality
from ml_backend.refine.losses import LIPS
from ml_backend.refine.train import RefineReport
from tests.benchmarks.refiner import pick_mouths, write_curve, write_sheet
from tests.benchmarks.refiner_clips import RefinerClip
from tests.benchmarks.refiner_quality import Found, judge, within

RAW = Found(Quality(35.0, 0.95, 0.01, 0.02, 1.4, 1.0), 26.0, 0.85, 0.8, 1.5, 0.0, 0.0, [])


def test_figures_within_the_face_leave_the_plate_out() -> None:
    real = np.random.default_rng(0).integers(60, 200, (2, 64, 64, 3), np.uint8)
    shown = np.zeros((2, 64, 64), bool)
    shown[:, 16:48, 16:48] = True
    made = real.copy()
    made[:, 16:48, 16:48] += 10
    psnr, ssim = within(list(made), real, shown)
    assert psnr == pytest.approx(20 * np.log10(255 / 10), abs=1e-3) and 0.5 < ssim < 1
    made[:, :10] = 0
    assert within(list(made), real, shown)[0] == psnr, "what lies beside the face doesn't count"
    assert within(list(real), real, shown) == (100.0, pytest.approx(1.0, abs=1e-5))


def test_bars_are_those_of_the_issue() -> None:
    good = Found(Quality(36.6, 0.981, 0.01, 0.02, 0.9, 1.1), 28.0, 0.9, 0.85, 1.2, 60.0, 55.0, [])
    assert [one.name for one in judge("clip", RAW, good) if one.passed is False] == []
    bad = replace(good, quality=Quality(36.4, 0.97, 0.01, 0.02, 0.6, 1.3), likeness=0.79, lips=1.5)
    assert {one.name for one in judge("clip", RAW, bad) if one.passed is False} == {
        "clip PSNR gain", "clip SSIM gain", "clip identity similarity gain", "clip mouth sharpness", "clip flicker",
        "clip lip distance"}
    sharp = [one for one in judge("clip", RAW, replace(good, quality=replace(good.quality, mouth_sharpness=1.4)))
             if one.passed is False]
    assert len(sharp) == 1 and sharp[0].bar == 1.3
    assert good.row()["cpu_seconds"] == 55.0 and good.row()["psnr"] == 36.6


def test_curve_and_mouths_are_drawn(tmp_path: Path) -> None:
    looks: list[tuple[float, ...]] = [(0.0, 0.10, 34.0, 0), (30.0, 0.09, 34.8, 300), (60.0, 0.08, 35.1, 600)]
    report = RefineReport("w", 600, 60.0, {"psnr": 34.0}, {"psnr": 35.1}, looks, False, "better")
    write_curve(report, tmp_path / "curve.png")
    assert cv2.imread(str(tmp_path / "curve.png")) is not None
    points = np.full((10, 478, 2), 32.0, np.float32)
    points[:, list(LIPS), 0] += np.linspace(-10, 10, len(LIPS), dtype=np.float32)
    points[:, 14, 1] += np.arange(10)
    real = np.stack([np.full((64, 64, 3), 20 * t, np.uint8) for t in range(10)])
    clip = RefinerClip("c", real, real + 5, points, 0, np.zeros((10, 64, 64), np.uint8))
    mouths = pick_mouths(clip, list(real))
    assert len(mouths) >= 4 and mouths[0].shape == (160, 480, 3)
    assert [int(mouth[0, 0, 0]) for mouth in mouths] == sorted(int(mouth[0, 0, 0]) for mouth in mouths), "shut to open"
    write_sheet(mouths, tmp_path / "mouths.png")
    assert cv2.imread(str(tmp_path / "mouths.png")).shape[1] == 4 * 480
