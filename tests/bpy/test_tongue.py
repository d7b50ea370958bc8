"""The tongue of the built-in head comes out over teeth and lip at every weight, and light reaches it over a film."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import rig, scene, space  # noqa: E402
from addon.core import character, face_model, tongue  # noqa: E402
from ml_backend.config import head_model  # noqa: E402
from tests.bpy.conftest import Stage, evaluated  # noqa: E402

MM = 0.001
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
OUT = (0.4, 0.5, 0.65, 0.75, 0.9)


@pytest.fixture(scope="module")
def model() -> face_model.FaceModel:
    return face_model.load(head_model())


@pytest.fixture
def head(model: face_model.FaceModel) -> rig.Head:
    scene.empty_file()
    return rig.build(model, character.average(model), None, np.zeros(6))


def shown(head: rig.Head, **weights: float) -> np.ndarray:
    """(V, 3) model space."""
    for name, value in weights.items():
        head.keys.key_blocks[name].value = value
    return space.to_opencv(evaluated(head.mesh))


def depth_in_lip(model: face_model.FaceModel, points: np.ndarray) -> float:
    """Metres by which the tongue's underside lies below the lower lip's margin where it crosses it, on the midline."""
    part = points[model.vertex_part == face_model.index_of(model.part_names, "tongue")]
    lower = points[(model.region("lips") > 0.5) & (np.abs(model.mean_shape[:, 0]) < 2 * MM)]
    margin = lower[lower[:, 1] > lower[:, 1].mean()]
    top = margin[np.argmin(margin[:, 1])]
    middle = part[np.abs(part[:, 0]) < 0.5 * MM]
    under = middle[np.argsort(middle[:, 2])]
    under = under[under[:, 1] >= np.interp(under[:, 2], *_ridge(under))]
    if top[2] < under[0, 2]:
        return 0.0  # it is still behind the lip
    return float(np.interp(top[2], under[:, 2], under[:, 1]) - top[1])


def _ridge(middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depths and heights of the line half-way between upper side and underside of the points `middle` (N, 3)."""
    places = np.unique(np.round(middle[:, 2], 3))
    near = [middle[np.abs(middle[:, 2] - place) < 2 * MM, 1] for place in places]
    return places, np.array([(heights.min() + heights.max()) / 2 for heights in near])


@pytest.mark.parametrize("jaw", [0.0, 0.12, 0.3])
def test_it_clears_the_lower_lip_half_way(head: rig.Head, model: face_model.FaceModel, jaw: float) -> None:
    depths = [depth_in_lip(model, shown(head, jawOpen=jaw, tongueOut=weight)) for weight in OUT]
    assert max(depths) < 2.4 * MM, depths  # it rests on the lip, which gives way
    head.keys.key_blocks[tongue.PATH].driver_remove("value")
    head.keys.key_blocks[tongue.PATH].value = 0
    assert depth_in_lip(model, shown(head, jawOpen=jaw, tongueOut=0.5)) > 4 * MM, "without the path it goes through"


def test_rest_and_full_are_the_model_s(head: rig.Head, model: face_model.FaceModel) -> None:
    rigid = rig.neck_root(model, model.mean_shape) == 0
    for weight in (0.0, 1.0):
        wanted = model.mean_shape + weight * model.expression_basis[model.names.index("tongueOut")]
        assert np.abs(shown(head, tongueOut=weight) - wanted)[rigid].max() < 1e-5
    assert head.keys.key_blocks[tongue.PATH].value == pytest.approx(0, abs=1e-6)


def test_it_comes_out_steadily(head: rig.Head, model: face_model.FaceModel) -> None:
    part = model.vertex_part == face_model.index_of(model.part_names, "tongue")
    tips = [shown(head, tongueOut=weight)[part, 2].min() for weight in WEIGHTS]
    assert (np.diff(tips) < 0).all()
    assert tongue.weight(0.5) == 1 and tongue.weight(0) == tongue.weight(1) == 0


def test_light_reaches_it_over_a_film(head: rig.Head) -> None:
    tree = next(slot for slot in head.mesh.data.materials if "tongue" in slot.name).node_tree
    lit = next(node for node in tree.nodes if node.type == "GROUP")
    assert lit.inputs["Shade"].links[0].from_node.operation == "MAXIMUM"
    assert lit.inputs["Albedo"].links[0].from_node.bl_idname == "ShaderNodeMix"


def test_models_without_a_tongue_get_no_path(stage: Stage) -> None:
    assert tongue.path(stage.model) is None
    assert tongue.PATH not in stage.head.keys.key_blocks
