"""Pasting back, writing films that stay in sync, their label and their contact sheet."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from ml_backend.background.warp import crop_resize
from ml_backend.data.frames import read_png
from ml_backend.data.video import probe
from ml_backend.errors import Cancelled, StageError, UserInputError
from ml_backend.film.cues import cue_sheet
from ml_backend.film.layers import difference_layer, face_layer, over
from ml_backend.film.mux import write_film
from ml_backend.film.paste_back import paste_back
from ml_backend.film.provenance import comment, provenance
from ml_backend.film.sequence import complete, encode_exr, free, write_sequences
from ml_backend.film.sheet import write_sheet
from tests.ml.clips import grey, write_clip, write_sound

RATE = 16000


def flashes(seconds: float, at: float, width: int = 64, height: int = 48) -> Iterator[np.ndarray]:
    """Black frames, the one at time `at` white."""
    for k in range(round(seconds * 25)):
        yield grey(255 if k == round(at * 25) else 0, width, height)


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Frame times, frames (T, H, W, 3), samples (N,) from time 0, sample rate."""
    with av.open(str(path)) as film:
        colours = {"format": "rgb24", "src_colorspace": 1, "dst_colorspace": 1}
        pairs = [(frame.time, frame.to_ndarray(**colours)) for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        rate = film.streams.audio[0].rate
        blocks = [(f.time, f.to_ndarray()[0]) for f in film.decode(audio=0)]
    start = round(blocks[0][0] * rate)
    samples = np.concatenate([block for _, block in blocks])
    samples = samples[-start:] if start < 0 else np.pad(samples, (start, 0))
    return np.array([time for time, _ in pairs]), np.stack([image for _, image in pairs]), samples, rate


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (48000, 1), (22050, 2)])
def test_click_and_flash_meet(rate: int, channels: int, tmp_path: Path) -> None:
    samples = np.zeros((round(3.02 * rate), channels), np.float32)
    samples[2 * rate : 2 * rate + rate // 200] = 0.9
    speech = write_sound(tmp_path / "Sprache ü.wav", samples, rate)
    out = tmp_path / "neuer Ordner" / "film.mp4"
    count = write_film(flashes(3.02, 2.0), speech, out, size=(64, 48), seconds=3.02)
    times, images, sound, film_rate = decoded(out)
    assert len(times) == count == round(3.02 * 25)
    assert np.allclose(np.diff(times), 0.04, atol=1e-4) and times[0] == 0
    flash = times[images.mean((1, 2, 3)).argmax()]
    click = np.argmax(np.abs(sound) > 0.3) / film_rate
    assert abs(flash - 2.0) < 1e-3
    assert abs(click - 2.0) < 0.005
    assert abs(len(sound) / film_rate - 3.02) < 0.03
    assert film_rate == (rate if rate in (44100, 48000) else 48000)
    assert os.listdir(out.parent) == ["film.mp4"]


def test_streams_are_what_players_want_and_colours_stay(tmp_path: Path) -> None:
    image = np.zeros((51, 67, 3), np.uint8)
    image[:, :33], image[:, 33:] = (210, 60, 40), (40, 90, 200)
    out = tmp_path / "film.mp4"
    write_film([image] * 10, None, out, size=(67, 51), seconds=0.4, comment="Synthetic: über")
    with av.open(str(out)) as film:
        stream, context = film.streams.video[0], film.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, stream.width, stream.height) == ("h264", "yuv420p", 68, 52)
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert stream.average_rate == 25 and film.metadata["comment"] == "Synthetic: über"
        frame = next(film.decode(video=0)).to_ndarray(format="rgb24", src_colorspace=1, dst_colorspace=1,
                                                      src_color_range=1, dst_color_range=2)
    assert np.abs(frame[:51, 4:28].astype(int) - image[:, 4:28]).max() <= 4
    assert np.abs(frame[:51, 40:64].astype(int) - image[:, 40:64]).max() <= 4
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # starts before it is loaded


@pytest.mark.parametrize(("bt601", "tag", "width"),
                         [(True, None, 64), (False, 1, 64), (False, None, 1280), (True, 6, 1280)])
