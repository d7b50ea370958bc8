"""`parley prepare` finds clips, obeys an index and keeps clips of one name apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.errors import UserInputError
from ml_backend.training import find_clips

INDEX = """file,audio_late_ms,split,sync_corr
clips/a.mp4,120,train,0.4
clips/b.mp4,0,validate,0.1
clips/c.mp4,40,train,0.1
"""


def folder_of(place: Path, name: str, clips: str) -> Path:
    folder = place / name
    folder.mkdir()
    for clip in clips:
        (folder / f"{clip}.mp4").touch()
    return folder


def test_the_index_decides_delay_split_and_what_is_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "clips", "abc")
    (folder / "index.csv").write_text(INDEX)
    found = {source.path.stem: source for source in find_clips(folder)}
    assert set(found) == {"a", "b"}
    assert (found["a"].late_ms, found["a"].split) == (120, "train")
    assert found["b"].split == "validate"


def test_without_an_index_the_folder_is_one_speaker_and_some_clips_validate(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "s1", "abcdefghijklmnopqrstuvwxyz")
    found = find_clips(folder)
    assert {source.speaker for source in found} == {"s1"}
    assert {source.split for source in found} == {"train", "validate"}
    assert {source.split for source in find_clips(folder, draw_split=False)} == {"train"}


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no folder"):
        find_clips(tmp_path / "none")
