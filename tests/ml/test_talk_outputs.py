"""What `parley talk` makes beside the film: its options, the preview's frames, the last lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.errors import UserInputError
from ml_backend.talk import preview
from ml_backend.talk.options import TalkOptions, check
from ml_backend.talk.summary import summary
from tests.ml.clips import grey, write_clip, write_sound


def options(folder: Path, **more: object) -> TalkOptions:
    speech = write_sound(folder / "speech.wav", np.zeros(16000))
    return TalkOptions(**{"speech": speech, "target": None, "out": folder / "film.mp4", **more})


@pytest.mark.parametrize(("name", "value", "text"), [
    ("out", "film.avi", "--out .* must end in .mp4"), ("crop", "crop.gif", "--crop .* must end in .mp4"),
    ("cue_sheet", "cues.txt", "must end in .csv"), ("preview", "look.jpg", "must end in .png"),
    ("crop", "crop.mp4", "without --target"), ("scene", "film.mp4", "must end in .blend"),
    ("cue_sheet", "speech.csv", "is one of the inputs"), ("frames", ".", "holds files that are not Parley's"),
])
def test_outputs_that_cannot_be(tmp_path: Path, name: str, value: str, text: str) -> None:
    given = options(tmp_path, **{name: tmp_path / value})
    if value == "speech.csv":
        given = options(tmp_path, cue_sheet=tmp_path / value, speech=tmp_path / value)
        (tmp_path / value).write_text("no sound")
    with pytest.raises(UserInputError, match=text):
        check(given)


@pytest.mark.parametrize(("name", "value"), [("motion_blur", -1.0), ("motion_blur", 3.0), ("processes", -1)])
def test_numbers_out_of_range(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(UserInputError, match="--"):
        check(options(tmp_path, **{name: value}))


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    target = write_clip(tmp_path / "clip.mp4", [grey(9)], [0.0])
    with pytest.raises(UserInputError, match="another name"):
        check(options(tmp_path, target=target, crop=tmp_path / "film.mp4"))


def test_a_preview_shows_the_strip_then_middle_and_end(tmp_path: Path) -> None:
    assert preview.choose(137).tolist() == [*range(50), 68, 136]
    assert preview.choose(3).tolist() == [0, 1, 2, 1, 2]
    asked = preview.without_the_rest(options(tmp_path, preview=tmp_path / "look.png", scene=tmp_path / "a.blend"))
    assert asked.scene is None and not asked.refine
    assert asked.products == [tmp_path / "look.png", tmp_path / "look.mp4"]


def report(**more: object) -> dict:
    return {"film": {"seconds": 5.48}, "stages": {}, "warnings": [],
            "seconds": {"total": 80.4, "this_run": {"frames_rgba": 60.0, "fit_rgba": 8.0, "film": 2.0, "motion": 0.0}},
            "peak_memory_mib": {"backend": 700, "blender": 1434}, **more}


def test_the_last_lines_say_what_where_how_good_and_what_it_cost(tmp_path: Path) -> None:
    lines = summary(report(), options(tmp_path, scene=tmp_path / "film.blend"), (512, 512))
    assert len(lines) == 3 and "5.5 s, 512 × 512" in lines[0]
    assert lines[1].startswith("Scene: ") and str(tmp_path / "film.take") in lines[1]
    assert lines[2] == "Time: 80 s (rendering 68 s, writing 2.0 s); memory: 1.4 GB at most."
    stages = {"track": {"found": 0.98, "frames": 300}, "personalise": {"kept": True, "before": 0.5, "after": 0.61},
              "refiner": {"pass_through": False, "before": {"psnr": 34.0}, "after": {"psnr": 35.1}},
              "plates": {"plates_used": 120}}
    lines = summary(report(stages=stages, warnings=["one"]), options(tmp_path), None)
    assert len(lines) == 5 and lines[4].startswith("1 note above")
    assert lines[2] == ("Quality: face found in 98 % of 300 frames; lips of the clip's unseen end r 0.50 → 0.61; its "
                        "unseen frames 34.0 → 35.1 dB refined; 120 of the clip's frames behind the face.")
