"""Face model files that are not what they should be, through `parley face add`: one sentence, nothing left behind."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from ml_backend.artefacts.schema import save_npz
from ml_backend.cli import main
from ml_backend.config import head_model
from ml_backend.errors import ArtefactError
from ml_backend.face_model import store
from ml_backend.face_model.loaders import ict, opcodes
from ml_backend.face_model.model import SCHEMA, VERSION, load, validate
from tests.ml import loader_toys as toys


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, empty."""
    folder = tmp_path / "data"
    monkeypatch.setenv("PARLEY_DATA", str(folder))
    return folder


@pytest.fixture
def said(data: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Adds a model that is refused; gives the one sentence, which names the file; nothing is left behind."""

    def add(path: Path, *words: str, options: tuple[str, ...] = ()) -> str:
        before = sorted(data.rglob("*"))
        assert main(["--quiet", "face", "add", "mine", str(path), *options]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("parley: ") and lines[0].endswith("."), lines
        assert str(path) in lines[0] and all(word in lines[0] for word in words), lines[0]
        assert sorted(data.rglob("*")) == before
        return lines[0]

    return add


@pytest.mark.parametrize("suffix", [".h5", ".pkl", ".mat", ".npz"])
def test_empty_text_folder_pipe(suffix: str, tmp_path: Path, said) -> None:
    path = tmp_path / f"model{suffix}"
    for content in (b"", b"hello, this is a text file\n" * 9, b"\x89PNG\r\n\x1a\n" + bytes(range(256))):
        path.write_bytes(content)
        said(path, "get")
    path.unlink()
    os.mkfifo(path)
    said(path, "neither a file nor a folder")
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    said(path, "does not exist")
    path.unlink()
    path.mkdir()
    said(path, options=("--kind", {".h5": "bfm-h5", ".pkl": "flame", ".mat": "bfm2009", ".npz": "ict"}[suffix]))


def test_not_allowed(tmp_path: Path, said, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission; told by hand, since tests may run as root."""
    path = toys.write_h5(tmp_path / "model.h5", toys.toy())
    real = Path.open

    def closed(self: Path, *args, **keywords):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **keywords)

    monkeypatch.setattr(Path, "open", closed)
    said(path, "Permission denied", "check its permissions")


def _mat(folder: Path, **changes) -> Path:
    path = toys.write_front(folder, toys.toy())
    tables = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    savemat(path, {key: value for key, value in {**tables, **changes}.items() if value is not None})
    return path


@pytest.mark.parametrize(("changes", "words"), [
    ({"meanshape": "hello"}, "meanshape holds no numbers"), ({"meanshape": np.ones((1, 13196))}, "no three for each"),
    ({"meanshape": np.array([[1, "a"]], object)}, "meanshape holds no numbers"),
    ({"meanshape": np.zeros((1, 13197))}, "0 m wide"), ({"meanshape": np.zeros((1, 13197)) * 1j}, "holds no numbers"),
    ({"tri": {"a": 1}}, "tri holds something else"), ({"tri": np.full((9, 3), 1.5)}, "tri holds something else"),
    ({"tri": np.full((9, 3), np.nan)}, "tri holds something else"), ({"tri": np.zeros((0, 3), int)}, "name vertices"),
    ({"exBase": np.zeros((13197, 0))}, "exBase is 13197 × 0"), ({"idBase": np.full((13197, 2), np.inf)}, "no numbers"),
    ({"keypoints": np.arange(60)}, "keypoints is 60"), ({"meantex": None}, "lacks meantex"),
])  # fmt: skip
def test_mat(changes: dict, words: str, tmp_path: Path, said) -> None:
    said(_mat(tmp_path, **changes), words)


def test_mat_of_matlab_7_3(tmp_path: Path, said) -> None:
    path = tmp_path / "01_MorphableModel.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["shapeMU"] = np.zeros((3, 1))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    said(path, "MATLAB 7.3", "-v7")


def test_2009_with_text_for_deviations(tmp_path: Path, said) -> None:
    path = toys.write_2009(tmp_path, toys.toy())
    tables = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    savemat(path, {**tables, "shapeEV": "abc"})
    said(path, "shapeEV")


