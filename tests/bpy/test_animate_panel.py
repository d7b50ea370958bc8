"""*Animate* with the real worker, from the sound on the timeline to keys; *Film*'s options; files and faults."""

from __future__ import annotations

import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import compat, heads, keyframes, layers, scene, sound, speech, worker  # noqa: E402
from addon.core import backend_setup, jobs, performance  # noqa: E402
from addon.core.errors import UserInputError  # noqa: E402
from addon.core.performance import Performance  # noqa: E402
from addon.features.animate import operators as animate  # noqa: E402
from addon.features.film import operators as film  # noqa: E402
from ml_backend.audio.load import load_speech  # noqa: E402
from ml_backend.config import sample_speech  # noqa: E402

FAKE = Path(__file__).parents[1] / "core" / "fake_worker.py"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bpy.types.Scene]:
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PARLEY_PYTHON", sys.executable)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scene.empty_file()
    addon.register()
    yield bpy.context.scene
    addon.unregister()
    scene.empty_file()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "words äöü.wav"
    samples = load_speech(sample_speech()).samples[:16000 * 2]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_one_press_animates_beside_the_artists_keys(opened: bpy.types.Scene, words: Path) -> None:
    assert bpy.ops.parley.add_head() == {"FINISHED"}
    head = heads.current(bpy.context)
    compat.assign_action(head.keys, "Hand")
    keyframes.write_curve(head.keys, 'key_blocks["browInnerUp"].value', 0, "x", np.array([1, 9]), np.array([0.4, 0.5]))
    mine = head.keys.animation_data.action
    before = layers.fingerprint(mine)
    opened.render.fps, opened.render.fps_base = 30, 1.001
    opened.parley_speech.filepath, opened.parley_speech.start = str(words), 101
    for seed in (0, 1, 1):
        opened.parley_performance.seed = seed
        assert bpy.ops.parley.animate() == {"FINISHED"}
    assert layers.fingerprint(mine) == before and head.keys.animation_data.action == mine
    assert {action.name for action in bpy.data.actions} == {"Hand", layers.SPEECH, layers.EYES, layers.HEAD}
    points = compat.action_curves(bpy.data.actions[layers.SPEECH])[0].keyframe_points
    assert (points[0].co[0], points[-1].co[0]) == (101, 101 + int(49 / 25 * 30 / 1.001 + 1e-3))
    assert worker.outcome().text.startswith("Keyed 2.0 s of speech") and not worker.outcome().error
    opened.frame_set(130)
    assert max(head.keys.key_blocks[name].value for name in ("jawOpen", "mouthFunnel", "mouthLowerDownLeft")) > 0
    assert Path(opened.parley_performance.last).is_file()
    if sound.possible():
        opened.parley_speech.start = 201
        assert bpy.ops.parley.animate() == {"FINISHED"}
        assert [round(compat.strip_frames(strip)[0]) for strip in compat.all_sound_strips(opened)] == [201]
        assert [strip.frame_start for strip in head.keys.animation_data.nla_tracks[0].strips] == [201]


