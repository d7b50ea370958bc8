"""The camera's shutter: told from faces that move and faces at rest, and given to the film's frames that move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from ml_backend.metrics.image import Quality
from ml_backend.reconstruct import recall as recall_file
from ml_backend.reconstruct import recall_frames
from ml_backend.reconstruct.observed import Seen
from ml_backend.reconstruct.recall import POSE_NAMES, learn
from ml_backend.reconstruct.recall_frames import Drawn, FaceMap, face_map
from ml_backend.refine import recalling
from ml_backend.refine.recalling import Acted, give, remember
from ml_backend.refine.shutter import CUT, Watch, exposed, motion
from tests.ml.reconstruct_toys import head

SIZE, REST, COUNT = 96, 10, 34
CROP = 128.0
PIXELS = SIZE / CROP * 256.0 / 0.485
"""That a metre takes up where mouth and eyes are."""
MOST = 5.0
"""Pixels a frame."""


@pytest.fixture(scope="module")
def face() -> FaceMap:
    person = SimpleNamespace(neutral_shape=head().mean_shape, focal=256.0, size=np.array([128, 128]),
                             crop=np.array([0, 0, CROP]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall_frames, "SIDES", (160,))
        found = face_map(head(), cast(Any, person), SIZE)
    assert found is not None
    return found


def posed(time: float, speed: float = MOST) -> np.ndarray:
    """(6,) of a head that rests, and then goes to and fro with at most `speed` pixels a frame."""
    turn, phase = 2 * np.pi / 12, 2 * np.pi / 12 * max(time - REST, 0)
    way = speed / turn / PIXELS * np.array([1 - np.cos(phase), 0.3 * np.sin(phase)])
    return np.array([0, 0, 0, *(way - [speed / turn / PIXELS, 0]), 0.5])


def poses(speed: float = MOST) -> np.ndarray:
    return np.stack([posed(index, speed) for index in range(COUNT)])


@cache
def blotches() -> np.ndarray:
    """(3 S, 3 S, 3) in [0, 1]."""
    noise = np.random.default_rng(0).normal(0, 1, (3 * SIZE, 3 * SIZE, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return (0.5 + 0.12 * smooth / smooth.std()).astype(np.float32)


def drawn(pose: np.ndarray) -> np.ndarray:
    """Blotches that go with the head."""
    way = PIXELS * pose[3:5] - SIZE
    return cv2.warpAffine(blotches(), np.array([[1, 0, way[0]], [0, 1, way[1]]]), (SIZE, SIZE), flags=cv2.INTER_CUBIC)


def whole(picture: np.ndarray) -> np.ndarray:
    return np.clip(255 * picture + 0.5, 0, 255).astype(np.uint8)


def frames(shutter: float, speed: float = MOST, soft: float = 0.0) -> list[Drawn]:
    """As drawn, and as a camera sees them whose lens is `soft`: the mean of what is there while it is open."""
    shown = np.pad(np.ones((SIZE - 24, SIZE - 24), np.float32), 12)
    out = []
    for index in range(COUNT):
        times = shutter * (np.arange(5) - 2) / 5 if shutter and index > REST else [0.0]
        real = np.mean([drawn(posed(index + time, speed)) for time in times], 0)
        real = cv2.GaussianBlur(real, (0, 0), soft) if soft else real
        out.append(Drawn(whole(drawn(posed(index, speed))), whole(real), shown))
    return out


def told(face: FaceMap, clip: list[Drawn], speed: float = MOST) -> float:
    watch = Watch.of(face, poses(speed))
    for index, frame in enumerate(clip):
        watch.take(index, frame)
    return watch.shutter()


@pytest.mark.parametrize("shutter", [0.2, 0.3, 0.4, 0.5])
def test_the_shutter_is_told(face: FaceMap, shutter: float) -> None:
    assert told(face, frames(shutter)) == pytest.approx(shutter, abs=0.1001)
    assert 0 < told(face, frames(shutter, soft=0.6)) <= shutter, "a soft lens hides some of it"


def test_none_is_told_where_there_is_none(face: FaceMap) -> None:
    assert told(face, frames(0.0)) == 0
    assert told(face, frames(0.0, soft=0.8)) == 0, "a soft lens"
    assert told(face, frames(0.5, speed=0.8), speed=0.8) == 0, "a face at rest"
    blurred = frames(0.5)
    assert told(face, [replace(frame, shown=0 * frame.shown) for frame in blurred]) == 0, "a hand before the face"
    assert told(face, blurred[:REST + 6]) == 0, "too few"


def test_the_way_of_a_face_is_known_and_cuts_are_none(face: FaceMap) -> None:
    pose = np.tile([0, 0, 0, 0, 0, 0.5], (6, 1))
    pose[:, 3] = np.arange(6) * 3 / PIXELS
    for index in range(6):
        np.testing.assert_allclose(motion(face, pose, index), [3, 0], rtol=0.05)
    pose[3:, 4] += 2 * CUT * SIZE / PIXELS
    for index in (2, 3):
        np.testing.assert_allclose(motion(face, pose, index), [3, 0], rtol=0.05, atol=0.1)
    assert not motion(face, pose[:1], 0).any(), "a picture"


def test_what_moves_is_unsharp_along_its_way_where_it_is_drawn(face: FaceMap) -> None:
    clip = frames(0.5)
    fast = int(np.linalg.norm(Watch.of(face, poses()).ways, axis=1).argmax())
    one, ways = clip[fast], motion(face, poses(), fast)
    found = exposed(one.composite, one.shown, 0.5 * ways)
    inner = one.shown > 0
    gap = [np.abs(picture.astype(float) - one.real)[inner].mean() for picture in (found, one.composite)]
    assert gap[0] < 0.3 * gap[1] and gap[1] > 1
    np.testing.assert_array_equal(found[~inner], one.composite[~inner])
    assert exposed(one.composite, one.shown, np.array([0.1, 0.1])) is one.composite
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 255
    line = exposed(point, np.ones((21, 21), np.float32), np.array([6.0, 0.0]))[10, :, 0].astype(float)
    centred = np.arange(21) - (line @ np.arange(21)) / line.sum()
    assert abs((line @ centred**2) / line.sum() - 6**2 / 12) < 0.3 and abs(centred[10]) < 0.05


def test_films_are_given_the_shutter_of_the_clip(face: FaceMap, tmp_path: Path) -> None:
    acted = Acted(list(map(str, head().names)), np.zeros((COUNT, len(head().names)), np.float32), poses())
    names = np.array(["jawOpen", *POSE_NAMES])
    seen = Seen(np.zeros((COUNT, len(face.texels), 3), np.float16), np.ones((COUNT, len(face.texels)), np.float16))
    recall = learn(names, acted.described(names), seen, face.side)
    assert recall is not None
    recall_file.save(replace(recall, shutter=np.array(0.4, np.float32)), tmp_path / "m.npz")
    again, frame = recall_file.load(tmp_path / "m.npz"), frames(0.0)[REST + 3]
    amounts = again.amounts(acted.described(names))[REST + 3]
    still = give(face, recall, amounts, frame, acted, REST + 3)
    np.testing.assert_array_equal(still, frame.composite)
    moved = give(face, again, amounts, frame, acted, REST + 3)
    np.testing.assert_array_equal(moved, exposed(still, frame.shown, 0.4 * motion(face, acted.pose, REST + 3)))
    assert (moved != still).any()


def closeness(pictures: Sequence[np.ndarray], frames: Sequence[Drawn], *_: Any) -> Quality:
    error = float(np.mean([np.abs(picture.astype(float) - frame.real).mean() for picture, frame
                           in zip(pictures, frames, strict=True)]))
    return Quality(40.0 - error, 1.0, error, error, 1.0, 1.0)


def test_it_is_remembered_with_what_frames_lacked(face: FaceMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalling, "_quality", closeness)
    clip = [replace(frame, real=np.clip(frame.real + 30.0, 0, 255).astype(np.uint8)) for frame in frames(0.4)]
    acted = Acted(list(map(str, head().names)), np.zeros((COUNT, len(head().names)), np.float32), poses())
    bare = replace(face, strips=())
    found = remember(bare, acted, clip.__getitem__, clip.__getitem__, np.arange(30, COUNT), None)
    assert found.recall is not None and found.shutter == pytest.approx(0.4, abs=0.1001)
    assert float(found.recall.shutter) == pytest.approx(found.shutter) and found.as_dict()["shutter"] == found.shutter
