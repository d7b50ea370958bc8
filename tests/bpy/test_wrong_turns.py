"""What users do that nobody planned: files moved, linked and saved at odd moments. One sentence, and no loss."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import amounts, heads, layers, scene, speech, strips, worker  # noqa: E402
from addon.core import backend_setup, manual, probe  # noqa: E402
from addon.core.errors import UserInputError  # noqa: E402
from addon.features.animate import operators as animate  # noqa: E402
from addon.features.animate import properties  # noqa: E402
from addon.features.setup import operators as setup  # noqa: E402
from tests import fixtures  # noqa: E402

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).parents[1] / "core" / "fake_worker.py"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bpy.types.Scene]:
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PARLEY_PYTHON", sys.executable)
    scene.empty_file()
    addon.register()
    bpy.context.scene.parley_performance.engine = "BACKEND"
    yield bpy.context.scene
    addon.unregister()
    scene.empty_file()


def head_of(files: fixtures.Files) -> None:
    bpy.ops.parley.import_head(filepath=str(files.character), face_model_path=str(files.face_model))


def reason() -> str:
    return animate.PARLEY_OT_animate.disabled_reason(bpy.context) or ""


def test_a_linked_head_wants_an_override(opened: bpy.types.Scene, files: fixtures.Files, tmp_path: Path) -> None:
    head_of(files)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "heads.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "heads.blend"), link=True) as (_, here):
        here.objects = ["Parley Face", "Parley Head"]
    for item in here.objects:
        bpy.context.scene.collection.objects.link(item)
    bpy.context.scene.parley_speech.source = "SAMPLE"
    assert "is linked from" in reason() and "library override" in reason()
    with pytest.raises(RuntimeError, match="library override"):
        bpy.ops.parley.animate()


def test_an_overridden_head_is_keyed_without_drivers(opened: bpy.types.Scene, files: fixtures.Files,
                                                     tmp_path: Path) -> None:
    head_of(files)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "heads.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "heads.blend"), link=True) as (_, here):
        here.objects = ["Parley Face", "Parley Head"]
    face, empty = here.objects
    own_empty, own_face = (item.override_create(remap_local_usages=True) for item in (empty, face))
    own_face.data.override_create(remap_local_usages=True)
    own_face.parent = own_empty
    for item in (own_face, own_empty):
        bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = own_face
    assert bpy.ops.parley.load_performance(filepath=str(files.performance)) == {"FINISHED"}
    assert not amounts.live(own_face.data.shape_keys) and strips.parleys(own_face.data.shape_keys)


def test_a_sound_left_behind_when_the_file_moved(opened: bpy.types.Scene, files: fixtures.Files,
                                                 tmp_path: Path) -> None:
    head_of(files)
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    (old / "line.wav").write_bytes(b"RIFF")
    bpy.ops.wm.save_as_mainfile(filepath=str(old / "a.blend"))
    opened.parley_speech.filepath = "//line.wav"
    assert reason() == ""
    bpy.ops.wm.save_mainfile()
    shutil.move(old / "a.blend", new / "a.blend")
    bpy.ops.wm.open_mainfile(filepath=str(new / "a.blend"))
    assert "sound file is missing" in reason() and "choose another, or put it back" in reason()
    item = SimpleNamespace(name="Line", frame_start=1.0, frame_final_start=1.0, frame_final_end=9.0, frame_duration=8,
                           sound=SimpleNamespace(filepath="//line.wav", library=None, packed_file=None))
    with pytest.raises(UserInputError, match="Find Missing Files"):
        speech.of_strip(item, None)


def test_a_file_saved_in_the_middle_of_a_job(opened: bpy.types.Scene, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "worker_command", lambda path: [path, str(FAKE), "hang"])
    worker.start("animate", {}, "Animate", lambda job: "never")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    assert worker.runner().busy, "saving stops nothing"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert not worker.runner().busy and worker.outcome().error == "Animate was stopped: another file was opened."
    assert worker.busy_reason() is None, "the saved file does not believe that a job runs"


def test_check_works_after_the_instant_engine(opened: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.start_thread(lambda report: {}, "Solve", lambda job: "", [])
    worker.wait()
    monkeypatch.setenv("PARLEY_PYTHON", "")
    assert bpy.ops.parley.check_backend(probe=False) == {"FINISHED"}
    assert "The backend is not set up" in setup.report() and "EEVEE           was not tested" in setup.report()


def test_two_blenders_share_no_file(opened: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = worker.job_folder()
    monkeypatch.setattr(worker._state, "folder", None)
    assert worker.job_folder() != mine and mine.is_dir()
    assert str(worker._worker_runner().log).endswith(f"worker-{__import__('os').getpid()}.log")


def test_tweak_mode_is_named(opened: bpy.types.Scene, files: fixtures.Files) -> None:
    head_of(files)
    opened.parley_speech.source = "SAMPLE"
    bpy.ops.parley.load_performance(filepath=str(files.performance))
    data = heads.current(bpy.context).keys.animation_data
    data.use_tweak_mode = True
    if data.use_tweak_mode:
        assert "tweak mode; leave it (Tab)" in reason()


def test_an_older_file_keeps_its_baked_amounts(opened: bpy.types.Scene, files: fixtures.Files) -> None:
    head_of(files)
    opened.parley_performance.live = False
    bpy.ops.parley.load_performance(filepath=str(files.performance))
    opened.parley_performance.live, opened.parley_speech.version = True, 1
    properties.migrate()
    assert not opened.parley_performance.live and opened.parley_speech.version == 2
    fresh = bpy.data.scenes.new("Fresh")
    fresh.parley_speech.version = 1
    properties.migrate()
    assert fresh.parley_performance.live


def test_amounts_are_made_live_and_freed_by_buttons(opened: bpy.types.Scene, files: fixtures.Files) -> None:
    head_of(files)
    assert animate.PARLEY_OT_free_sliders.disabled_reason(bpy.context) == "The sliders are free."
    bpy.ops.parley.load_performance(filepath=str(files.performance))
    assert animate.PARLEY_OT_make_amounts_live.disabled_reason(bpy.context) == "The amounts are live."
    for name, live in (("free_sliders", False), ("make_amounts_live", True)):
        assert getattr(bpy.ops.parley, name)() == {"FINISHED"}
        assert bool(amounts.live(heads.current(bpy.context).keys)) == live == opened.parley_performance.live
    assert all(layers.owned(action) for action in bpy.data.actions)


def test_the_manual_is_complete(opened: bpy.types.Scene) -> None:
    text = (ROOT / "addon" / "help.md").read_text(encoding="utf-8")
    made = setup.manual_page().read_text(encoding="utf-8")
    for panel in ("Character", "Speech", "Performance", "Amounts", "Manner", "Retarget", "Film", "Export"):
        assert f">{panel}" in made, f"the manual lacks {panel}"
    pictures = sorted((ROOT / "addon" / "help").glob("*.png"))
    assert made.count("<img") == len(pictures) >= 4 and all(picture.as_uri() in made for picture in pictures)
    assert sum(picture.stat().st_size for picture in pictures) < 200_000
    assert "**" not in made and "|" not in made and "![" not in made and text.startswith("# ")
    assert manual.page("# A\n\na `<b>` *i*\n\n- x\n- y", ROOT).count("<li>") == 2


@pytest.mark.parametrize(("said", "advice"), [
    ("ERROR: Could not find a version that satisfies torch", "choose Python 3.11 or 3.12"),
    ("Temporary failure in name resolution", "Check the network"), ("OSError: No space left on device", "Free some"),
    ("ensurepip is not available", "python3-venv"), ("something else", "Press the button again")])
def test_a_failed_setup_says_what_to_do(said: str, advice: str) -> None:
    assert advice in backend_setup.advice(said)


def test_a_program_that_draws_nothing_is_no_eevee(tmp_path: Path) -> None:
    found = probe.Probe([sys.executable, "-c", "print('PARLEY PROBE 0.0')", "x"], "BLENDER_EEVEE")
    found.wait()
    assert "does not draw here" in found.text and "Workbench" in found.text
    assert "could not be tested" in probe.Probe([str(tmp_path / "none")], "BLENDER_EEVEE").text
    hung = probe.Probe([sys.executable, "-c", "import time; time.sleep(60)", "x"], "BLENDER_EEVEE")
    assert hung.tick()
    hung.cancel()
    assert not hung.running and hung.text == "was not tested"
    drawn = probe.Probe([sys.executable, "-c", "print('PARLEY PROBE 1.0')", "x"], "BLENDER_EEVEE")
    drawn.wait()
    assert drawn.text.startswith("draws")