def test_a_cancel_and_a_crash_change_nothing(opened: bpy.types.Scene, words: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    bpy.ops.parley.add_head()
    opened.parley_speech.filepath = str(words)
    started = worker.start
    before = {action.name for action in bpy.data.actions}

    def cancelled(*words: object) -> None:
        started(*words)  # type: ignore[arg-type]
        assert bpy.ops.parley.cancel() == {"FINISHED"}

    monkeypatch.setattr(worker, "start", cancelled)
    with pytest.raises(RuntimeError, match="Animate was stopped; nothing in the scene was changed"):
        bpy.ops.parley.animate()
    monkeypatch.undo()
    monkeypatch.setenv("PARLEY_PYTHON", sys.executable)
    monkeypatch.setattr(worker, "worker_command", lambda path: [path, str(FAKE), "crash"])
    with pytest.raises(RuntimeError, match="ended in the middle of the job"):
        bpy.ops.parley.animate()
    assert {action.name for action in bpy.data.actions} == before
    keyed = heads.current(bpy.context).keys.animation_data
    assert keyed.action is None and not keyed.nla_tracks


def test_the_reason_of_a_grey_button(opened: bpy.types.Scene, words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = lambda: animate.PARLEY_OT_animate.disabled_reason(bpy.context)  # noqa: E731
    assert "The scene has no Parley head; add one in the section Character, or select your own mesh" in reason()
    with pytest.raises(RuntimeError, match="no Parley head"):
        bpy.ops.parley.animate()
    bpy.ops.parley.add_head()
    assert reason() == "There is no sound file; choose one."
    opened.parley_speech.filepath = "/nowhere/a.wav"
    assert "sound file is missing: /nowhere/a.wav" in reason()
    opened.parley_speech.source = "STRIP"
    assert "no sound strip; add one" in reason()
    opened.parley_speech.source = "SAMPLE"
    assert reason() is None
    opened.parley_performance.person = "/nowhere/b.mp4"
    assert "person's clip is missing" in reason()
    opened.parley_performance.person = ""
    monkeypatch.delenv("PARLEY_PYTHON")
    assert reason() is None, "the instant engine needs no backend"
    opened.parley_performance.engine = "BACKEND"
    assert "The backend is not set up" in reason()
    monkeypatch.setenv("PARLEY_PYTHON", "/nowhere/python")
    assert "interpreter is missing: /nowhere/python" in reason()
    opened.parley_speech.use_range, opened.parley_speech.range_start, opened.parley_speech.range_end = True, 9, 3
    assert "ends before it starts" in reason()
    bpy.ops.parley.add_head()
    bpy.context.view_layer.objects.active = None
    assert "2 Parley heads; select" in reason()


def strip(**changes: object) -> SimpleNamespace:
    held = {"name": "Line", "type": "SOUND", "frame_start": 40.0, "frame_final_start": 50.0, "frame_final_end": 90.0,
            "frame_duration": 100, "retiming_keys": [],
            "sound": SimpleNamespace(filepath="/nowhere/a.wav", library=None, packed_file=None)}
    return SimpleNamespace(**{**held, **changes})


def test_a_strip_is_read_with_its_cut(opened: bpy.types.Scene, tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"sound of the strip Line is missing: /nowhere/a\.wav"):
        speech.of_strip(strip(), None)
    with pytest.raises(UserInputError, match="has no sound"):
        speech.of_strip(strip(sound=None), None)
    packed = SimpleNamespace(filepath="//a.flac", library=None, packed_file=SimpleNamespace(data=b"fLaC"))
    found = speech.of_strip(strip(sound=packed), tmp_path / "job")
    assert found.path and found.path.read_bytes() == b"fLaC" and found.path.suffix == ".flac"
    assert (found.start, found.window, found.take) == (40.0, (50, 89), "strip:Line")
    keys = [SimpleNamespace(timeline_frame=40), SimpleNamespace(timeline_frame=90)]
    with pytest.raises(UserInputError, match="retimed"):
        speech.of_strip(strip(sound=packed, retiming_keys=keys), None)


@pytest.mark.skipif(not sound.possible(), reason="this Blender has no sound")
def test_a_real_strip_is_animated_at_its_place(opened: bpy.types.Scene, words: Path) -> None:
    bpy.ops.parley.add_head()
    opened.render.fps = 24
    made = compat.sound_strips(opened).new_sound("Line", str(words), 1, 60)
    made.frame_final_start = 72
    opened.parley_speech.source = "STRIP"
    assert bpy.ops.parley.animate() == {"FINISHED"}
    points = compat.action_curves(bpy.data.actions[layers.SPEECH])[0].keyframe_points
    assert points[0].co[0] == 72 and points[-1].co[0] <= 60 + 2 * 24
    assert len(compat.all_sound_strips(opened)) == 1


def test_a_head_deleted_meanwhile_costs_nothing(opened: bpy.types.Scene, files) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)was deleted meanwhile.*Load Performance"):
        bpy.ops.parley.apply_performance(filepath=str(files.performance), scene=opened.name, head="Gone", take="x")
    kept = list((worker.data_folder() / "performances").glob("*.npz"))
    assert len(kept) == 1 and kept[0].read_bytes() == files.performance.read_bytes()


def test_a_sound_that_is_gone_does_not_cost_the_keys(opened: bpy.types.Scene, files) -> None:
    bpy.ops.parley.add_head()
    assert bpy.ops.parley.apply_performance(filepath=str(files.performance), scene=opened.name, take="x",
                                            head=heads.current(bpy.context).empty.name, speech="/nowhere/a.wav"
                                            ) == {"FINISHED"}
    assert bpy.data.actions[layers.SPEECH] and opened.parley_performance.last == str(files.performance)
    if sound.possible():
        assert "not on the sequencer" in worker.outcome().notes[0]


def test_settings_survive_the_file_and_know_their_version(opened: bpy.types.Scene, tmp_path: Path) -> None:
    assert opened.parley_speech.version == 0
    opened.parley_performance.emotion, opened.parley_speech.start = "happy", 77
    path = tmp_path / "a.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    scene.empty_file()
    assert bpy.context.scene.parley_speech.start == 1
    bpy.ops.wm.open_mainfile(filepath=str(path))
    kept = bpy.context.scene
    assert (kept.parley_performance.emotion, kept.parley_speech.start, kept.parley_speech.version) == ("happy", 77, 2)


def test_an_older_file_is_migrated(opened: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from addon.features.animate import properties

    def later(item: bpy.types.Scene) -> None:
        item.parley_speech.start += 10

    monkeypatch.setattr(properties, "VERSION", 3)
    monkeypatch.setattr(properties, "MIGRATIONS", {1: later, 2: later})
    opened.parley_speech.version, opened.parley_speech.start = 1, 5
    properties.migrate()
    assert (opened.parley_speech.version, opened.parley_speech.start) == (3, 25)
    fresh = bpy.data.scenes.new("fresh")
    properties.migrate()
    assert (fresh.parley_speech.version, fresh.parley_speech.start) == (0, 1)


def test_another_file_stops_the_job(opened: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "worker_command", lambda path: [path, str(FAKE), "hang"])
    worker.start("animate", {}, "Animate", lambda job: "never")
    assert worker.runner().busy
    scene.empty_file()
    assert not worker.runner().busy and worker.outcome().error == "Animate was stopped: another file was opened."
    assert worker.runner().state is jobs.State.IDLE


def test_the_films_options(opened: bpy.types.Scene, words: Path, tmp_path: Path) -> None:
    settings, reason = opened.parley_film, film.PARLEY_OT_render_film.disabled_reason
    opened.parley_speech.filepath, opened.parley_speech.text = str(words), " Hello. "
    assert "relative to a file that is not saved" in (reason(bpy.context) or "")
    settings.output = str(tmp_path / "film.mov")
    assert reason(bpy.context) is None
    opened.parley_performance.head_yaw, opened.parley_performance.pose = 0.5, "still"
    options = film.film_options(opened, film.output(opened))
    assert options["pose_amount"] == "pitch=1,yaw=0.5,roll=1" and options["pose"] == "still"
    assert (options["text"], options["size"], options["refine"], options["speech"]) == ("Hello.", 512, True, str(words))
    assert options["scene"].endswith("film.blend") and "target" not in options
    settings.preview = True
    options = film.film_options(opened, film.output(opened))
    assert options["out"].endswith("film_preview.mov") and (options["size"], options["refine"]) == (256, False)
    assert "scene" not in options
    settings.output = "film.gif"
    assert "must end in .mp4" in (reason(bpy.context) or "")
    settings.output, settings.target = str(tmp_path / "film.mp4"), str(words)
    opened.parley_performance.pose = "other"
    with pytest.raises(UserInputError, match="no clip for the head's motion"):
        film.film_options(opened, film.output(opened))
    from ml_backend import worker_commands

    opened.parley_performance.pose = "clip"
    asked = worker_commands.spoken(film.film_options(opened, film.output(opened)), "talk")
    assert asked.pose == "clip" and asked.head.amount.yaw == 0.5 and asked.target == words


def test_the_backend_is_checked(opened: bpy.types.Scene) -> None:
    from addon.features.setup import operators as setup

    assert setup.PARLEY_OT_copy_report.disabled_reason(bpy.context) == "There is no report yet; press Check."
    assert bpy.ops.parley.check_backend(probe=False) == {"FINISHED"}
    assert f"Blender {bpy.app.version_string}" in setup.report() and "Parley 0.1.0" in setup.report()
    assert str(Path.home()) not in setup.report()


def test_private_paths_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    text = r"/home/ada/x /home/bob/y C:\Users\Ada Lovelace\z"
    assert backend_setup.masked(text).startswith("~/x /home/…/y C:\\Users\\…")


def test_a_mesh_of_the_users_own_is_animated(opened: bpy.types.Scene, words: Path) -> None:
    mesh = bpy.data.meshes.new("Mine")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    item = bpy.data.objects.new("Mine", mesh)
    opened.collection.objects.link(item)
    for name in ("Basis", "JawOpen", "mouth_smile_left", "MouthSmile_R", "eyeBlinkLeft", "eyeBlinkRight"):
        block = item.shape_key_add(name=name, from_mix=False)
        block.value = 0
        block.data[2].co.y += 0.1
    item.select_set(True)
    bpy.context.view_layer.objects.active = item
    opened.parley_speech.filepath, opened.parley_speech.start = str(words), 31
    assert "no Parley head" in (animate.PARLEY_OT_animate.disabled_reason(bpy.context) or "")
    assert bpy.ops.parley.retarget_auto_map() == {"FINISHED"}
    assert animate.PARLEY_OT_animate.disabled_reason(bpy.context) is None
    for _ in range(2):
        assert bpy.ops.parley.animate() == {"FINISHED"}
    (track,) = mesh.shape_keys.animation_data.nla_tracks
    assert [strip.frame_start for strip in track.strips] == [31] and len(bpy.data.actions) == 1
    values = []
    for frame in range(31, 80, 4):
        opened.frame_set(frame)
        values.append(mesh.shape_keys.key_blocks["JawOpen"].value)
    assert max(values) > 0.05


def test_loading_a_performance_spares_the_artists_action(opened: bpy.types.Scene, tmp_path: Path) -> None:
    bpy.ops.parley.add_head()
    head = heads.current(bpy.context)
    compat.assign_action(head.keys, "Hand")
    values = np.full((5, 1), 0.5, np.float32)
    act = Performance(np.arange(5) / 25, values, ["jawOpen"], np.zeros((5, 6), np.float32), {})
    performance.save(act, tmp_path / "a.npz")
    assert bpy.ops.parley.load_performance(filepath=str(tmp_path / "a.npz")) == {"FINISHED"}
    assert head.keys.animation_data.action == bpy.data.actions["Hand"]
    opened.frame_set(3)
    assert head.keys.key_blocks["jawOpen"].value == pytest.approx(0.5)
