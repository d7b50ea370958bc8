"""The identity encoder's training: rates, alignment, made-up people, learning, resuming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ml_backend.config import head_model
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.face_model.model import load
from ml_backend.recognise.augment import plain, vary
from ml_backend.recognise.blends import draw_blends
from ml_backend.recognise.faces import KEPT, TEST, TRAIN, Faces, five_points_goal, listed
from ml_backend.recognise.heads import HeadPainter, draw_people
from ml_backend.recognise.train import ArcFace, Settings, Supply, _Run
from ml_backend.recognise.verify import pairs, rates, verify
from ml_backend.refine.encoder import SIDE, TEMPLATE, FaceEncoder, FramedEncoder, align, load_encoder, similarity


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blob(seed: int) -> np.ndarray:
    """A picture that stands for a person."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (5, 5, 3), np.uint8)
    return cv2.resize(coarse, (KEPT, KEPT), interpolation=cv2.INTER_CUBIC)


def toy_faces(people: int, views: int, split: str = TEST) -> Faces:
    random = np.random.default_rng(0)
    pictures = np.stack([np.clip(blob(p) * random.uniform(0.8, 1.2), 0, 255).astype(np.uint8)
                         for p in range(people) for _ in range(views)])
    names = np.repeat([f"p{p}" for p in range(people)], views)
    points = np.tile(np.random.default_rng(1).uniform(30, 110, (478, 2)).astype(np.float32), (len(names), 1, 1))
    return Faces(pictures, points, names, np.char.add(names, ".mp4"), np.full(len(names), split))


def test_rates_of_known_scores() -> None:
    perfect = rates(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.3]))
    assert (perfect.eer, perfect.accepted, perfect.auc) == (0, 1, 1)
    half = rates(np.array([0.9, 0.3]), np.array([0.5, 0.1]))
    assert half.eer == pytest.approx(0.5)
    assert half.accepted == pytest.approx(0.5)
    assert half.auc == pytest.approx(0.75)
    blind = rates(np.zeros(50), np.zeros(50))
    assert blind.eer == pytest.approx(0.5) and blind.accepted == 0 and blind.auc == pytest.approx(0.5)


def test_pairs_within_and_across_files() -> None:
    person = np.array(["a"] * 6 + ["b"])
    file = np.array(["1"] * 5 + ["2", "3"])
    same, different = pairs(person, file, across=False)
    assert same.tolist() == [[0, 4]], "neighbours in one file are no test"
    assert len(different) == 6
    assert pairs(person, file, across=True)[0].tolist() == [[k, 5] for k in range(5)]
    assert verify(np.eye(2), np.array(["a", "b"]), np.array(["1", "2"]), across=False) is None


def test_alignment_brings_the_points_home() -> None:
    random = np.random.default_rng(0)
    turn, scale, shift = 0.4, 2.7, np.array([40.0, 90.0])
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = TEMPLATE @ matrix.T + shift
    found = similarity(points, TEMPLATE)
    np.testing.assert_allclose(points @ found[:, :2].T + found[:, 2], TEMPLATE, atol=1e-4)
    frame = np.zeros((480, 480, 3), np.uint8)
    for point in points:
        cv2.circle(frame, (round(float(point[0])), round(float(point[1]))), 8, (255, 255, 255), -1)
    crop = align(frame, points.astype(np.float32))
    assert crop.shape == (SIDE, SIDE, 3)
    for x, y in TEMPLATE.round().astype(int):
        assert crop[y, x].min() > 200
    assert crop.mean() < 40
    noisy = points + random.normal(0, 3, points.shape)
    assert np.abs(noisy @ similarity(noisy, TEMPLATE)[:, :2].T + similarity(noisy, TEMPLATE)[:, 2] - TEMPLATE).max() < 5