def test_a_film_is_stored_as_its_clip_is(bt601: bool, tag: int | None, width: int, tmp_path: Path) -> None:
    """So that a program which takes no notice of the matrix shows both alike; and it says which it is."""
    image = np.zeros((48, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = (200, 120, 90), (40, 120, 160)
    clip = write_clip(tmp_path / "clip.mp4", [image] * 5, [k / 25 for k in range(5)], tag=tag,
                      matrix=Colorspace.ITU601 if bt601 else Colorspace.ITU709, pix_fmt="yuv420p")
    assert probe(clip).bt601 == bt601
    write_film([image] * 5, None, tmp_path / "film.mp4", size=(width, 48), seconds=0.2, bt601=bt601)
    stored = []
    for name in ("clip.mp4", "film.mp4"):
        with av.open(str(tmp_path / name)) as film:
            frame = next(film.decode(video=0))
            stored.append(frame.to_ndarray().astype(int)[:, [4, 12]])
    assert frame.colorspace == (6 if bt601 else 1) and frame.color_primaries == 1
    assert np.abs(stored[0] - stored[1]).max() <= 3


def test_speech_from_a_video_keeps_its_delay(tmp_path: Path) -> None:
    video, film = tmp_path / "v.mp4", tmp_path / "film.mp4"
    with av.open(str(video), "w") as out:
        picture = out.add_stream("libx264", rate=25, width=32, height=24, pix_fmt="yuv420p")
        sound = out.add_stream("aac", rate=48000, layout="mono")
        for _ in range(25):
            out.mux(picture.encode(av.VideoFrame.from_ndarray(grey(0), format="rgb24")))
        out.mux(picture.encode(None))
        samples = np.zeros((1, 24000), np.float32)
        samples[0, 4800:5040] = 0.9
        block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        block.sample_rate, block.pts = 48000, 24000  # sound begins at half a second
        out.mux(sound.encode(block))
        out.mux(sound.encode(None))
    write_film(flashes(1.0, 0.6), video, film, size=(64, 48), seconds=1.0)
    _, _, heard, rate = decoded(film)
    assert abs(np.argmax(np.abs(heard) > 0.3) / rate - 0.6) < 0.02


def test_cancelled_or_failed_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    out.write_bytes(b"the film of yesterday")

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        write_film(flashes(1, 0), None, out, size=(64, 48), seconds=1, progress=stop)
    with pytest.raises(StageError, match="no frame"):
        write_film([], None, out, size=(64, 48), seconds=1)
    with pytest.raises(StageError, match="expected"):
        write_film([grey(0)], None, out, size=(64, 48), seconds=1)
    with pytest.raises(UserInputError, match="no speech file"):
        write_film(flashes(1, 0), tmp_path / "none.wav", out, size=(64, 48), seconds=1)
    silent = write_clip(tmp_path / "silent.mp4", [grey(0)], [0.0])
    with pytest.raises(UserInputError, match="has no sound"):
        write_film(flashes(1, 0), silent, out, size=(64, 48), seconds=1)
    assert out.read_bytes() == b"the film of yesterday"
    assert sorted(os.listdir(tmp_path)) == ["film.mp4", "silent.mp4"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserInputError, match="can't be written"):
        write_film(flashes(1, 0), None, tmp_path / "file" / "film.mp4", size=(64, 48), seconds=1)
    with pytest.raises(UserInputError, match="is a folder"):
        write_film(flashes(1, 0), None, tmp_path, size=(64, 48), seconds=1)


FULL_DISK = """
import sys, numpy as np
from pathlib import Path
from ml_backend.errors import UserInputError
from ml_backend.film.mux import write_film
rng = np.random.default_rng(0)
frames = (rng.integers(0, 255, (128, 128, 3), dtype=np.uint8) for _ in range(60))
try:
    write_film(frames, None, Path(sys.argv[1]), size=(128, 128), seconds=2.4)
except UserInputError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_no_film(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    out = tmp_path / "film.mp4"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(out)], preexec_fn=limit, capture_output=True, text=True,
                          cwd=Path(__file__).parents[2], check=False)
    assert "free some space" in done.stdout and str(out) in done.stdout, done.stderr
    assert not os.listdir(tmp_path)


def test_provenance_names_its_sources(tmp_path: Path) -> None:
    speech = tmp_path / "s.wav"
    speech.write_bytes(b"abc")
    facts = provenance(speech=speech, weights={"motion": "m1"}, seed=7)
    assert facts["speech"]["name"] == "s.wav"
    assert facts["speech"]["sha256"].startswith("ba7816bf8f01cfea414140de5dae2223")  # of "abc", FIPS 180
    line = comment(facts)
    assert line.startswith("Synthetic speech animation made with Parley {")
    assert json.loads(line[line.index("{") :])["seed"] == 7
    assert str(tmp_path) not in line
    with pytest.raises(UserInputError, match="can't be read"):
        provenance(target=tmp_path / "gone.mp4")


def test_contact_sheet_shows_the_frames_in_order(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "f.mp4", [grey(20 + 20 * k, 64, 48) for k in range(11)], [k / 25 for k in range(11)])
    times = write_sheet(film, tmp_path / "sheet.png", frames=6, columns=3)
    assert np.allclose(times, np.arange(6) * 0.08, atol=1e-3)
    sheet = read_png(tmp_path / "sheet.png")
    assert sheet.shape == (2 * 244 + 4, 3 * 324 + 4, 3)
    assert [round(float(sheet[14 + 244 * (k // 3), 20 + 324 * (k % 3), 0])) for k in range(6)] == [
        pytest.approx(20 + 40 * k, abs=3) for k in range(6)]


CROPS = [(10.0, 8.0, 32.0), (12.3, 4.7, 50.0), (-10.0, 30.0, 60.0), (70.0, 50.0, 40.0), (20.2, 9.1, 17.0)]


@pytest.mark.parametrize("crop", CROPS)
def test_paste_back_is_the_inverse_of_the_crop(crop: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :100]
    frame = np.dstack([x * 2, y * 3, 120 + 60 * np.sin(x / 9) * np.cos(y / 7)]).astype(np.uint8)
    patch = crop_resize(frame, crop, 32)
    back = paste_back(frame, patch, crop, np.ones((32, 32)))
    assert np.abs(back.astype(int) - frame).mean() < 1.0
    if crop[2] == 32:
        assert np.array_equal(back, frame)
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:24] = 1
    noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    pasted = paste_back(frame, noise, crop, mask)
    left, top, side = crop
    margin = 9 * side / 32 - 2 * side / 32
    reach = side / 2 - margin
    inside = (np.abs(x + 0.5 - left - side / 2) < reach) & (np.abs(y + 0.5 - top - side / 2) < reach)
    assert np.array_equal(pasted[~inside], frame[~inside])
    if inside.any():
        assert (pasted != frame)[inside].mean() > 0.3
    assert paste_back(frame, noise, (500, 500, 20), mask).tobytes() == frame.tobytes()


def test_a_white_square_lands_where_it_was_seen() -> None:
    frame = np.zeros((90, 90, 3), np.uint8)
    crop = (10.5, 20.25, 45.0)
    patch = np.zeros((96, 96, 3), np.uint8)
    patch[32:64, 32:64] = 255
    result = paste_back(frame, patch, crop, np.ones((96, 96)))[..., 0].astype(float)
    y, x = np.mgrid[:90, :90] + 0.5
    assert abs((result * x).sum() / result.sum() - (10.5 + 22.5)) < 0.05
    assert abs((result * y).sum() / result.sum() - (20.25 + 22.5)) < 0.05


def test_cue_sheet_names_time_plate_and_pose() -> None:
    pose = np.zeros((27, 6))
    pose[26, 1], pose[26, 5] = np.radians(12.5), 0.95
    rows = list(csv.DictReader(cue_sheet(pose, 25, moments=np.linspace(0, 13, 27), key_frames=np.array([0, 26])
                                         ).decode().splitlines()))
    assert rows[26] == {"frame": "27", "time_code": "00:00:01:01", "seconds": "1.040", "plate": "13",
                        "plate_seconds": "0.520", "key_frame": "1", "pitch_deg": "0.000", "yaw_deg": "12.500",
                        "roll_deg": "0.000", "x_m": "0.00000", "y_m": "0.00000", "z_m": "0.95000"}
    assert rows[1]["plate"] == "0.5" and rows[1]["key_frame"] == "0"
    assert next(csv.DictReader(cue_sheet(pose, 25).decode().splitlines()))["plate"] == ""


def test_the_face_layer_over_the_plate_is_the_film() -> None:
    rng = np.random.default_rng(3)
    frame, patch = (rng.integers(0, 255, (*shape, 3), dtype=np.uint8) for shape in ((60, 90), (32, 32)))
    mask = np.clip(2 - np.hypot(*(np.mgrid[:32, :32] - 15.5)) / 7, 0, 1).astype(np.float32)
    crop = (-4.3, 11.6, 41.0)
    layer = face_layer((90, 60), patch, crop, mask)
    film = paste_back(frame, patch, crop, mask)
    assert np.abs(over(layer, frame).astype(int) - film).max() <= 1
    assert np.array_equal(over(layer, frame)[layer[..., 3] == 0], frame[layer[..., 3] == 0])
    assert 0.05 < (layer[..., 3] > 0).mean() < 0.5 and not layer[..., :3][layer[..., 3] == 0].any()
    assert not face_layer((90, 60), patch, (500, 500, 9), mask).any()
    apart = difference_layer(film, frame)
    assert np.array_equal(over(apart, frame), film) and set(np.unique(apart[..., 3])) == {0, 255}


def test_sequences_resume_and_touch_nothing_of_the_users(tmp_path: Path) -> None:
    layers = {"face": lambda index: np.full((5, 7, 4), 40 * index, np.uint8)}
    folder = tmp_path / "für Nuke"
    write_sequences(folder, layers, 3, form="png", key="a")
    kept = (folder / "face" / "000002.png").stat().st_mtime_ns
    (folder / "face" / "000003.png").unlink()
    assert free(folder) and not complete(folder, "a", 3, ("face",), "png")
    write_sequences(folder, layers, 3, form="png", key="a")
    assert complete(folder, "a", 3, ("face",), "png") and read_png(folder / "face" / "000003.png")[0, 0, 0] == 80
    assert (folder / "face" / "000002.png").stat().st_mtime_ns == kept
    (folder / "notes.txt").write_text("mine")
    write_sequences(folder, layers, 1, form="exr", key="b")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        "face/000001.exr", "notes.txt", "parley_frames.json"]
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "shot.png").write_bytes(b"x")
    assert not free(tmp_path / "theirs") and free(tmp_path / "new")


@pytest.mark.parametrize("channels", [3, 4])
def test_exr_is_linear_and_premultiplied(channels: int, tmp_path: Path) -> None:
    image = np.zeros((3, 37, channels), np.uint8)
    image[..., :3] = (188, 255, 10)
    image[..., 3:] = 128
    path = tmp_path / "a.exr"
    path.write_bytes(encode_exr(image))
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        wide = np.float16 if frame.format.name.endswith("f16le") else np.float32
        found = [float(np.frombuffer(bytes(plane), wide)[36]) for plane in frame.planes]
    share = 128 / 255 if channels == 4 else 1
    assert found == pytest.approx([1.0 * share, 0.00304 * share, 0.503 * share, *([share] * (channels - 3))], abs=0.002)


def test_sound_can_end_with_the_picture(tmp_path: Path) -> None:
    speech = write_sound(tmp_path / "long.wav", np.ones(3 * RATE, np.float32) * 0.1)
    write_film(flashes(1.0, 0.5), speech, tmp_path / "film.mp4", size=(64, 48), seconds=1.0, cut_sound=True)
    assert len(decoded(tmp_path / "film.mp4")[2]) / 48000 == pytest.approx(1.0, abs=0.06)


def test_the_same_frames_are_the_same_bytes_whatever_lay_in_memory(tmp_path: Path) -> None:
    write = ("import sys, numpy as np; from pathlib import Path; from ml_backend.film.mux import write_film; "
             "y, x = np.mgrid[:144, :160]; "
             "frames = [np.dstack([127 + 120 * np.sin((x + 3 * k) * (y - k) / 300 + c) for c in range(3)]).astype("
             "np.uint8) for k in range(12)]; "
             "write_film(iter(frames), None, Path(sys.argv[1]), size=(160, 144), seconds=0.5)")
    made = set()
    for junk in ("0", "85", "170"):
        out = tmp_path / f"{junk}.mp4"
        subprocess.run([sys.executable, "-c", write, str(out)], check=True, env={**os.environ, "MALLOC_PERTURB_": junk})
        made.add(out.read_bytes())
    assert len(made) == 1
