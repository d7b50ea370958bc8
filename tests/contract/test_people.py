"""Add-on and backend find the same face models and make the same random people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from addon.core import face_model as addon_model
from addon.core import people, stored_models
from addon.core.errors import ParleyError
from ml_backend import face_random
from ml_backend.artefacts.schema import save_npz
from ml_backend.config import head_model
from ml_backend.face_model import model as backend_model
from ml_backend.face_model import store


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_people(seed: int, tmp_path: Path) -> None:
    styles = ["short", "long", "curly"]
    made = face_random.random_character(backend_model.load(head_model()), seed, tmp_path / "p.npz", styles=styles)
    person = people.person(addon_model.load(head_model()), head_model(), seed, styles)
    np.testing.assert_allclose(person.neutral_shape, made.neutral_shape, atol=1e-6)
    np.testing.assert_allclose(person.low_albedo, made.low_albedo, atol=1e-5)
    assert person.hair == made.hair and str(person.hair) in styles


@pytest.mark.parametrize("variables", [
    {"PARLEY_DATA": "/somewhere/äöü"}, {"XDG_DATA_HOME": "/home/me/.data"}, {"platform": "darwin"},
    {"platform": "win32", "APPDATA": "/roaming"}, {},
])  # fmt: skip
def test_the_same_folder(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARLEY_DATA", "XDG_DATA_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", variables.pop("platform", "linux"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert stored_models.folder() == store.models_folder()
    assert stored_models.BUILT_IN == store.BUILT_IN


def test_bases_that_do_not_fit(tmp_path: Path) -> None:
    model, path = backend_model.load(head_model()), tmp_path / "x.npz"
    front = addon_model.load(head_model())
    for change, words in (({"identity_basis": model.identity_basis[:, :-1]}, "identity_basis is not"),
                          ({"texture_basis": model.texture_basis * np.nan}, "no numbers"),
                          ({"landmark_vertex": model.landmark_vertex + 10**6}, "a landmark names no vertex")):
        save_npz(path, backend_model.SCHEMA, backend_model.VERSION, {**vars(model), **change}, compress=False)
        with pytest.raises(ParleyError, match=words):
            people.person(front, path, 0)
