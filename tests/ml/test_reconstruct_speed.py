"""Shortcuts of the tracking: what is kept from clip to clip, looked at once, or iterated less, comes out the same."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest

from ml_backend.face_model.synthesis import project, rotation_matrix, vertex_normals
from ml_backend.reconstruct import boxsolve, equations, follow, landmarks, mesh, pose, priors
from ml_backend.reconstruct.fit import _between
from ml_backend.reconstruct.points import measurements, rig
from ml_backend.reconstruct.prepared import Prepared, prepared
from tests.ml.reconstruct_toys import head


def test_what_a_model_needs_is_kept_and_let_go() -> None:
    model = replace(head())
    first = prepared(model)
    assert prepared(model) is first and prepared(model, np.ones(478, bool)) is first
    assert first.spreading(model) is first.spreading(model)
    some = np.ones(478, bool)
    some[468:] = False
    assert len(prepared(model, some).points.index) == int((first.points.index < 468).sum())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_another_model_is_not_taken_for_the_first() -> None:
    model = head()
    other = replace(model, mean_shape=model.mean_shape * 1.1)
    assert np.allclose(prepared(other).points.mean, prepared(model).points.mean * 1.1)


@pytest.mark.parametrize("total", [96, 125, 300, 1000])
def test_stretches_take_equally_long_with_their_leads(total: int) -> None:
    parts = 2 if total < 600 else 4
    edges = follow._edges(total, parts)
    assert edges[0] == 0 and edges[-1] == total and len(edges) == parts + 1
    work = np.diff(edges) + np.array([0, *[follow.LEAD] * (parts - 1)])
    assert work.min() > 0 and np.ptp(work) <= 1


def test_one_quick_look_tells_one_face(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [np.zeros((4, 4, 3), np.uint8)] * 10
    monkeypatch.setattr(mesh, "count_near", lambda pictures: [1 for _ in pictures])
    monkeypatch.setattr(mesh, "face_mesh", None)
    assert landmarks._alone(frames)
    monkeypatch.setattr(mesh, "count_near", lambda pictures: [2 for _ in pictures])
    with pytest.raises(TypeError):
        landmarks._alone(frames)  # looks again, with Face Mesh


def test_frames_between_samples_lie_on_the_line() -> None:
    sampled = np.array([[0.0], [1.0], [0.0]])
    assert _between(sampled, np.array([1, 3, 4]), 6)[:, 0].tolist() == [0, 0, 0.5, 1, 0, 0]


def test_normal_equations_add_up() -> None:
    random, points = np.random.default_rng(0), rig(head())
    rows = measurements(points)
    system = equations.System.of(rows.apply(points.expression), rows)
    residual = random.normal(0, 0.002, (3, len(rows.first), 3))
    turned = rotation_matrix(random.normal(0, 0.4, (3, 3)))
    gram, right = system.normal(residual, turned)
    whole, pull = system.summed(residual, turned)
    assert np.allclose(gram.sum(0), whole) and np.allclose(right.sum(0), pull)
    metric, sides = equations.seen_metric(turned), equations.side_visibility(turned)
    weight = ((sides @ system.shares) * rows.weight)[1]
    plain = np.einsum("kpa,p,ab,lpb->kl", rows.apply(points.expression), weight, metric[1],
                      rows.apply(points.expression), optimize=True)
    assert np.allclose(gram[1], plain)


def test_pose_is_found_to_a_thousandth_of_a_degree() -> None:
    random, points = np.random.default_rng(1), rig(head())
    truth = np.concatenate([random.normal(0, 0.3, (60, 3)), random.normal(0, 0.03, (60, 3)) + np.array([0, 0, 0.7])], 1)
    camera = points.mean @ rotation_matrix(truth[:, :3]).transpose(0, 2, 1) + truth[:, None, 3:]
    focal, centre = 900.0, np.array([320.0, 240.0])
    deep = (camera[..., 2:] - truth[:, None, 5:]) * focal / truth[:, None, 5:]
    seen = np.concatenate([project(camera, focal, centre), deep], 2)
    weight = equations.stable_weights(points)
    start = pose.initial_pose(seen, points.mean, weight, focal, centre)
    rotation, move = pose.refine_pose(seen, points.mean, weight, focal, centre, *start)
    assert np.degrees(np.abs(pose.angles_of(rotation) - truth[:, :3])).max() < 1e-3
    assert np.abs(move - truth[:, 3:]).max() < 2e-5
    again, _ = pose.refine_pose(seen, points.mean, weight, focal, centre, *start, tolerance=1.0)
    assert not np.array_equal(again, rotation)


def test_a_capped_channel_goes_along_with_its_cap() -> None:
    names = ["jawOpen", "mouthClose", "mouthSmileLeft"]
    factor = np.random.default_rng(5).normal(size=(40, 7, 3))
    gram = factor.transpose(0, 2, 1) @ factor + 0.3 * np.eye(3)
    right = np.random.default_rng(6).normal(1, 2, (40, 3))
    loose = boxsolve.Chain(np.zeros(3), np.zeros(39, bool))
    found = boxsolve.solve(gram, right, loose, below=priors.caps(names))
    settled = boxsolve._improved(found.copy(), gram, right, loose, priors.caps(names), 60, 1e-9)
    assert np.abs(found - settled).max() < 1e-3
    tied = (found[:, 0] > 0.01) & (found[:, 0] < 0.99) & (found[:, 1] == found[:, 0])
    assert tied.any() and (found[:, 1] <= found[:, 0] + 1e-9).all()


def test_an_ill_conditioned_chain_is_still_solved() -> None:
    random = np.random.default_rng(8)
    near = random.normal(size=(12, 1, 4)) + 1e-5 * random.normal(size=(12, 6, 4))
    gram = near.transpose(0, 2, 1) @ near + 1e-9 * np.eye(4)
    wanted = random.uniform(0.2, 0.8, (12, 4))
    right = (gram @ wanted[..., None])[..., 0]
    chain = boxsolve.Chain(np.full(4, 1e-9), np.ones(11, bool))
    found = boxsolve.solve(gram, right, chain, sweeps=60)
    assert found.min() >= 0 and found.max() <= 1
    assert boxsolve._value(found, gram, right, chain) <= boxsolve._value(wanted, gram, right, chain) + 1e-6


def test_normals_are_those_of_the_triangles_around() -> None:
    model = head()
    shape, triangles = model.mean_shape.astype(float), model.triangles()
    face = np.cross(shape[triangles[:, 1]] - shape[triangles[:, 0]], shape[triangles[:, 2]] - shape[triangles[:, 0]])
    found = vertex_normals(shape, triangles)
    for vertex in (0, 100, 2000):
        around = face[(triangles == vertex).any(1)].sum(0)
        assert np.allclose(found[vertex], around / np.linalg.norm(around))


@pytest.mark.parametrize(("window", "order"), [(5, 2), (15, 2), (7, 1)])
def test_smoothing_is_that_of_savitzky_and_golay(window: int, order: int) -> None:
    from scipy.signal import savgol_filter

    values = np.random.default_rng(2).normal(size=(40, 6))
    for some in (values, values[:window]):
        assert np.allclose(pose._savgol(some, window, order), np.asarray(savgol_filter(some, window, order, axis=0)))


def test_tracking_loads_no_learning_library() -> None:
    words = "import sys, ml_backend.track_command; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_prepared_systems_are_of_the_rig() -> None:
    ready = Prepared.of(head())
    assert ready.expressions.basis.shape[0] == len(ready.points.names)
    assert ready.persons.basis.shape[0] == len(ready.points.identity)
