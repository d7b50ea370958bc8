"""Strips of mouth and eyes: they go with lips and lids, what is hidden is not remembered, and crispness is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ml_backend.errors import ArtefactError
from ml_backend.metrics.image import Quality
from ml_backend.reconstruct import recall as recall_file
from ml_backend.reconstruct import recall_frames
from ml_backend.reconstruct.recall import POSE_NAMES, Recall
from ml_backend.reconstruct.recall_frames import Drawn, FaceMap, face_map
from ml_backend.reconstruct.recall_strips import Crisp, given
from ml_backend.reconstruct.strips import strips
from ml_backend.refine.recalling_strips import LEVELS, PLAIN, Chosen, Noted, choose
from tests.ml.reconstruct_toys import head

SIZE, COUNT = 96, 30
NAMES = np.array([*head().names, *POSE_NAMES])
ONES = np.ones((SIZE, SIZE), np.float32)
EDGE = 4
"""Pixels of a picture's border that belong to nothing."""


@pytest.fixture(scope="module")
def face() -> FaceMap:
    person = SimpleNamespace(neutral_shape=head().mean_shape, focal=256.0, size=np.array([128, 128]),
                             crop=np.array([32.0, 36.0, 64.0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall_frames, "SIDES", (160,))
        found = face_map(head(), cast(Any, person), SIZE)
    assert found is not None
    return found


def posed(opening: float, yaw: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Expression and pose."""
    expression = np.zeros(len(head().names), np.float32)
    expression[head().names.index("jawOpen")] = opening
    return expression, np.array([0, yaw, 0, 0, 0, 0.5])


def openings() -> np.ndarray:
    return 0.35 + 0.3 * np.sin(np.arange(COUNT) / 3)


def values(amounts: np.ndarray) -> np.ndarray:
    """(T, P) features."""
    return np.stack([np.r_[posed(amount)[0], 0, 0, 0] for amount in amounts]).astype(np.float32)


def grey(level: float) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), level, np.uint8)


def noted(face: FaceMap, hidden: set[int] = frozenset(), outside: int = 100) -> Noted:  # type: ignore[assignment]
    """Frames whose real faces are the brighter the wider they open, drawn all alike; a hand before the `hidden`."""
    out = Noted.empty(face, NAMES, values(openings()))
    for place, amount in enumerate(openings()):
        shown = ONES * (place not in hidden)
        real = grey(outside) if place in hidden else grey(100 + 100 * amount)
        out.take(place, Drawn(grey(120), real, shown), *posed(amount))
    return out


def test_a_strip_goes_with_the_lips(face: FaceMap) -> None:
    mouth, height = face.strips[0], []
    for opening in (0.0, 0.7):
        view = face.over(grey(0), *posed(opening))
        rows, columns = mouth.shape
        lips = mouth.over(view.pixel)
        middle = lips[:, lips.shape[1] // 2, 1]
        height.append(middle[-1] - middle[0])
        # What is painted is read at the same place again.
        picture = np.linspace(0.2, 0.8, rows)[:, None, None].repeat(columns, 1).repeat(3, 2).astype(np.float32)
        box, painted = mouth.paint(picture, view, SIZE)
        whole = np.zeros((SIZE, SIZE, 3), np.float32)
        whole[box] = painted
        again = 255 * mouth.read(whole, view)
        sure = (mouth.area(view) > 0.1) & (mouth.fade() > 0.9)
        assert sure.any() and np.abs(again[sure] - picture[sure]).mean() < 0.05
    assert height[1] > 1.3 * height[0]


def test_the_nose_hides_what_is_turned_away(face: FaceMap) -> None:
    right, left = (strip.shown(face.over(grey(0), *posed(0.0, yaw=1.2))).mean() for strip in face.strips[1:])
    assert 4 * min(right, left) < max(right, left)
    assert all(strip.shown(face.over(grey(0), *posed(0.0))).mean() > 0.5 for strip in face.strips)


def test_a_model_that_does_not_name_its_lips_has_no_strips() -> None:
    some = head().landmark_index != 13
    without = replace(head(), landmark_index=head().landmark_index[some], landmark_vertex=head().landmark_vertex[some])
    assert strips(without, SIZE) == () and len(strips(head(), SIZE)) == 3
    wide = strips(head(), 512)[0].shape
    assert wide == tuple(1.5 * side for side in strips(head(), 256)[0].shape)


@pytest.mark.parametrize("crisp", LEVELS)
def test_the_real_picture_is_recalled_between_frames(face: FaceMap, crisp: Crisp) -> None:
    memory = noted(face).learned(crisp, crisp, crisp)[0]
    view, opening = face.over(grey(0), *posed(0.45)), 0.45
    out = given(face.strips[0], memory, values(np.array([opening]))[0], view, (grey(120), grey(120), ONES))
    changed = np.abs(out.astype(int) - 120).max(2) > 0
    assert 0 < changed.mean() < 0.5
    assert out[changed].max() == pytest.approx(145, abs=4), "the brightness of a mouth so far open"
    hand = given(face.strips[0], memory, values(np.array([opening]))[0], view, (grey(120), grey(120), 0 * ONES))
    assert (hand == 120).all()
    far, much = memory.at(values(np.array([opening]))[0] + 60)
    assert abs(much) < 1e-3 and np.abs(far).max() < 1e-2


def test_a_hand_is_not_remembered(face: FaceMap) -> None:
    hidden = noted(face, {3, 11, 20}, outside=0).learned(PLAIN, PLAIN, PLAIN)[0]
    rest = np.setdiff1d(np.arange(COUNT), [3, 11, 20])
    clear = noted(face)
    without = [replace(one, **{name: getattr(one, name)[rest] for name in ("real", "drawn", "seen")})
               for one in clear.notes]
    plain = replace(clear, notes=tuple(without), values=clear.values[rest]).learned(PLAIN, PLAIN, PLAIN)[0]
    assert len(hidden.known) == COUNT - 3
    np.testing.assert_allclose(hidden.at(clear.values[3])[0], plain.at(clear.values[3])[0], atol=1e-3)
    assert noted(face, set(range(8))).learned(PLAIN, PLAIN, PLAIN) == (), "too few frames show the mouth"


@pytest.mark.parametrize("helps", [True, False])
def test_strips_are_used_only_where_they_help_the_end(face: FaceMap, helps: bool) -> None:
    clip, amounts = noted(face), np.linspace(0.1, 0.6, 8)
    end, frames = Noted.empty(face, NAMES, values(amounts)), []
    for place, amount in enumerate(amounts):
        real = grey(100 + 100 * amount) if helps else grey(120)
        frames.append(Drawn(grey(120), real, ONES))
        end.take(place, frames[-1], *posed(amount))

    def measure(pictures: Any) -> Quality:
        error = float(np.mean([np.abs(one.astype(float) - frame.real).mean() for one, frame in
                               zip(pictures, frames, strict=True)]))
        return Quality(30.0 - error, 1.0, error, error, 1.0, float("nan"))

    made = [frame.composite for frame in frames]
    chosen = choose(clip, end, [posed(amount) for amount in amounts], made, frames, measure)
    learned = chosen.learned(clip)
    assert (chosen.crisp is not None) == helps and len(learned) == 3 * helps and bool(chosen.facts()) == helps
    if helps:
        assert min(chosen.shares) > 0.5 and measure(chosen.pictures).l1 < measure(made).l1
    else:
        assert chosen.pictures is made


def test_strips_are_kept_in_the_file(face: FaceMap, tmp_path: Path) -> None:
    clip = noted(face)
    kept = Chosen(PLAIN, (1.0, 0.5, 0.0), []).learned(clip)
    assert [float(one.cover.max()) for one in kept] == [1.0, 0.5, 0.0]
    count = len(face.texels)
    recall = Recall(NAMES, clip.values, np.ones((COUNT, 2), np.float32), np.zeros((2, count, 3), np.float16),
                    np.ones(count, np.float32), np.array(face.side, np.int32), strips=kept)
    path = tmp_path / "m.npz"
    recall_file.save(recall, path)
    again = recall_file.load(path)
    assert len(again.strips) == 3 and face.fits(again) and not face.fits(replace(again, side=np.array(256, np.int32)))
    np.testing.assert_array_equal(again.strips[0].at(clip.values[4])[0], kept[0].at(clip.values[4])[0])
    recall_file.save(replace(recall, strips=(replace(kept[0], vectors=kept[0].vectors[1:]),)), path)
    with pytest.raises(ArtefactError, match="no memory"):
        recall_file.load(path)
