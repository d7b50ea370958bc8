"""Reading a mouth's picture: the view, the network in NumPy against torch, mirrors, files, when it isn't believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from blender_assets.head import learn_mouth
from ml_backend.errors import ArtefactError
from ml_backend.reconstruct import mouth_reader, mouth_view, photo_prior, still
from ml_backend.reconstruct.equations import View
from ml_backend.reconstruct.fit import first_view
from ml_backend.reconstruct.mouth_reader import MouthReader
from ml_backend.reconstruct.points import rig
from tests.ml.reconstruct_toys import SIZE, head, landmarks, weights

NAMES = ["jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight"]
GUESSED = ["mouthSmileLeft", "mouthSmileRight"]


def mouths(count: int, seed: int) -> learn_mouth.Mouths:
    """Grey skin with a red bar as wide as the mouth isn't puckered; nothing else tells."""
    random = np.random.default_rng(seed)
    pucker = random.uniform(0, 1, count)
    views = np.full((count, mouth_view.HEIGHT, mouth_view.WIDTH, 3), 150, np.uint8)
    for view, share in zip(views, pucker, strict=True):
        half = round(24 - 14 * share)
        view[22:34, 32 - half:32 + half] = (190, 60, 60)
    weights_ = np.zeros((count, len(NAMES)))
    weights_[:, 1] = pucker
    nothing, guess = (random.uniform(0, 0.1, (count, len(names))) for names in (NAMES, GUESSED))
    return learn_mouth.Mouths(views, nothing, np.zeros((count, 3)), guess, weights_)


@pytest.fixture(scope="module")
def reader() -> MouthReader:
    """Trained for a few seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn_mouth, "BATCH", 24)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        found = learn_mouth.learn(mouths(200, 0), mouths(50, 1), np.zeros((4, 3)), NAMES, GUESSED, steps=70)
        torch.set_num_threads(threads)
    return found


def test_it_reads_what_only_the_picture_shows(reader: MouthReader) -> None:
    other = mouths(60, 2)
    found, believe = reader.read(other.views, other.expression, other.angles, other.guess)
    assert np.corrcoef(found[:, reader.names.tolist().index("mouthPucker")], other.weights[:, 1])[0, 1] > 0.9
    assert found.min() >= 0 and found.max() <= 1 and believe.mean() > 0.8


def test_numpy_evaluates_what_torch_has_learned() -> None:
    torch.manual_seed(0)
    network = learn_mouth.Network(len(NAMES) + 4 + len(GUESSED), 3)
    some = mouths(4, 3)
    views = np.random.default_rng(0).integers(0, 255, some.views.shape, dtype=np.uint8)
    plain = torch.from_numpy(views.astype(np.float32) / 255).permute(0, 3, 1, 2)
    known = mouth_reader.told(some.expression, some.angles, some.guess)
    with torch.no_grad():
        network(plain, torch.from_numpy(known))
        wanted = network.eval()(plain, torch.from_numpy(known)).numpy()
    found = learn_mouth._folded(network, np.zeros((4, 3)), NAMES, GUESSED, NAMES[:3])
    assert found.forward(views, known) == pytest.approx(wanted, abs=1e-4)


def test_a_mirrored_mouth_is_read_mirrored(reader: MouthReader) -> None:
    some = mouths(5, 4)
    views = some.views.copy()
    views[:, 40:, :20] = 90
    found, _ = reader.read(views, some.expression, some.angles, some.guess)
    swap = mouth_reader.others(NAMES)
    other, _ = reader.read(views[:, :, ::-1], some.expression[:, swap], some.angles * [1, -1, -1],
                           some.guess[:, ::-1])
    assert other[:, mouth_reader.others(reader.names.tolist())] == pytest.approx(found, abs=1e-5)


def test_views_unlike_any_other_are_not_believed(reader: MouthReader) -> None:
    some = mouths(8, 5)
    noise = np.random.default_rng(0).integers(0, 255, some.views.shape, dtype=np.uint8)
    usual = reader.read(some.views, some.expression, some.angles, some.guess)[1]
    assert reader.read(noise, some.expression, some.angles, some.guess)[1].max() < usual.min()


def test_files_return_and_damaged_ones_are_named(reader: MouthReader, tmp_path) -> None:
    path, some = tmp_path / "mouth.safetensors", mouths(3, 6)
    mouth_reader.save(reader, path)
    again = mouth_reader.load(path)
    assert again.read(some.views, some.expression, some.angles, some.guess)[0] == pytest.approx(
        reader.read(some.views, some.expression, some.angles, some.guess)[0], abs=5e-3)
    for broken, word in ((replace(reader, dense=reader.dense[:, :-1]), "dense"),
                         (replace(reader, out=reader.out[:-1]), "names"),
                         (replace(reader, kernels=reader.kernels[::-1]), "kernel"),
                         (replace(reader, limit=np.zeros(1, np.float32)), "limit"),
                         (replace(reader, dense=reader.dense * np.nan), "finite")):
        mouth_reader.save(broken, path)
        with pytest.raises(ArtefactError, match=word):
            mouth_reader.load(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ArtefactError):
        mouth_reader.load(path)


def test_the_shipped_reader_is_of_the_shipped_head() -> None:
    from ml_backend.config import head_model
    from ml_backend.face_model.model import load

    points = rig(load(head_model()))
    found = mouth_reader.reader_of(points)
    assert found is not None and set(still.READ) <= set(found.names.tolist())
    assert mouth_reader.reader_of(replace(points, mean=points.mean + 0.001)) is None


def frontal(yaw: float) -> tuple[np.ndarray, View, np.ndarray]:
    """A picture in which columns of the head's own space have their colour, its view and where the landmarks lie."""
    points, size = rig(head()), np.array([400, 400])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]])
    view = View(np.zeros((1, len(points.index), 3)), rotation, np.array([[0, 0, 0.6]]), 500.0, size / 2)
    place = mouth_view.sheet(points) + points.mean[points.rows(mouth_view.MIDDLE)].mean(0)
    camera = place @ rotation[0].T + view.translation[0]
    seen = np.round(500 * camera[:, :2] / camera[:, 2:] + 200).astype(int)
    picture = np.zeros((400, 400, 3), np.uint8)
    for (x, y), across in zip(seen, place[:, 0], strict=True):
        picture[y - 1:y + 2, x - 1:x + 2] = 200 if across > 0.01 else 60
    return picture, view, points.mean