def _replace(name: str, value) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def _hole(file: h5py.File) -> None:
    del file["shape/model/mean"]
    file.create_dataset("shape/model/mean", shape=(10**12,), dtype="f4", chunks=(1000,))


@pytest.mark.parametrize(("change", "words"), [
    (lambda file: file.__delitem__("expression"), "lacks expression/model/mean"),
    (_replace("shape/model/mean", "hello"), "holds no numbers"), (_hole, "claims 1000000000000 values"),
    (_replace("shape/model/mean", np.float32(3)), "multiple of 3"),
    (_replace("shape/model/mean", h5py.Empty("f4")), "holds no numbers"),
    (_replace("shape/model/mean", h5py.ExternalLink("/etc/passwd", "x")), "lacks shape/model/mean"),
    (_replace("shape/representer/cells", np.full((3, 4), np.nan)), "cells holds something else"),
    (_replace("color/model/pcaVariance", np.zeros(1)), "pcaVariance is 1"),
])  # fmt: skip
def test_h5(change: Callable[[h5py.File], None], words: str, tmp_path: Path, said) -> None:
    path = toys.write_h5(tmp_path / "model.h5", toys.toy())
    with h5py.File(path, "a") as file:
        change(file)
    said(path, words)


class Calls:
    """Pickled, it asks for a call when it is read."""

    def __init__(self, function: Callable, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def _sparse(**changes) -> csc_matrix:
    matrix = csc_matrix(np.eye(3))
    for name, value in changes.items():
        setattr(matrix, name, value)
    return matrix


@pytest.mark.parametrize(("value", "words"), [
    (lambda victim: Calls(os.system, f"touch {victim}"), "wants to run posix.system"),
    (lambda victim: Calls(eval, f"open({victim!r}, 'w')"), "eval"),
    (lambda victim: Calls(getattr, Calls(__import__, "os"), "system"), "wants to run"),
    (lambda victim: Calls(np.fromfile, victim), "wants to run"),
    (lambda _: np.array([{}, None], object), "an array of objects"), (lambda _: "abc", "v_template holds no numbers"),
    (lambda _: {"x": 1}, "v_template holds no numbers"), (lambda _: [[1, 2, 3], [4, 5]], "can't be read"),
    (lambda _: np.zeros((0, 3)), "v_template is 0 × 3"), (lambda _: _sparse(_shape=(10**7, 10**7)), "10000000"),
    (lambda _: _sparse(indices=np.array([0, 1, 999], np.int32)), "can't be read"),
])  # fmt: skip
def test_flame(value: Callable, words: str, tmp_path: Path, said) -> None:
    path, victim = tmp_path / "generic_model.pkl", tmp_path / "victim"
    path.write_bytes(pickle.dumps({**toys.flame_tables(toys.toy(True)), "v_template": value(str(victim))}, protocol=2))
    said(path, words)
    assert not victim.exists()


def _call(name: bytes, argument: bytes) -> bytes:
    return b"\x80\x02c__builtin__\n" + name + b"\n(" + argument + b"tR."


@pytest.mark.parametrize("stream", [
    _call(b"bytes", b"\x8a\x06" + (10**12).to_bytes(6, "little")),
    _call(b"bytearray", b"\x8a\x06" + (10**12).to_bytes(6, "little")),
    b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.", b"\x80\x02\x8b" + struct.pack("<I", 2**30) + b"abc.",
    b"L" + b"9" * 10**6 + b"L\n.", b"(" * 10**5 + b".", b"\x80\x04" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    b"\x80\x02" + b"(K\x00K\x00lq\x00" + b"".join(b"(" + b"h%c" % i * 9 + b"lq%c" % (i + 1) for i in range(60)) + b".",
    b"\x80\x02}q\x00X\x01\x00\x00\x00xh\x00s",
])  # fmt: skip
def test_flame_that_asks_for_the_whole_memory(stream: bytes, tmp_path: Path, said) -> None:
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(stream)
    said(path)


def test_copies_of_copies_are_refused() -> None:
    many = b"X" + struct.pack("<I", 10**5) + b"x" * 10**5 + b"q\x000"
    copy = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"
    assert opcodes.read(many + copy + b".") == b"x" * 10**5
    with pytest.raises(opcodes.Damaged, match="far more than it holds"):
        opcodes.read(many + (copy + b"0") * 1000 + b"N.")


def test_npz(tmp_path: Path, said, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ict.npz"
    np.savez(path, V=np.zeros((4, 3)))
    said(path, "lacks VT")
    path.write_bytes(path.read_bytes()[:-30])
    said(path, "cut off")
    keys = dict.fromkeys(("VT", "ID", "EX", "exn", "F", "FT", "material", "material_names"), np.zeros(1))
    np.savez(path, V=np.array([{}], object), **keys)
    said(path, "can't be read")
    monkeypatch.setattr(ict, "MOST_VALUES", 10**5)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("V.npy", bytes(10**6))
    said(path, "far more than ICT-FaceKit")


def test_a_refused_file_does_not_replace_a_model(tmp_path: Path, data: Path, capsys, monkeypatch) -> None:
    (tmp_path / "a").mkdir()
    path = toys.write_front(tmp_path / "a", toys.toy())
    assert main(["--quiet", "face", "add", "mine", str(path)]) == 0
    before = {file: file.read_bytes() for file in (data / "face_models").iterdir()}
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["--quiet", "face", "add", "mine", str(path), "--overwrite"]) == 2
    good = toys.write_h5(tmp_path / "model.h5", toys.toy())
    monkeypatch.setattr(store, "save", _full_disk)
    assert main(["--quiet", "face", "add", "mine", str(good), "--overwrite"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in (data / "face_models").iterdir()} == before


def _full_disk(model, path: Path) -> None:
    raise OSError(28, "No space left on device", str(path))


def test_a_data_folder_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "file"))
    path = toys.write_h5(tmp_path / "model.h5", toys.toy())
    assert main(["--quiet", "face", "add", "mine", str(path)]) == 2
    assert "PARLEY_DATA" in capsys.readouterr().err


