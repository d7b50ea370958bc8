"""Face models that users hold: files in the published layouts become FaceModels; faulty ones give one sentence."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import convert, ict, opcodes
from ml_backend.face_model.loaders.finish import Converted
from ml_backend.face_model.model import validate
from ml_backend.face_model.synthesis import vertex_normals
from tests.ml import loader_toys as toys

ICT_NAMES = {
    "browInnerUp_L": "browInnerUp", "jawOpen": "jawOpen", "eyeBlink_L": "eyeBlinkLeft", "eyeBlink_R": "eyeBlinkRight",
    "mouthPucker": "mouthPucker", "mouthSmile_L": "mouthSmileLeft", "mouthSmile_R": "mouthSmileRight",
    "jawLeft": "jawLeft", "PupilDilate_L": "eyeWideLeft",
}  # fmt: skip
INNER = (13, 14, 78, 308, 33, 263, 133, 362, 159, 145, 386, 374, 61, 291, 4, 0, 17)


def refused(paths: list[Path], *words: str, kind: str | None = None) -> str:
    """The one sentence with which `paths` are refused; all of `words` are in it."""
    with pytest.raises(UserInputError) as caught:
        convert(paths, toys.head(), "x", kind=kind)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    assert all(word in text for word in words), text
    return text


def misplaced(made: Converted, face: toys.Toy, indices: tuple[int, ...] = INNER) -> np.ndarray:
    """(L,) metres between where landmarks were found and the vertices that truly lie there."""
    head, model = toys.head(), made.model
    local = np.full(len(head.mean_shape), -1)
    local[face.kept] = np.arange(len(face.kept))
    rows = [int(np.flatnonzero(head.landmark_index == index)[0]) for index in indices]
    truth = local[head.landmark_vertex[rows]]
    assert (truth >= 0).all()
    found = model.landmark_vertex[rows]
    return np.linalg.norm(model.mean_shape[found] - model.mean_shape[truth], axis=1)


def shape_error(made: Converted, face: toys.Toy, name: str) -> float:
    """Root mean square error of the expression `name` over that of the motion the file's face should make."""
    head, model = toys.head(), made.model
    k = head.names.index(name)
    truth = toys.SIZE * head.expression_basis[k][face.kept].astype(float)
    got = model.expression_basis[k][: len(face.kept)].astype(float)
    # The model is turned back onto the built-in head, so displacements compare as they are.
    return float(np.linalg.norm(got - truth) / np.linalg.norm(truth))


def sound(made: Converted) -> None:
    """What every converted model must have."""
    model, head = made.model, toys.head()
    validate(model)
    assert model.names == head.names
    assert {"skin", "teeth_upper", "teeth_lower", "tongue"} <= set(map(str, model.part_names))
    skin = np.flatnonzero(model.part("skin") & (model.region("face") > 0.5))
    assert len(skin) > 500
    normals = vertex_normals(model.mean_shape, model.triangles())[skin]
    assert (normals[:, 2] < 0).mean() > 0.8, "the face looks the wrong way or is wound inwards"
    assert model.mean_shape[model.landmark_vertex[4], 2] < model.mean_shape[model.landmark_vertex[33], 2]
    assert model.joint("eye_left")[0] > 0.02 > -0.02 > model.joint("eye_right")[0]
    assert 0.05 < np.ptp(model.mean_shape[skin][:, 0]) < 0.25, "not in metres"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def front(place: Path) -> Converted:
    (place / "front").mkdir()
    return convert([toys.write_front(place / "front", toys.toy())], toys.head(), "front")


