"""Scene cuts from pictures and faces; nothing runs across them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.errors import ArtefactError
from ml_backend.reconstruct import cuts, pose
from ml_backend.reconstruct.fit import fill_gaps


def scene(seed: int, frames: int, *, motion: float = 2.0) -> list[np.ndarray]:
    """Coarse coloured noise with a little change from frame to frame."""
    rng = np.random.default_rng(seed)
    still = rng.integers(40, 200, (9, 16, 3)).repeat(8, 0).repeat(8, 1)
    return [np.clip(still + rng.normal(0, motion, (9, 16, 3)).repeat(8, 0).repeat(8, 1), 0, 255).astype(np.uint8)
            for _ in range(frames)]


def test_cuts_are_found_where_scenes_meet() -> None:
    calls: list[int] = []
    found = cuts.find_cuts([*scene(1, 12), *scene(2, 9), *scene(3, 7)], progress=lambda done, _: calls.append(done))
    assert np.flatnonzero(found).tolist() == [12, 21]
    assert calls == list(range(1, 29))
    assert cuts.shots(found) == [slice(0, 12), slice(12, 21), slice(21, 28)]


def test_flash_pan_and_still_are_no_cuts() -> None:
    flash = scene(1, 14)
    flash[6] = np.full_like(flash[6], 250)
    assert not cuts.find_cuts(flash).any()
    wide = np.concatenate(scene(4, 4, motion=0), 1)
    assert not cuts.find_cuts([wide[:, 6 * t:6 * t + 128] for t in range(16)]).any()
    assert not cuts.find_cuts(scene(1, 1) * 10).any()


def test_one_and_two_frames() -> None:
    assert cuts.find_cuts(scene(1, 1)).tolist() == [False]
    assert cuts.find_cuts([*scene(1, 1), *scene(2, 1)]).tolist() == [False, True]


def face(jump: float, frames: int = 14, at: int = 7) -> np.ndarray:
    rng = np.random.default_rng(0)
    points = np.tile(rng.uniform(0, 100, (1, 478, 3)), (frames, 1, 1)) + rng.normal(0, 0.2, (frames, 478, 3))
    points[at:, :, 0] += jump
    return points.astype(np.float32)


def test_a_jump_of_the_face_makes_a_small_change_count() -> None:
    changes = np.full(14, 1.5)
    changes[7] = 5.0
    assert np.flatnonzero(cuts.face_cuts(changes, face(9))).tolist() == [7]
    assert not cuts.face_cuts(changes, face(2)).any()
    assert not cuts.face_cuts(np.full(14, 5.0), face(9)).any()
    lost = face(9)
    lost[6] = np.nan
    assert not cuts.face_cuts(changes, lost).any()


def test_gaps_are_not_bridged_across_a_cut() -> None:
    points, cut = face(300), np.zeros(14, bool)
    points[6:9] = np.nan
    cut[7] = True
    filled, found = fill_gaps(points, cut)
    assert found.tolist() == [t not in (6, 7, 8) for t in range(14)]
    assert np.allclose(filled[6], points[5]) and np.allclose(filled[7], points[9]) and np.allclose(filled[8], points[9])
    assert pose.segments(filled, cut) == [slice(0, 7), slice(7, 14)]


def test_a_shot_without_a_face_holds_its_neighbours() -> None:
    points, cut = face(0), np.zeros(14, bool)
    points[5:9] = np.nan
    cut[[5, 9]] = True
    filled, _ = fill_gaps(points, cut)
    assert np.isfinite(filled).all()


def test_cuts_survive_a_file(tmp_path: Path) -> None:
    found = np.array([False, True, False])
    cuts.save(found, tmp_path / "cuts.npz")
    assert (cuts.load(tmp_path / "cuts.npz") == found).all()
    np.savez(tmp_path / "other.npz", cuts=found)
    with pytest.raises(ArtefactError, match=r"other\.npz"):
        cuts.load(tmp_path / "other.npz")