def test_whole_crops_are_framed_as_clips_usually_are() -> None:
    class Seen(FaceEncoder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x
            return x.flatten(1)

    from ml_backend.refine.encoder import USUAL

    network = Seen((4, 4))
    frame = np.zeros((256, 256, 3), np.uint8)
    for x, y in USUAL * 256:
        cv2.circle(frame, (round(float(x)), round(float(y))), 6, (255, 255, 255), -1)
    FramedEncoder(network)(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255)
    assert network.seen.shape == (1, 3, SIDE, SIDE)
    for x, y in TEMPLATE.round().astype(int):
        assert float(network.seen[0, 0, y, x]) > 0.7
    assert float(network.seen.mean()) < 0.2


def test_synthetic_people_are_aligned_and_differ() -> None:
    painter = HeadPainter(load(head_model()))
    people = [painter.person(seed) for seed in (3, 4)]
    np.testing.assert_array_equal(people[0].shape, painter.person(3).shape)
    assert np.abs(people[0].shape - people[1].shape).max() > 1e-3
    first, again = (painter.draw(people[0], np.random.default_rng(1)) for _ in range(2))
    other = painter.draw(people[0], np.random.default_rng(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5
    # Whatever the pose: the eyes are darker than the cheeks below them.
    goal = five_points_goal()
    for seed in range(4):
        grey = cv2.GaussianBlur(cv2.cvtColor(painter.draw(people[0], np.random.default_rng(seed)),
                                             cv2.COLOR_RGB2GRAY), (0, 0), 2)
        for x, y in goal[:2].round().astype(int):
            assert int(grey[y - 4:y + 5, x - 4:x + 5].min()) < int(grey[y + 16, x])
    assert draw_people(load(head_model()), 1, 2).shape == (1, 2, KEPT, KEPT, 3)


def test_blends_are_between_two_people() -> None:
    faces = toy_faces(3, 2)
    made = draw_blends(faces, 9, 2)
    assert made.shape == (3, 2, KEPT, KEPT, 3), "there are only three pairs"
    inner = np.s_[20:-20, 20:-20]
    errors = [np.abs(made[k, 0][inner].astype(float) - (0.5 * faces.pictures[a][inner] + 0.5 * faces.pictures[b][inner])
                     ).mean() for k in range(3) for a, b in ((0, 2), (0, 4), (2, 4))]
    assert sum(error < 25 for error in errors) >= 3


def test_variations_keep_size_and_change_the_picture() -> None:
    picture = blob(0)
    random = np.random.default_rng(0)
    made = [vary(picture, random) for _ in range(12)]
    assert all(one.shape == (SIDE, SIDE, 3) and one.dtype == np.uint8 for one in made)
    assert np.std([one.mean() for one in made]) > 5
    np.testing.assert_array_equal(plain(picture), picture[16:128, 16:128])


def test_arcface_asks_for_a_margin() -> None:
    head = ArcFace(2, 16.0)
    with torch.no_grad():
        head.directions.copy_(torch.eye(512)[:2])
    on_spot, between = torch.eye(512)[:1], torch.nn.functional.normalize(torch.eye(512)[:2].sum(0)[None], dim=1)
    person = torch.tensor([0])
    with torch.no_grad():
        on_spot_loss, between_loss = ([float(head(x, person, margin)) for margin in (0.0, 0.4)]
                                      for x in (on_spot, between))
    assert on_spot_loss[1] > on_spot_loss[0]
    assert between_loss[1] > between_loss[0] > on_spot_loss[0]
    assert between_loss[0] == pytest.approx(np.log(2), abs=1e-4)


def run(out: Path, steps: int) -> _Run:
    train = toy_faces(4, 6, TRAIN)
    supply = Supply({"real": [train.pictures[train.person == f"p{p}"] for p in range(4)], "blends": [], "heads": []},
                    (0.4, 0.3, 0.3))
    settings = replace(Settings(), steps=steps, batch=6, rate=1e-2, margin=0.0, look_every=7)
    out.mkdir(exist_ok=True)
    return _Run(supply, toy_faces(4, 5), settings, 0, out, widths=(4, 8))


def test_learning_and_resuming(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", 14)
    whole.go(lambda done, total: None)
    losses = [row["loss"] for row in whole.rows]
    assert losses[-1] < losses[0]

    def stop(done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    part = run(tmp_path / "b", 14)
    with pytest.raises(KeyboardInterrupt):
        part.go(stop)
    rest = run(tmp_path / "b", 14)
    rest.resume()
    assert rest.step == 9
    rest.go(lambda done, total: None)
    a, b = (load_encoder(tmp_path / name / "identity.safetensors").state_dict() for name in "ab")
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-2, atol=1e-2)
    assert (tmp_path / "a" / "curve.csv").read_text().startswith("step,")


def test_tables_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no folder"):
        listed(tmp_path / "absent")
    with pytest.raises(UserInputError, match="no clip or photo"):
        listed(tmp_path)
    for name in "abcdef":
        (tmp_path / f"{name}.mp4").touch()
    assert [line.split for line in listed(tmp_path)] == [TRAIN] * 4 + [TEST] + [TRAIN]
    table = tmp_path / "people.csv"
    table.write_text("file,person,split\na.mp4,ann,train\nb.mp4,ben,test\n")
    assert [(line.person, line.split) for line in listed(tmp_path)] == [("ann", TRAIN), ("ben", TEST)]
    table.write_text("file,person,split\na.mp4,ann,train\nb.mp4,ann,test\n")
    with pytest.raises(UserInputError, match="ann in both splits"):
        listed(tmp_path)
    table.write_text("file,person,split\nz.mp4,ann,train\n")
    with pytest.raises(UserInputError, match="is missing"):
        listed(tmp_path)
    table.write_text("name\nz\n")
    with pytest.raises(UserInputError, match="columns file, person"):
        listed(tmp_path)


def test_broken_encoder_weights(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="does not exist"):
        load_encoder(tmp_path / "absent.safetensors")
    done = run(tmp_path / "r", 1)
    done.save()
    good = (tmp_path / "r" / "identity.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good[: len(good) // 2])
    with pytest.raises(ArtefactError, match="damaged"):
        load_encoder(cut)
    with pytest.raises(ArtefactError, match=r"needed is parley\.identity"):
        load_encoder(tmp_path / "r" / "last.safetensors")
