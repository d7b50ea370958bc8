"""`parley prepare` knows data sets by their names, goes on where it stopped, and says what it can't use and why."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio.load import Speech
from ml_backend.errors import UserInputError
from ml_backend.motion import agreement, shards
from ml_backend.motion.checkpoint import MotionWeights
from ml_backend.motion.dataset import standardise
from ml_backend.prepare import channels, offset
from ml_backend.prepare.clip import FAILED, READY, REJECTED, Outcome, Tools, prepare_one
from ml_backend.prepare.run import find_all, prepare_all, reasons
from ml_backend.prepare.sources import Source, find_sources, layout_of
from tests.ml.motion_toys import NAMES, TINY, face, shard, speech, statistics, tiny

INDEX = """file,audio_late_ms,split,sync_corr
clips/a.mp4,120,train,0.4
clips/b.mp4,0,validate,0.1
clips/c.mp4,40,train,0.1
"""


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_index_decides_delay_split_and_what_is_left_out(tmp_path: Path) -> None:
    folder = touched(tmp_path / "clips", "a.mp4", "b.mp4", "c.mp4")
    (folder / "index.csv").write_text(INDEX)
    found = {source.path.stem: source for source in find_sources(folder, rights="open")}
    assert (found["a"].late_ms, found["a"].split, found["a"].rights) == (120, "train", "open")
    assert (found["b"].split, found["b"].reason) == ("validate", "")
    assert "hardly agree" in found["c"].reason
    (folder / "index.csv").write_text(INDEX.replace("120", "late"))
    with pytest.raises(UserInputError, match="can't be read"):
        find_sources(folder)


def test_without_an_index_the_folder_is_one_speaker_and_some_clips_validate(tmp_path: Path) -> None:
    folder = touched(tmp_path / "anna", *(f"{letter}.mp4" for letter in "abcdefghijklmnopqrstuvwxyz"), "notes.txt")
    found = find_sources(folder)
    assert {source.speaker for source in found} == {"anna"}
    assert {source.split for source in found} == {"train", "validate"}
    assert {source.late_ms for source in found} == {None}
    assert {source.split for source in find_sources(folder, draw_split=False)} == {"train"}


def test_lrw_has_splits_of_its_own(tmp_path: Path) -> None:
    folder = touched(tmp_path, *(f"ABOUT/{split}/ABOUT_0000{number}.mp4" for number, split in
                                 enumerate(("train", "val", "test"))))
    assert layout_of(folder) == "lrw"
    found = {source.path.parent.name: source for source in find_sources(folder)}
    assert (found["train"].split, found["val"].split) == ("train", "validate")
    assert "kept back" in found["test"].reason
    assert len({source.speaker for source in found.values()}) == 3


def test_grid_names_speakers_by_folder(tmp_path: Path) -> None:
    folder = touched(tmp_path / "grid", "s1/bbaf2n.mp4", "s2/lgwr8p.mp4", "others/swiz3n.mp4")
    assert layout_of(folder) == "grid"
    assert {source.speaker for source in find_sources(folder)} == {"grid_s1", "grid_s2", "grid_swiz3n"}
    assert {source.late_ms for source in find_sources(folder)} == {0.0}


def test_people_of_a_crop_collection_validate_whole(tmp_path: Path) -> None:
    folder = touched(tmp_path, *(f"id{person:05}/video/{clip:05}.mp4" for person in range(40) for clip in range(3)))
    assert layout_of(folder) == "voxceleb"
    splits: dict[str, set[str]] = {}
    for source in find_sources(folder):
        splits.setdefault(source.speaker, set()).add(source.split)
    assert len(splits) == 40
    assert all(len(split) == 1 for split in splits.values())
    assert {"train", "validate"} == set.union(*splits.values())


def test_folders_of_nothing_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no folder"):
        find_all([tmp_path / "none"])
    with pytest.raises(UserInputError, match="no clip in"):
        find_all([tmp_path])
    same = [touched(tmp_path / place / "clips", "a.mp4") for place in "xy"]
    with pytest.raises(UserInputError, match="Two clips would be called clips_a"):
        find_all(same)


def half_work(source: Source, out: Path) -> Outcome:
    """A worker that can't use every other clip and notes what it was asked for."""
    with (out / "asked.txt").open("a") as stream:
        stream.write(source.name + "\n")
    good = source.path.stem in "aceg"
    return Outcome(source.name, str(source.path), source.speaker, source.split, READY if good else REJECTED, 2.0, 0.0,
                   math.nan, "" if good else f"{source.path} shows a face in only 12% of its frames; leave it out.")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_table_tells_of_every_clip_and_rejected_ones_are_not_tried_twice(tmp_path: Path, workers: int) -> None:
    sources = find_all([touched(tmp_path / "clips", *(f"{letter}.mp4" for letter in "abcdefgh"))])
    out, seen = tmp_path / "out", []
    rows = prepare_all(sources, out, workers=workers, worker=half_work, progress=lambda *at: seen.append(at))
    assert [row.status for row in rows] == [READY, REJECTED] * 4
    assert seen[-1] == (8, 8)
    with (out / "rejected.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["name"] for row in table] == ["clips_b", "clips_d", "clips_f", "clips_h"]
    assert reasons(rows) == [("the clip shows a face in only #% of its frames; leave it out.", 4)]
    if workers == 1:
        prepare_all(sources, out, workers=1, worker=half_work)
        assert (out / "asked.txt").read_text().count("clips_b") == 1
        prepare_all(sources, out, workers=1, worker=half_work, retry=True)
        assert (out / "asked.txt").read_text().count("clips_b") == 2


def test_when_nothing_can_be_used_one_sentence_says_why(tmp_path: Path) -> None:
    sources = find_all([touched(tmp_path / "clips", "b.mp4", "d.mp4")])
    with pytest.raises(UserInputError, match=r"None of the 2 clips .* only 12% of its frames"):
        prepare_all(sources, tmp_path / "out", workers=1, worker=half_work)


def test_an_unreadable_clip_is_rejected_and_a_surprise_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    source = Source(touched(tmp_path, "a.mp4") / "a.mp4", "a", "anna", "train")
    row = prepare_one(source, tmp_path, Tools(face(), None))
    assert row.status == REJECTED
    assert "a.mp4" in row.reason
    monkeypatch.setattr("ml_backend.prepare.clip.probe", lambda path: 1 / 0)
    assert prepare_one(source, tmp_path, Tools(face(), None)).status == FAILED


def weights_that_hear() -> MotionWeights:
    """Weights whose network gives away the loudness: opening follows it, whatever else happens."""
    network = tiny().eval()
    return MotionWeights(network, statistics(), np.ones(len(NAMES), np.float32), np.eye(len(NAMES), dtype=np.float32))


@pytest.mark.parametrize("lag", [0, 5, -7])
def test_a_delay_is_measured_and_made_good(lag: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = shard(12, 3, "train")
    heard = np.zeros((len(one), len(NAMES) + 6), np.float32)
    heard[:, -8:-6] = np.roll(one.measures, lag, 0)
    monkeypatch.setattr(agreement, "run", lambda network, steps: heard)
    found = offset.measure(one, weights_that_hear())
    assert found.late_ms == pytest.approx(lag * 40, abs=15)
    assert found.sync > 0.8
    late = replace(one, speech=np.roll(one.speech, lag * 640))
    back = offset.without_delay(late, lag * 40.0)
    middle = slice(10 * 640, -10 * 640)
    assert (back.speech[middle] == one.speech[middle]).all()


def test_short_clips_are_taken_to_be_in_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    one = shard(1.2, 3, "train")
    monkeypatch.setattr(agreement, "run", lambda network, steps: np.ones((len(one), len(NAMES) + 6), np.float32))
    assert offset.measure(one, weights_that_hear()).late_ms == 0


def live_link(path: Path, seconds: int, names: list[str]) -> Path:
    """A table as the app writes it, 60 a second, every channel at half, the first one rising."""
    rows = [f"Timecode,BlendShapeCount,{','.join(names)}"]
    count = seconds * 60
    rows += [f"10:00:{index // 60:02}:{index % 60:02}.123,{len(names)}," + ",".join(
        [f"{index / count:.4f}", *["0.5"] * (len(names) - 1)]) for index in range(count)]
    path.write_text("\n".join(rows))
    return path


def test_live_link_tables_become_shards_that_say_what_they_don_t_know(tmp_path: Path) -> None:
    table = live_link(tmp_path / "take.csv", 4, ["JawOpen", "MouthStretchLeft", "HeadYaw"])
    (source,) = find_sources(tmp_path)
    assert source.channels == "livelink"
    assert "no sound" in source.reason
    (tmp_path / "take.wav").touch()
    assert find_sources(tmp_path)[0].reason == ""
    given = channels.read_live_link(table)
    assert given.fps == 60
    made = channels.make_shard(given, speech(np.zeros(64000, np.float32)), face(), speaker="x", split="train")
    assert len(made) == 100
    assert made.expression[50, 0] == pytest.approx(0.5, abs=0.02)
    assert made.known.sum() == 2
    targets = standardise(made, statistics(), TINY)
    assert np.isnan(targets[:, 2:]).all()
    assert np.isfinite(targets[:, :2]).all()
    shards.save(made, tmp_path / "shard.npz")
    assert (shards.load(tmp_path / "shard.npz").known == made.known).all()
    table.write_text("Timecode,BlendShapeCount,JawOpen\n10:00:00:00.0,1,much\n")
    with pytest.raises(UserInputError, match="no readable table"):
        channels.read_live_link(table)


def test_facegood_weights_are_resampled_by_time(tmp_path: Path) -> None:
    rig = sorted({name for names in channels.FACEGOOD.values() for name in names})
    values = np.zeros((90, len(rig)), np.float16)
    values[:, rig.index("mouth_stretch_c")] = np.linspace(0, 0.9, 90)
    np.savez(tmp_path / "blendshape_weights.npz", names=np.array(rig), weights_a=values)
    touched(tmp_path, "a.flac", "b.flac")
    assert layout_of(tmp_path) == "facegood"
    given = channels.read_facegood(tmp_path / "blendshape_weights.npz", tmp_path / "a.flac")
    sound = Speech(np.zeros(48000, np.float32), 16000, 3.0)
    made = channels.make_shard(given, sound, face(), speaker="x", split="train")
    assert len(made) == 75
    assert made.expression[50, 0] == pytest.approx(0.9 * 2 * 30 / 89, abs=0.01)
    with pytest.raises(UserInputError, match="no readable weights of b"):
        channels.read_facegood(tmp_path / "blendshape_weights.npz", tmp_path / "b.flac")
