"""The whole way: the built-in head's film becomes a clip of a person, and that person speaks again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ml_backend.audio.load import load_speech
from ml_backend.cli import main
from ml_backend.config import motion_weights, sample_speech
from tests.ml.test_cli import write_wav

SIZE = 256
SILENCE, SPEECH = 1.0, 1.6
INNER_UP, INNER_LOW, EYE_RIGHT, EYE_LEFT = 13, 14, 33, 263

INSPECT = """
import bpy, json, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
heads = [o for o in bpy.data.objects if o.type == "MESH" and o.data.shape_keys]
blocks = heads[0].data.shape_keys
def curves(owner):
    bag = owner.animation_data.action.layers[0].strips[0].channelbags[0]
    return {c.data_path + str(c.array_index): len(c.keyframe_points) for c in bag.fcurves}
scene = bpy.context.scene
missing = [i.filepath for i in bpy.data.images if i.source in ("FILE", "SEQUENCE") and not i.packed_file
           and not __import__("os").path.exists(bpy.path.abspath(i.filepath))]
print("REPORT" + json.dumps({
    "heads": len(heads), "keys": len(blocks.key_blocks), "face": curves(blocks),
    "pose": max((sum(curves(o).values()) for o in bpy.data.objects
                 if o.type == "EMPTY" and o.animation_data and o.animation_data.action), default=0),
    "camera": scene.camera is not None, "end": scene.frame_end, "start": scene.frame_start,
    "sounds": [s.type for s in scene.sequence_editor.strips_all], "missing": missing,
    "absolute": [i.filepath for i in bpy.data.images if i.source in ("FILE", "SEQUENCE") and i.filepath
                 and not i.packed_file and not i.filepath.startswith("//")]}))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("talk")


@pytest.fixture(scope="module")
def speech(place: Path) -> Path:
    """A second of silence, then some of the bundled sample."""
    samples = load_speech(sample_speech()).samples
    voice = samples[: int(SPEECH * 16000)]
    return write_wav(place / "Rede äöü.wav", np.concatenate([np.zeros(int(SILENCE * 16000)), voice]))


@pytest.fixture(scope="module")
def clip(place: Path, speech: Path) -> Path:
    """The built-in head speaking: real video with sound."""
    film = place / "a clip.mp4"
    assert main(["talk", "--speech", str(speech), "--out", str(film), "--size", str(SIZE), "--seed", "3"]) == 0
    return film


@pytest.fixture(scope="module")
def film(place: Path, speech: Path, clip: Path) -> Path:
    """The person of the clip says the speech."""
    out = place / "film.mp4"
    code = main(
        [
            *("talk", "--speech", str(speech), "--target", str(clip), "--out", str(out), "--size", str(SIZE)),
            *("--scene", str(place / "scene.blend"), "--refine-minutes", "0.3"),
        ]
    )
    assert code == 0
    return out


def check_streams(path: Path, size: tuple[int, int]) -> None:
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.codec_context.name == "h264"
        assert audio.codec_context.name == "aac"
        assert video.average_rate == 25
        assert (video.width, video.height) == size
        assert abs(video.frames - round((SILENCE + SPEECH) * 25)) <= 1
        assert float(audio.duration * audio.time_base) == pytest.approx(SILENCE + SPEECH, abs=0.06)


def openings(path: Path) -> np.ndarray:
    """(T,) inner-lip opening in interocular distances, measured on the film's pictures; NaN where no face is found."""
    import mediapipe as mp

    capture = cv2.VideoCapture(str(path))
    found = []
    with mp.solutions.face_mesh.FaceMesh(refine_landmarks=True) as mesh:
        while True:
            more, picture = capture.read()
            if not more:
                return np.array(found)
            result = mesh.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).multi_face_landmarks
            if not result:
                found.append(np.nan)
                continue
            points = np.array([[p.x, p.y] for p in result[0].landmark])
            gap = np.linalg.norm(points[INNER_UP] - points[INNER_LOW])
            found.append(gap / np.linalg.norm(points[EYE_RIGHT] - points[EYE_LEFT]))


