"""A take folder that was damaged or moved: only what is lost is made again, and what is the user's stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ml_backend.data.frames import encode_png, frame_path
from ml_backend.errors import UserInputError
from ml_backend.take import Take

FRAMES = 4


class Work:
    """A stage that writes a file and a folder of frames, and keeps the frames that it finds."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.runs = 0
        self.drawn = 0

    def __call__(self) -> dict:
        self.runs += 1
        self.take.path("track.npz").write_bytes(b"track" * 100)
        folder = self.take.path("frames")
        folder.mkdir(exist_ok=True)
        for index in range(FRAMES):
            if not frame_path(folder, index).exists():
                self.drawn += 1
                frame_path(folder, index).write_bytes(encode_png(np.full((8, 8, 3), index, np.uint8)))
        return {"frames": FRAMES}


@pytest.fixture
def take(tmp_path: Path):
    opened = Take.open(tmp_path / "film.take")
    yield opened
    opened.close()


def work_once(take: Take) -> Work:
    work = Work(take)
    assert take.run("stage", {"seed": 1}, ["track.npz", "frames"], work) == {"frames": FRAMES}
    return work


def test_a_truncated_file_is_made_again(take: Take) -> None:
    work_once(take)
    take.path("track.npz").write_bytes(b"track")
    work = work_once(take)
    assert (work.runs, work.drawn) == (1, 0)
    assert take.path("track.npz").stat().st_size == 500
    assert work_once(take).runs == 0


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_only_lost_and_cut_frames_are_made_again(take: Take, damage) -> None:
    work_once(take)
    damage(frame_path(take.path("frames"), 2))
    work = work_once(take)
    assert (work.runs, work.drawn) == (1, 1)


@pytest.mark.parametrize("text", [b"{", b"[1, 2]", b'{"schema": "parley.take", "version": 1}', b"\xff\xfe"])
def test_a_damaged_index_costs_time_only(tmp_path: Path, text: bytes) -> None:
    folder = tmp_path / "film.take"
    folder.mkdir()
    (folder / "take.json").write_bytes(text)
    opened = Take.open(folder)
    assert work_once(opened).runs == 1
    opened.close()
    assert json.loads((folder / "take.json").read_text())["stages"]["stage"]["complete"]


def test_a_moved_film_is_still_ours_and_an_edited_one_is_not(take: Take, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    with pytest.raises(UserInputError, match="not made by this take"):
        take.guard(film, overwrite=False)
    take.record(film)
    moved = film.rename(tmp_path / "moved.mp4")
    take.guard(moved, overwrite=False)
    moved.write_bytes(b"edited")
    with pytest.raises(UserInputError, match="--overwrite"):
        take.guard(moved, overwrite=False)
    moved.rename(film)
    with pytest.raises(UserInputError, match="was changed"):
        take.guard(film, overwrite=False)


def test_the_film_is_known_by_its_copy_when_the_index_is_lost(take: Take, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    take.path("take.mp4").write_bytes(b"film")
    take.guard(film, overwrite=False)