def test_front_with_its_landmarks(front: Converted) -> None:
    sound(front)
    face = toys.toy()
    assert abs(front.scale / toys.SIZE - 1) < 0.005
    assert misplaced(front, face).max() < 1e-6
    model = front.model
    assert model.part("eye_left").any(), "holes for eyes get eyeballs"
    iris = model.landmark_vertex[model.landmark_index == 473][0]
    assert model.part("eye_left")[iris]
    lids = [model.mean_shape[model.landmark_vertex[i]] for i in (386, 374)]
    assert lids[0][1] < model.mean_shape[iris][1] < lids[1][1]
    assert shape_error(front, face, "jawOpen") < 0.03
    assert shape_error(front, face, "mouthSmileLeft") < 0.05
    assert 0 < np.mean(list(front.residual_mm.values())) < 0.15
    assert np.mean(list(front.motion_mm.values())) > 2
    assert "tongueOut" not in front.residual_mm or front.residual_mm["tongueOut"] < 1


def test_residual_tells_when_the_basis_is_poor(place: Path, front: Converted) -> None:
    """With three modes only, far less can be said, and the report says so."""
    (place / "poor").mkdir(exist_ok=True)
    face = toys.toy()
    poor = convert([toys.write_front(place / "poor", replace(face, modes=face.modes[:3]))], toys.head(), "poor")
    assert np.mean(list(poor.residual_mm.values())) > 5 * np.mean(list(front.residual_mm.values()))


def test_coefficients_stay_within_three_deviations(place: Path) -> None:
    """Modes a hundredth as long can't reach the shapes: the box holds."""
    (place / "short").mkdir(exist_ok=True)
    face = toys.toy()
    made = convert([toys.write_front(place / "short", replace(face, modes=face.modes / 100))], toys.head(), "short")
    reach = 3 * np.linalg.norm(toys.turn(face.modes) / toys.SIZE / 100, axis=-1).sum(0).max() * 1.1
    assert np.linalg.norm(made.model.expression_basis[:, : len(face.kept)], axis=-1).max() < reach
    assert made.residual_mm["jawOpen"] > 0.9 * made.motion_mm["jawOpen"]


def test_front_takes_facewarehouse_from_beside_it(place: Path) -> None:
    folder = place / "front with files"
    folder.mkdir()
    path = toys.write_front(folder, toys.toy(), expressions=False, keypoints=False)
    refused([path], "needs Exp_Pca.bin", "give it too")
    toys.write_expressions(folder, toys.toy())
    made = convert([path], toys.head(), "x")
    sound(made)
    assert misplaced(made, toys.toy()).max() < 0.005, "aligned by its shape alone"
    assert shape_error(made, toys.toy(), "jawOpen") < 0.1
    (folder / "std_exp.txt").unlink()
    refused([path], "needs std_exp.txt")


def test_bfm_2009(place: Path) -> None:
    folder = place / "bfm2009"
    folder.mkdir()
    path = toys.write_2009(folder, toys.toy(), extra=7)
    bare = convert([path], toys.head(), "x")
    sound(bare)
    assert not bare.residual_mm and any("no expressions of its own" in note for note in bare.notes)
    assert shape_error(replace(bare, model=_tail(bare, 7)), toys.toy(), "jawOpen") < 0.1
    toys.write_expressions(folder, toys.toy())
    made = convert([path], toys.head(), "x")
    assert len(made.model.mean_shape) - int((~made.model.part("skin")).sum()) == len(toys.toy().mean)
    assert shape_error(made, toys.toy(), "jawOpen") < 0.1 and made.residual_mm["jawOpen"] < 1
    savemat(folder / "BFM_front_idx.mat", {"idx": np.arange(1, len(toys.toy().mean) - 99)[None]})
    assert (convert([path], toys.head(), "x").model.part("skin")).sum() == len(toys.toy().mean) - 100
    content = (folder / "Exp_Pca.bin").read_bytes()
    (folder / "Exp_Pca.bin").write_bytes(content[:-40])
    refused([path], "no whole Exp_Pca.bin")
    (folder / "Exp_Pca.bin").write_bytes(content)
    (folder / "BFM_exp_idx.mat").unlink()
    refused([path], "BFM_exp_idx.mat")