def check_mouth(path: Path) -> None:
    opening = openings(path)
    assert np.isfinite(opening).mean() > 0.95
    silent, spoken = opening[3 : int(SILENCE * 25) - 4], opening[int(SILENCE * 25) + 3 :]
    assert np.nanmax(silent) < 0.05, "the mouth must stay shut in silence"
    assert np.nanstd(silent) < 0.01
    assert np.nanmax(spoken) > np.nanmax(silent) + 0.04, "the mouth must open in speech"
    assert np.nanstd(spoken) > 3 * np.nanstd(silent)


def test_the_built_in_head_speaks(clip: Path) -> None:
    check_streams(clip, (SIZE, SIZE))
    check_mouth(clip)
    assert clip.with_name("a clip_sheet.png").exists()


def test_the_person_of_the_clip_speaks(film: Path) -> None:
    check_streams(film, (SIZE, SIZE))
    check_mouth(film)


def test_the_report_tells_times_and_memory(film: Path) -> None:
    report = json.loads((film.with_suffix(".take") / "report.json").read_text())
    assert {"frames", "track", "motion", "plates", "frames_rgba", "film"} <= set(report["seconds"]["stages"])
    assert 0 < report["peak_memory_mib"]["backend"] < 6 * 1024
    assert report["film"]["frames"] == round((SILENCE + SPEECH) * 25)


def test_the_scene_opens_with_its_keys(film: Path, place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INSPECT, str(place / "scene.blend")], capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("REPORT")), None)
    assert line is not None, done.stderr
    found = json.loads(line.removeprefix("REPORT"))
    frames = round((SILENCE + SPEECH) * 25)
    assert found["heads"] == 1
    assert found["keys"] == 54  # the basis, 52, the tongue's path
    assert len(found["face"]) == 52
    assert set(found["face"].values()) == {frames}
    assert found["pose"] == 6 * frames
    assert found["camera"]
    assert (found["start"], found["end"]) == (1, frames)
    assert "SOUND" in found["sounds"]
    assert not found["missing"]
    assert not found["absolute"]


def test_the_same_command_does_no_work_again(film: Path, place: Path, speech: Path, clip: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in film.with_suffix(".take").rglob("*.png")}
    code = main(
        [
            *("talk", "--speech", str(speech), "--target", str(clip), "--out", str(film), "--size", str(SIZE)),
            *("--scene", str(place / "scene.blend"), "--refine-minutes", "0.3"),
        ]
    )
    assert code == 0
    report = json.loads((film.with_suffix(".take") / "report.json").read_text())
    assert set(report["seconds"]["this_run"].values()) == {0.0}
    assert before == {path: path.stat().st_mtime_ns for path in film.with_suffix(".take").rglob("*.png")}


def test_an_edited_scene_is_not_overwritten(film: Path, place: Path, speech: Path, clip: Path, capsys) -> None:
    scene = place / "scene.blend"
    original = scene.read_bytes()
    scene.write_bytes(original + b"edited")
    words = ["talk", "--speech", str(speech), "--target", str(clip), "--out", str(film), "--size", str(SIZE)]
    assert main([*words, "--scene", str(scene), "--seed", "9"]) == 2
    assert "was changed" in capsys.readouterr().err
    assert scene.read_bytes() == original + b"edited"
    scene.write_bytes(original)


def test_a_clip_too_short_to_learn_from_leaves_the_general_weights(
    place: Path, clip: Path, capsys: pytest.CaptureFixture
) -> None:
    out = place / "personal.safetensors"
    assert main(["personalise", str(clip), "--out", str(out)]) == 0
    assert "general weights are used" in capsys.readouterr().err
    assert out.read_bytes() == motion_weights().read_bytes()
