"""Take folders: skipped, resumed, locked, and never anybody's work lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.data.frames import encode_png
from ml_backend.errors import UserInputError
from ml_backend.take import Take, settings_key


@pytest.fixture
def take(tmp_path: Path):
    opened = Take.open(tmp_path / "a take")
    yield opened
    opened.close()


def writer(take: Take, name: str, text: str, calls: list[str]):
    def action() -> dict:
        calls.append(text)
        take.path(name).write_text(text)
        return {"wrote": text}

    return action


def test_a_finished_stage_does_no_work_again(take: Take) -> None:
    calls: list[str] = []
    for _ in range(2):
        facts = take.run("stage", {"a": 1}, ["file"], writer(take, "file", "one", calls))
    assert calls == ["one"]
    assert facts == {"wrote": "one"}
    assert take.seconds["stage"] == 0.0


def test_other_settings_or_a_lost_output_run_the_stage_again(take: Take) -> None:
    calls: list[str] = []
    take.run("stage", {"a": 1}, ["file"], writer(take, "file", "one", calls))
    take.run("stage", {"a": 2}, ["file"], writer(take, "file", "two", calls))
    take.path("file").unlink()
    take.run("stage", {"a": 2}, ["file"], writer(take, "file", "three", calls))
    assert calls == ["one", "two", "three"]


def test_an_interrupted_stage_keeps_its_partial_output_only_under_the_same_key(take: Take) -> None:
    folder = take.path("frames")

    def stop() -> None:
        folder.mkdir(exist_ok=True)
        (folder / "0.png").write_bytes(encode_png(np.zeros((2, 2, 3), np.uint8)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take.run("render", {"size": 1}, ["frames"], stop)
    seen: list[bool] = []
    take.run("render", {"size": 1}, ["frames"], lambda: seen.append((folder / "0.png").exists()))
    with pytest.raises(KeyboardInterrupt):
        take.run("render", {"size": 2}, ["frames"], stop)
    assert not take.state["stages"]["render"]["complete"]
    take.run("render", {"size": 3}, ["frames"], lambda: seen.append(folder.exists()) or folder.mkdir())
    assert seen == [True, False]


def test_the_state_survives_reopening(tmp_path: Path) -> None:
    calls: list[str] = []
    for _ in range(2):
        take = Take.open(tmp_path / "take")
        take.run("stage", {}, ["file"], writer(take, "file", "x", calls))
        take.close()
    assert calls == ["x"]


def test_two_runs_cannot_share_a_take(tmp_path: Path) -> None:
    first = Take.open(tmp_path / "take")
    with pytest.raises(UserInputError, match="in use by another run"):
        Take.open(tmp_path / "take")
    first.close()
    Take.open(tmp_path / "take").close()


def test_a_folder_of_other_files_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("mine")
    with pytest.raises(UserInputError, match="no Parley take"):
        Take.open(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holiday.jpg"]


def test_products_of_others_and_edited_ones_are_guarded(take: Take, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    take.guard(film, overwrite=False)
    film.write_text("somebody's")
    with pytest.raises(UserInputError, match="not made by this take"):
        take.guard(film, overwrite=False)
    take.guard(film, overwrite=True)
    take.record(film)
    take.guard(film, overwrite=False)
    film.write_text("edited")
    with pytest.raises(UserInputError, match="was changed"):
        take.guard(film, overwrite=False)


def test_keys_do_not_depend_on_the_order_of_settings() -> None:
    assert settings_key({"a": 1, "b": 2}) == settings_key({"b": 2, "a": 1}) != settings_key({"a": 1, "b": 3})