def _tail(made: Converted, count: int):
    model = made.model
    return replace(model, expression_basis=model.expression_basis[:, count:])


def test_h5(place: Path) -> None:
    path = toys.write_h5(place / "model2017.h5", toys.toy())
    made = convert([path], toys.head(), "x")
    sound(made)
    assert misplaced(made, toys.toy()).max() < 0.005
    assert shape_error(made, toys.toy(), "mouthPucker") < 0.15
    assert np.allclose(made.model.texture_mean[: len(toys.toy().kept)], toys.toy().colour, atol=1e-5)


def test_bad_h5(place: Path) -> None:
    path = place / "bad.h5"
    path.write_bytes(b"no such thing")
    refused([path], "bad.h5", "is no HDF5 file")
    toys.write_h5(path, toys.toy())
    with h5py.File(path, "a") as data:
        del data["expression/model/pcaBasis"]
    refused([path], "lacks expression/model/pcaBasis")
    toys.write_h5(path, toys.toy())
    with h5py.File(path, "a") as data:
        data["shape/model/mean"][5] = np.nan
    refused([path], "no numbers")
    toys.write_h5(path, toys.toy())
    with h5py.File(path, "a") as data:
        del data["expression/model/mean"]
        data["expression/model/mean"] = np.zeros(30)
    refused([path], "expression/model/pcaBasis", "30")
    content = toys.write_h5(path, toys.toy()).read_bytes()
    path.write_bytes(content[: len(content) // 3])
    refused([path], "bad.h5")


def test_bad_mat(place: Path) -> None:
    folder = place / "bad mat"
    folder.mkdir()
    path = toys.write_front(folder, toys.toy())
    data = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    savemat(path, {key: value for key, value in data.items() if key != "idBase"})
    refused([path], "lacks idBase")
    savemat(path, {**data, "idBase": data["idBase"][:-3]})
    refused([path], "idBase", str(len(data["idBase"])))
    savemat(path, {**data, "tri": data["tri"] + 9})
    refused([path], "triangles name vertices")
    savemat(path, {**data, "meanshape": np.where(np.arange(data["meanshape"].size) == 3, np.nan, data["meanshape"])})
    refused([path], "no numbers")
    other = folder / "other.mat"
    savemat(other, {"something": np.ones(3)})
    refused([other], "neither shapeMU")
    content = toys.write_front(folder, toys.toy()).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused([path], "can't be read")
    path.write_text("<html>404</html>")
    refused([path], "can't be read")


def test_a_shuffled_model_is_no_face(place: Path) -> None:
    """Right shapes, wrong order of vertices: refused, not turned into a monster."""
    folder = place / "shuffled"
    folder.mkdir()
    face = toys.toy()
    order = np.random.default_rng(0).permutation(len(face.mean))
    refused([toys.write_front(folder, replace(face, mean=face.mean[order]))], "family's order")
    refused([toys.write_front(folder, replace(face, mean=10 * face.mean))], "units are not")


@pytest.fixture(scope="module")
def flame_file(place: Path) -> Path:
    return toys.write_flame(place / "generic_model.pkl", toys.toy(True))


def test_flame(flame_file: Path) -> None:
    made = convert([flame_file], toys.head(), "flame")
    sound(made)
    model, face = made.model, toys.toy(True)
    assert misplaced(made, face).max() < 0.005
    assert shape_error(made, face, "jawOpen") < 0.2
    ball = model.part("eye_left")
    assert ball.sum() == toys.head().part("eye_left").sum()
    assert model.mean_shape[ball][:, 0].min() > 0
    look = model.expression_basis[model.names.index("eyeLookInLeft")][ball]
    ahead = model.mean_shape[ball][:, 2].argmin()
    assert look[ahead, 0] < -0.003, "looking in turns the person's left eye towards the nose"
    assert {"sclera", "iris", "pupil"} <= set(map(str, model.material_names))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_the_reader_reads_what_python_writes(protocol: int, tmp_path: Path) -> None:
    tables = {"a": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
              "n": [1, -2, 3.5, None, True, "ü", b"x\xff", (1, (2,)), 2**40], "s": np.float32(2.5)}  # fmt: skip
    back = opcodes.read(pickle.dumps(tables, protocol=protocol))
    assert np.array_equal(opcodes.array(back["a"]), tables["a"])
    assert np.array_equal(opcodes.array(back["f"]), tables["f"])
    assert back["n"] == tables["n"] and back["s"] == np.float32(2.5)


class Evil:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_flame_that_wants_to_run_something(protocol: int, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"v_template": Evil(victim)}, protocol=protocol))
    refused([path], "wants to run", "io.open")
    assert not victim.exists()