def test_the_view_is_frontal_however_the_head_is_turned() -> None:
    points = rig(head())
    straight, turned = (mouth_view.mouth_view(*frontal(yaw), points)[10:-10, 6:-6].astype(int) for yaw in (0.0, 0.5))
    assert straight.shape[2] == 3 and np.ptp(straight) > 100
    assert (np.abs(straight - turned) < 40).mean() > 0.9


def test_a_face_at_the_picture_s_edge_has_a_view() -> None:
    points = rig(head())
    picture, view, target = frontal(0.0)
    away = replace(view, translation=view.translation + np.array([[5.0, 0, 0]]))
    assert mouth_view.mouth_view(picture, away, target, points).shape == (mouth_view.HEIGHT, mouth_view.WIDTH, 3)


def solved(reading: still.Reading | None) -> still.Still:
    """A toy's picture solved with this reading."""
    points = rig(head())
    marks = landmarks(weights(1), np.array([[0.0, 0.1, 0, 0, 0.01, 0.7]]), np.zeros(len(points.identity)))
    view = first_view(marks[:, points.index].astype(float), points, np.asarray(SIZE))
    many, count = 3 * len(points.mean), len(points.names)
    nothing = photo_prior.PhotoPrior(points.mean, np.array(points.names), np.array([], str), np.zeros(many),
                                     np.zeros((2, many)), np.zeros((3, 12 + 2 * count)), np.zeros(3),
                                     np.zeros((3, 0)), np.zeros(3))
    return still.solve(view, points, nothing, None, None if reading is None else lambda found, guess: reading)


def test_a_reading_moves_its_channel_as_far_as_it_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = rig(head()).names.index("jawOpen")
    monkeypatch.setattr(still, "READ", {"jawOpen": 0.8})
    before = solved(None).expression[0, row]
    wanted = 0.9 if before < 0.5 else 0.1
    read = [solved(still.Reading({"jawOpen": wanted}, believe)).expression[0, row] for believe in (0.0, 0.5, 1.0)]
    assert read[0] == pytest.approx(before, abs=0.02)
    assert abs(read[2] - wanted) < abs(read[1] - wanted) < abs(before - wanted)
    monkeypatch.setattr(still, "FARTHEST", 0.1)
    limited = solved(still.Reading({"jawOpen": wanted}, 1.0)).expression[0, row]
    assert abs(limited - before) < 0.5 * abs(read[2] - before)