def _damaged() -> list[tuple[str, np.ndarray, str]]:
    head = load(head_model())
    faces, uvs = head.faces.copy(), head.face_uvs.copy()
    faces[0, 1], uvs[0, 1] = len(head.mean_shape), -1
    return [
        ("mean_shape", np.full_like(head.mean_shape, np.nan), "no numbers"), ("faces", faces, "names no vertex"),
        ("identity_basis", np.full_like(head.identity_basis, np.inf), "no numbers"),
        ("face_uvs", uvs, "no texture coordinate"), ("faces", head.faces.astype(float), "no whole numbers"),
        ("landmark_vertex", head.landmark_vertex + 10**6, "landmark"),
        ("landmark_index", head.landmark_index + 1, "landmark"),
        ("face_material", head.face_material + 100, "no material"), ("vertex_part", head.vertex_part - 1, "no part"),
        ("joints", head.joints[:, :2], "joints"), ("region_names", head.regions[:, 0], "no text"),
        ("mean_shape", head.mean_shape[:-1], "is not"), ("expression_names", head.expression_names[:-1], "differ"),
    ]  # fmt: skip


def test_damaged_models_in_the_data_folder(data: Path, tmp_path: Path, capsys) -> None:
    path = data / "face_models" / "mine.npz"
    path.parent.mkdir(parents=True)
    model = load(head_model())
    for name, value, words in _damaged():
        with pytest.raises(ArtefactError, match=words):
            validate(replace(model, **{name: value}), path)
    save_npz(path, SCHEMA, VERSION, {**vars(model), "faces": model.faces - 2}, compress=False)
    assert main(["--quiet", "face", "random", "--face-model", "mine", "--out", str(tmp_path / "p.npz")]) == 2
    assert f"{path}: a face names no vertex" in capsys.readouterr().err
    for content in (b"", b"text", path.read_bytes()[:9999]):
        path.write_bytes(content)
        assert main(["--quiet", "face", "random", "--face-model", "mine", "--out", str(tmp_path / "p.npz")]) == 2
        assert str(path) in capsys.readouterr().err
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    assert main(["--quiet", "face", "random", "--face-model", "mine", "--out", str(tmp_path / "p.npz")]) == 2
    assert not (tmp_path / "p.npz").exists()