@pytest.mark.parametrize("stream", [
    b"cos\nsystem\n(S'touch {}'\ntR.", b"(S'touch {}'\nios\nsystem\n.", b"cnumpy\nsave\n(S'{}'\nI0\ntR.",
    b"c__builtin__\neval\n(S'1'\ntR.", b"cscipy.sparse\nload_npz\n(S'{}'\ntR.", b"cchumpy.ch\nopen\n(tR.",
    b"c__builtin__\nobject\n(S'x'\nc__builtin__\ngetattr\ntR.", b"P1\n.",
])  # fmt: skip
def test_the_reader_runs_nothing(stream: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(stream.replace(b"{}", str(tmp_path / "victim").encode()))
    refused([path], "wants to run")
    assert list(tmp_path.iterdir()) == [path]


def test_bad_flame(flame_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    content = flame_file.read_bytes()
    for cut in (0, 3, len(content) // 2, len(content) - 2):
        path.write_bytes(content[:cut])
        refused([path], "can't be read")
    path.write_bytes(pickle.dumps([1, 2]))
    refused([path], "no table")
    path.write_bytes(pickle.dumps({"v_template": np.zeros((4, 3))}))
    refused([path], "lacks f, shapedirs")
    path.write_bytes(pickle.dumps({key: 1.0 for key in toys.flame_tables(toys.toy(True))}))
    refused([path], "v_template")
    path.write_bytes(pickle.dumps({"v_template": np.array([object], object)}))
    refused([path], "wants to run")
    count = len(toys.toy(True).mean)
    toys.write_flame(path, toys.toy(True), shapedirs=np.zeros((count, 3, 150), np.float32))
    refused([path], "150 modes")
    toys.write_flame(path, toys.toy(True), weights=np.full((count, 5), np.nan))
    refused([path], "weights", "no numbers")
    toys.write_flame(path, toys.toy(True), weights=np.zeros((9, 5)))
    refused([path], "weights is 9 × 5")


@pytest.fixture(scope="module")
def ict_folder(place: Path) -> Path:
    return toys.write_ict(place / "FaceXModel", toys.toy(True), ICT_NAMES)


def test_ict_folder(ict_folder: Path) -> None:
    made = convert([ict_folder], toys.head(), "ict")
    sound(made)
    # OBJ files hold each material's faces apart, in the order of the vertices in the file: kept is all of them.
    face = toys.toy(True)
    assert misplaced(made, face).max() < 1e-6
    for name in ("jawOpen", "eyeBlinkLeft", "jawLeft", "mouthSmileRight"):
        assert shape_error(made, face, name) < 1e-3
        assert made.agreement[name] > 0.95
    assert len(made.model.identity_basis) == 1
    assert shape_error(made, face, "mouthFrownLeft") < 0.1, "a shape the folder lacks is the built-in head's"


def test_ict_names() -> None:
    rows = ict.arkit_names(["browInnerUp_L", "browInnerUp_R", "mouthLeft", "eyeBlink_R", "cheekPuff_L", "cheekPuff_R"])
    assert rows["browInnerUp"] == [0, 1] and rows["cheekPuff"] == [4, 5]
    assert rows["eyeBlinkRight"] == [3] and rows["mouthLeft"] == [2]


def test_bad_ict_folder(ict_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "ict"
    shutil.copytree(ict_folder, folder)
    (folder / "jawOpen.obj").write_text("v 1 2 3\n")
    refused([folder], "jawOpen.obj has 1 vertices")
    (folder / "jawOpen.obj").unlink()
    refused([folder], "lacks the expression jawOpen")
    (folder / "vertex_indices.json").write_text("{}")
    refused([folder], "vertex_indices.json")
    (folder / "vertex_indices.json").unlink()
    refused([folder], "26719", "vertex_indices.json")
    neutral = folder / "generic_neutral_mesh.obj"
    text = neutral.read_text()
    neutral.write_text(text.replace("f 1", "f 999999", 1) if "f 1" in text else text + "f 999999/1 1/1 2/1\n")
    refused([folder], "faces name vertices")
    neutral.write_text(text.replace("v ", "v nan ", 1))
    refused([folder], "no numbers")
    neutral.write_text(text[: text.index("usemtl")])
    refused([folder], "has no faces")
    neutral.unlink()
    refused([folder], "no face model that Parley knows")


def test_bad_ict_npz(tmp_path: Path) -> None:
    path = tmp_path / "ict.npz"
    path.write_bytes(b"PK\x03\x04 cut off")
    refused([path], "is no .npz file, or cut off")
    np.savez(path, V=np.zeros((4, 3)))
    refused([path], "lacks VT")
    np.savez(path, **{key: np.zeros((4, 3)) for key in ict.KEYS})
    refused([path], "has 4 vertices", "26719")
    np.savez(path, V=np.array([{}], object))
    refused([path], "ict.npz")


def test_unknown_files(tmp_path: Path) -> None:
    refused([tmp_path / "nowhere.npz"], "does not exist")
    (tmp_path / "a.txt").write_text("x")
    refused([tmp_path / "a.txt"], "no face model that Parley knows")
    refused([tmp_path / "a.txt", tmp_path / "a.txt"], "one file or folder", kind="flame")
    refused([tmp_path], "no face model that Parley knows")


def test_real_ict() -> None:
    if not (path := Path(__file__).parents[3] / "shared" / "data" / "face_models" / "ict_facekit.npz").exists():
        pytest.skip("the packed ICT-FaceKit is not here")
    made = convert([path], toys.head(), "ict")
    sound(made)
    model = made.model
    assert len(np.unique(model.landmark_vertex)) == 478
    turned = {name: value for name, value in made.agreement.items() if not name.startswith(("eyeLookIn", "eyeLookOut"))}
    plain = [value for name, value in turned.items() if not name.startswith("mouthPress")]  # thinning lips by a mm
    assert len(plain) == 45 and min(plain) > 0.4 and min(turned.values()) > 0, "sides or signs are mixed up"
    assert turned["jawOpen"] > 0.8 and turned["jawLeft"] > 0.8 and turned["mouthSmileLeft"] > 0.8
    upper, lower = (model.landmark_vertex[i] for i in (13, 14))
    opened = model.expression_basis[model.names.index("jawOpen")]
    assert opened[lower, 1] - opened[upper, 1] > 0.015
    tip = model.part("tongue")
    assert model.expression_basis[model.names.index("tongueOut")][tip][:, 2].min() < -0.02
    for part, side in (("eye_left", 1), ("eye_right", -1)):
        assert side * model.mean_shape[model.part(part)][:, 0].min() * side > -1
        look = model.expression_basis[model.names.index(f"eyeLookIn{'Left' if side > 0 else 'Right'}")]
        front = np.flatnonzero(model.part(part))[model.mean_shape[model.part(part)][:, 2].argmin()]
        assert side * look[front, 0] < -0.003
