"""The memory of a clip's frames: what renderings lacked is found again, and refused where it doesn't help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ml_backend.errors import ArtefactError
from ml_backend.reconstruct import recall as recall_file
from ml_backend.reconstruct import recall_frames
from ml_backend.reconstruct.likeness import LEAST_FRAMES, likeness
from ml_backend.reconstruct.observed import Seen
from ml_backend.reconstruct.recall import POSE_NAMES, described, learn
from ml_backend.reconstruct.recall_frames import Drawn, FaceMap, face_map, recalled
from ml_backend.refine.recalling import Acted, give, remember
from tests.ml.reconstruct_toys import head

NAMES = np.array(["jawOpen", *POSE_NAMES])
SIZE, COUNT = 64, 30
CROP = np.array([0.0, 0.0, 128.0])


def moving(count: int = COUNT) -> Acted:
    """A head that turns and opens its mouth, every frame unlike the next."""
    names, time = list(map(str, head().names)), np.arange(count)
    expression, pose = np.zeros((count, len(names)), np.float32), np.tile([0.0, 0, 0, 0, 0, 0.5], (count, 1))
    expression[:, names.index("jawOpen")] = 0.3 + 0.3 * np.sin(time / 3)
    pose[:, 1] = 0.1 * np.cos(time / 5)
    return Acted(names, expression, pose)


@pytest.fixture(scope="module")
def face() -> FaceMap:
    person = SimpleNamespace(neutral_shape=head().mean_shape, focal=256.0, size=np.array([128, 128]), crop=CROP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall_frames, "SIDES", (160,))
        found = face_map(head(), cast(Any, person), SIZE)
    assert found is not None
    return found


def test_what_is_like_it_is_recalled_and_nothing_far_away(tmp_path: Path) -> None:
    count, texels = 2 * COUNT, 50
    acted = moving(count)
    values = acted.described(NAMES)
    picture = np.random.default_rng(0).normal(0, 0.1, (texels, 3))
    seen = Seen((values[:, :1, None] * picture).astype(np.float16), np.ones((count, texels), np.float16))
    found = learn(NAMES, values[::2], Seen(seen.residual[::2], seen.weight[::2]), 256)
    assert found is not None and len(found.sheets) <= len(values[::2])
    said = np.stack([found.at(amounts) for amounts in found.amounts(values[1::2])])
    left = np.abs(said - seen.residual[1::2]).mean()
    assert left < 0.25 * np.abs(seen.residual[1::2].astype(float)).mean(), "frames between those that are known"
    far = values[:1] + 40
    assert np.abs(found.at(found.amounts(far)[0])).max() < 1e-3
    recall_file.save(found, tmp_path / "m.npz")
    again = recall_file.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.at(again.amounts(values[:1])[0]), found.at(found.amounts(values[:1])[0]))
    assert learn(NAMES, values[:LEAST_FRAMES - 1], seen, 256) is None


def test_a_memory_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    values = moving().described(NAMES)
    found = learn(NAMES, values, Seen(np.zeros((COUNT, 5, 3), np.float16), np.ones((COUNT, 5), np.float16)), 256)
    assert found is not None
    recall_file.save(replace(found, vectors=found.vectors[:-1]), tmp_path / "m.npz")
    with pytest.raises(ArtefactError, match="no memory"):
        recall_file.load(tmp_path / "m.npz")
    with pytest.raises(ArtefactError, match="does not exist"):
        recall_file.load(tmp_path / "none.npz")


def test_features_are_found_by_name() -> None:
    values = described(np.array(["smile", "jawOpen", "yaw"]), ["jawOpen"], np.array([[2.0]]), np.radians([[0, 30, 0]]))
    assert values.tolist() == [[0.0, 1.0, 1.0]], "unknown is 0, weights are clipped, 30° count as 1"
    assert likeness(values, values)[0, 0] == 1


def test_what_is_painted_is_read_at_the_same_place(face: FaceMap) -> None:
    acted = moving(1)
    smooth = np.linspace(-0.2, 0.2, len(face.texels))[:, None] * [1, 0.5, -1]
    painted = face.paint(smooth, acted.expression[0], acted.pose[0])
    assert painted.shape == (SIZE, SIZE, 3) and 0.1 < (np.abs(painted).max(2) > 0).mean() < 0.95
    shown = (np.abs(painted).max(2) > 0).astype(np.float32)
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    lacked, weight = face.lacking(Drawn(grey, recalled(grey, painted, shown), shown), acted.expression[0],
                                  acted.pose[0])
    sure = weight > np.median(weight[weight > 0])
    assert sure.mean() > 0.1
    assert np.corrcoef(lacked[sure].ravel().astype(float), smooth[sure].ravel())[0, 1] > 0.9
    nothing = Drawn(grey, grey, np.zeros((SIZE, SIZE), np.float32))
    assert not face.lacking(nothing, acted.expression[0], acted.pose[0])[1].any(), "a hand before the face"


def test_specks_go_inside_the_mouth_and_nowhere_else(face: FaceMap) -> None:
    acted = moving(20)
    wide = int(acted.expression[:, acted.names.index("jawOpen")].argmax())
    drawn = acted.expression[wide], acted.pose[wide]
    mouth = face.paint(np.repeat(face.texels.mouth[:, None], 3, 1), *drawn)[..., 0] > 0.5
    assert mouth.sum() > 8
    specks = np.full((SIZE, SIZE, 3), 150, np.uint8)
    specks[::3, ::3] = 0
    found = face.despeckled(specks, np.ones((SIZE, SIZE), np.float32), *drawn)
    assert (found[mouth] == 150).all() and np.array_equal(found[~mouth], specks[~mouth])
    hand = face.despeckled(specks, np.zeros((SIZE, SIZE), np.float32), *drawn)
    assert np.array_equal(hand, specks), "a hand before the mouth"


@pytest.mark.parametrize("helps", [True, False])
def test_a_memory_is_used_only_where_it_helps_the_end(face: FaceMap, helps: bool) -> None:
    """The real face reddens as the mouth opens, which the rendering doesn't show; or only before the held-out end."""
    acted, ends = moving(), np.arange(26, COUNT)
    opening = acted.expression[:, acted.names.index("jawOpen")]
    base = np.random.default_rng(0).integers(90, 160, (SIZE, SIZE, 3), np.uint8)
    shown = np.pad(np.ones((SIZE - 8, SIZE - 8), np.float32), 4)
    tint = np.tile([0.2, -0.1, -0.1], (len(face.texels), 1))
    red = [face.paint(tint, *drawn) for drawn in zip(acted.expression, acted.pose, strict=True)]

    def frame(index: int) -> Drawn:
        amount = opening[index] * (1 if helps or index < 26 else -1)
        return Drawn(base, recalled(base, red[index] * amount, shown), shown)

    done: list[int] = []
    found = remember(face, acted, frame, frame, ends, None, lambda at, total: done.append(at))
    assert (found.recall is not None) == helps and found.before is not None and done[-1] <= 2 * COUNT
    assert found.as_dict()["used"] == helps
    if found.recall is not None:
        assert found.after is not None and found.after.psnr > found.before.psnr + 3 and max(found.shares) > 0.5
        amounts = found.recall.amounts(acted.described(found.recall.names))[27]
        made = give(face, found.recall, amounts, frame(27), acted, 27)
        gap = [np.abs(picture.astype(float) - frame(27).real).mean() for picture in (made, base)]
        assert gap[0] < 0.6 * gap[1]


def test_too_few_frames_are_not_remembered(face: FaceMap) -> None:
    acted = moving(20)
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    frame = Drawn(grey, grey, np.ones((SIZE, SIZE), np.float32))
    found = remember(face, acted, lambda index: frame, lambda index: frame, np.arange(16, 20), None)
    assert found.recall is None and found.as_dict() == {"used": False, "shares": [], "strips": [], "shutter": 0.0,
                                                        "before": None, "after": None}
