"""Following a face in stretches beside each other, and the solver of expressions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from ml_backend.errors import Cancelled
from ml_backend.reconstruct import boxsolve, follow, mesh


class Still:
    """A network that finds a face where the picture says."""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A Face Mesh that takes the face's place from the first pixel; the list gets an entry at each reset."""
    resets: list[int] = []

    @contextmanager
    def face_mesh(**_: object) -> Iterator[Still]:
        yield Still()

    def run(_: Still, image: np.ndarray) -> list[np.ndarray]:
        number = int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])
        return [] if number == 130 else [np.full((478, 3), number, np.float32)]

    monkeypatch.setattr(mesh, "face_mesh", face_mesh)
    monkeypatch.setattr(mesh, "run", run)
    monkeypatch.setattr(mesh, "reset", lambda _: resets.append(1))
    return resets


def numbered(count: int) -> list[np.ndarray]:
    """Frames that carry their number."""
    frames = []
    for number in range(count):
        frame = np.zeros((40, 60, 3), np.uint8)
        frame[..., 0], frame[..., 1] = number % 256, number // 256
        frames.append(frame)
    return frames


@pytest.mark.parametrize("count", [1, 95, 96, 301, 700])
def test_every_frame_is_seen_once_and_in_its_place(network: list[int], count: int) -> None:
    said: list[tuple[int, int]] = []
    found = follow.follow(numbered(count), lambda done, total: said.append((done, total)))
    places = found.landmarks[:, 0, 0]
    expected = np.arange(count, dtype=np.float32)
    expected[130:131] = np.nan
    assert np.array_equal(places, expected, equal_nan=True)
    assert max(done for done, _ in said) <= count and {total for _, total in said} == {count}


def test_cuts_at_the_seams_are_found(network: list[int]) -> None:
    frames = numbered(200)
    for number in range(100, 200):
        frames[number] = frames[number].copy()
        frames[number][1:, :, 2] = 200
    found = follow.follow(frames, lambda done, total: None)
    assert np.flatnonzero(found.begins).tolist() == [100]
    assert found.changes[100] > 20 and found.changes[0] == 0


def test_cancelling_ends_all_threads(network: list[int]) -> None:
    def progress(done: int, total: int) -> None:
        if done > 20:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        follow.follow(numbered(400), progress)


def test_what_a_thread_meets_is_raised(network: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = numbered(120)
    frames[110] = None  # type: ignore[call-overload]
    with pytest.raises((AttributeError, TypeError)):
        follow.follow(frames, lambda done, total: None)


def test_solver_meets_the_conditions_of_a_minimum() -> None:
    random = np.random.default_rng(3)
    frames, channels = 40, 9
    factor = random.normal(size=(frames, 14, channels))
    gram = factor.transpose(0, 2, 1) @ factor + 0.1 * np.eye(channels)
    right = random.normal(size=(frames, channels)) * 8
    joined = np.ones(frames - 1, bool)
    joined[11] = False
    for temporal in (np.zeros(channels), np.full(channels, 6.0)):
        chain = boxsolve.Chain(temporal, joined)
        x = boxsolve.solve(gram, right, chain, sweeps=600, tolerance=1e-9)
        slope = boxsolve._product(gram, chain, x) - right
        inside = (x > 1e-6) & (x < 1 - 1e-6)
        assert np.abs(slope[inside]).max() < 1e-4
        assert slope[x <= 1e-6].min() > -1e-4 and slope[x >= 1 - 1e-6].max() < 1e-4
        assert inside.any() and (x <= 1e-6).any()
