"""Clips and photos of every kind become upright RGB frames at 25 a second."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.reformatter import Colorspace
from PIL import Image

from ml_backend.data import decode, hdr, video
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, read_png
from ml_backend.data.video import extract_frames, probe
from ml_backend.errors import ArtefactError, Cancelled, UserInputError
from tests.ml.clips import grey, set_matrix, write_clip, write_sound

LEVEL, STEP, BASE = 20, 16, 12


def numbered(times: list[float], path: Path) -> Path:
    """A clip whose frame i shows i in two digits to base 12: the grey of its upper and of its lower half."""
    digits = [divmod(i, BASE) for i in range(len(times))]
    return write_clip(path, [np.vstack([grey(LEVEL + STEP * d, height=12) for d in pair]) for pair in digits], times)


def shown(frames: FrameFolder) -> np.ndarray:
    """Number of the source frame that each frame shows."""
    digits = [[round((float(half.mean()) - LEVEL) / STEP) for half in (frame[:10], frame[14:])] for frame in frames]
    return np.array([high * BASE + low for high, low in digits])


def corners(colours: list[tuple[int, int, int]], width: int = 64, height: int = 48) -> np.ndarray:
    """Four flat quarters: upper left, upper right, lower left, lower right."""
    image = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(colours):
        top, left = number // 2 * height // 2, number % 2 * width // 2
        image[top : top + height // 2, left : left + width // 2] = colour
    return image


COLOURS = [(200, 40, 40), (40, 180, 60), (50, 60, 210), (230, 220, 120)]


@pytest.mark.parametrize("rate", [10, 24, 25, 30000 / 1001, 30, 50, 60])
def test_each_output_shows_the_source_frame_nearest_in_time(rate: float, tmp_path: Path) -> None:
    times = [i / rate for i in range(round(1.5 * rate))]
    frames = extract_frames(numbered(times, tmp_path / "clip.mp4"), tmp_path / "frames")
    length = len(times) / rate
    assert abs(len(frames) - length * 25) <= 0.51
    found, wanted = shown(frames), np.arange(len(frames)) / 25
    error = np.abs(np.array(times)[found] - wanted)
    assert np.all(error <= np.abs(np.array(times)[None] - wanted[:, None]).min(1) + 1e-4)


def test_variable_rate_follows_presentation_times(tmp_path: Path) -> None:
    times = [0, 0.033, 0.066, 0.4, 0.433, 0.9, 0.91, 0.92, 1.3]
    frames = extract_frames(numbered(times, tmp_path / "phone.mp4"), tmp_path / "f", seconds=1.2)
    wanted = [int(np.argmin(np.abs(np.array(times) - k / 25))) for k in range(30)]
    assert shown(frames).tolist() == wanted


def test_start_and_seconds(tmp_path: Path) -> None:
    clip = numbered([i / 25 for i in range(100)], tmp_path / "clip.mp4")
    assert shown(extract_frames(clip, tmp_path / "a", start=1.0, seconds=0.4)).tolist() == list(range(25, 35))
    with pytest.raises(UserInputError, match=r"4\.0 s long"):
        extract_frames(clip, tmp_path / "b", start=9)


def test_seeking_agrees_with_decoding_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = numbered([i / 25 for i in range(110)], tmp_path / "clip.mp4")
    monkeypatch.setattr(video, "SEEK_FROM", 1.0)
    assert shown(extract_frames(clip, tmp_path / "a", start=3.2, seconds=0.8)).tolist() == list(range(80, 100))


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    assert len(extract_frames(numbered([0.0], tmp_path / "one.mp4"), tmp_path / "f")) == 1


def test_long_clips_are_cut_with_a_note(tmp_path: Path) -> None:
    frames = extract_frames(numbered([i / 25 for i in range(60)], tmp_path / "c.mp4"), tmp_path / "f", most=20)
    assert len(frames) == 20
    assert "first 1 s" in frames.notes[0]


@pytest.mark.parametrize(("matrix", "order", "rotation"), [
    ((1, 0, 0, 1), (0, 1, 2, 3), 0),
    ((0, 1, -1, 0), (2, 0, 3, 1), 90),
    ((-1, 0, 0, -1), (3, 2, 1, 0), 180),
    ((0, -1, 1, 0), (1, 3, 0, 2), 270),
    ((-1, 0, 0, 1), (1, 0, 3, 2), 0),
])
def test_display_matrix_is_applied(matrix: tuple[int, int, int, int], order: tuple[int, ...], rotation: int,
                                   tmp_path: Path) -> None:
    stored = corners(COLOURS)
    clip = set_matrix(write_clip(tmp_path / "gedreht ü 1.mp4", [stored] * 3, [0, 0.04, 0.08]), *matrix)
    info, frame = probe(clip), extract_frames(clip, tmp_path / "f")[0]
    turned = rotation in (90, 270)
    assert (info.width, info.height, info.rotation) == ((48, 64) if turned else (64, 48)) + (rotation,)
    assert frame.shape == (info.height, info.width, 3)
    upright = corners([COLOURS[i] for i in order], info.width, info.height)
    assert np.abs(frame.astype(int) - upright).mean() < 3


@pytest.mark.parametrize(("matrix", "tag"), [(Colorspace.ITU601, 6), (Colorspace.ITU709, 1), (Colorspace.ITU601, None)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_survive_matrix_and_range(matrix: Colorspace, tag: int | None, full: bool, tmp_path: Path) -> None:
    image = corners(COLOURS)
    clip = write_clip(tmp_path / "c.mp4", [image], [0.0], matrix=matrix, tag=tag, full=full)
    got = extract_frames(clip, tmp_path / "f")[0]
    assert np.abs(got.astype(int) - image)[4:20, 4:28].max() <= 3


def test_anamorphic_odd_and_huge(tmp_path: Path) -> None:
    wide = write_clip(tmp_path / "a.mp4", [grey(90, 64, 48)], [0.0], aspect=Fraction(4, 3))
    assert extract_frames(wide, tmp_path / "a").size == (85, 48)
    nearly = write_clip(tmp_path / "n.mp4", [grey(90, 64, 48)], [0.0], aspect=Fraction(46, 45))
    assert extract_frames(nearly, tmp_path / "n").size == (64, 48), "left by cropping: not worth softening every frame"
    odd = write_clip(tmp_path / "o.mp4", [grey(90, 33, 25)], [0.0])
    assert extract_frames(odd, tmp_path / "o").size == (33, 25)
    assert (probe(odd).width, probe(odd).height) == (33, 25)
    assert extract_frames(odd, tmp_path / "h", longest=16).size == (16, 12)


def test_hlg_is_tone_mapped(tmp_path: Path) -> None:
    image = np.full((16, 16, 3), round(0.75 * 65535), np.uint16)
    clip = write_clip(tmp_path / "c.mkv", [image], [0.0], codec="ffv1", pix_fmt="yuv420p10le", matrix=Colorspace.BT2020,
                      tag=9, trc=hdr.HLG)
    level = float(extract_frames(clip, tmp_path / "f")[0].mean())
    # HLG 75 % is diffuse white (BT.2408): near the top of SDR, yet with room for highlights.
    assert 225 < level < 250
    dark = hdr.to_sdr(np.zeros((1, 1, 3), np.uint16), hdr.PQ)
    bright = hdr.to_sdr(np.full((1, 1, 3), 65535, np.uint16), hdr.PQ)
    assert int(dark.max()) == 0
    assert int(bright.min()) > 250


def test_interrupted_extraction_resumes_and_a_finished_one_does_nothing(tmp_path: Path) -> None:
    clip, folder = numbered([i / 25 for i in range(40)], tmp_path / "c.mp4"), tmp_path / "f"

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        extract_frames(clip, folder, progress=stop)
    with pytest.raises(ArtefactError):
        FrameFolder.open(folder)
    kept = sorted(folder.glob("*.png"))
    assert kept and not list(folder.glob("*.part"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert shown(extract_frames(clip, folder)).tolist() == list(range(40))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    extract_frames(clip, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == after


def test_another_clip_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    clip, folder = tmp_path / "c.mp4", tmp_path / "f"
    extract_frames(write_clip(clip, [grey(50)] * 10, [i / 25 for i in range(10)]), folder)
    frames = extract_frames(write_clip(clip, [grey(150)] * 4, [i / 25 for i in range(4)]), folder)
    assert len(frames) == 4 and abs(float(frames[3].mean()) - 150) < 2
    assert len(list(folder.glob("*.png"))) == 4


def test_a_truncated_clip_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(100)]
    whole = write_clip(tmp_path / "w.mkv", images, [i / 25 for i in range(100)])
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    frames = extract_frames(cut, tmp_path / "f")
    assert 25 <= len(frames) <= 60
    assert "cut.mkv is damaged or cut off" in frames.notes[0]
    cut.write_bytes(data[: len(data) // 12])
    with pytest.raises(UserInputError, match="damaged"):
        extract_frames(cut, tmp_path / "g")


def test_interlaced_teeth_are_taken_out() -> None:
    y, x = np.mgrid[:49, :64]
    still = np.repeat((100 + 50 * np.sin(x / 5) * np.cos(y / 6))[..., None], 3, 2).astype(np.uint8)
    moving = still.copy()
    moving[:, 20:40], moving[1::2, 20:40], moving[1::2, 26:46] = 230, still[1::2, 20:40], 230
    decode.comb_out(moving)
    assert (moving[:, 20:26] == 230).all() and (moving[1:-1, 40:46] < 170).all()
    assert np.array_equal(moving[:, :20], still[:, :20])


def photo(path: Path, **options: Any) -> Path:
    Image.fromarray(corners(COLOURS)).save(path, **options)
    return path


def test_photos(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90° clockwise
    turned = photo(tmp_path / "größe.jpg", exif=exif, quality=98, subsampling=0)
    info = probe(turned)
    assert (info.width, info.height, info.is_photo, info.seconds) == (48, 64, True, 0)
    frame = extract_frames(turned, tmp_path / "a")[0]
    assert np.abs(frame.astype(int) - corners([COLOURS[i] for i in (2, 0, 3, 1)], 48, 64)).mean() < 4
    grey16 = np.full((10, 12), 32768, np.uint16)
    Image.fromarray(grey16).save(tmp_path / "deep.png")
    assert np.abs(extract_frames(tmp_path / "deep.png", tmp_path / "b")[0].astype(int) - 128).max() <= 1
    clear = np.zeros((10, 12, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert extract_frames(tmp_path / "clear.png", tmp_path / "c")[0].min() == 255
    assert extract_frames(photo(tmp_path / "p.webp"), tmp_path / "d", longest=32).size == (32, 24)
    Image.fromarray(corners(COLOURS)).quantize(8).save(tmp_path / "p.gif")
    assert probe(tmp_path / "p.gif").is_photo


@pytest.mark.parametrize(("name", "content", "message"), [
    ("missing.mp4", None, "no file"),
    ("empty.mp4", b"", "is empty"),
    ("text.txt", b"I am no clip.\n" * 50, "no video or photo"),
    ("noise.mp4", bytes(np.random.default_rng(1).integers(0, 255, 4000, dtype=np.uint8)), "no video or photo"),
    ("broken.png", encode_png(np.zeros((64, 64, 3), np.uint8))[:60], "damaged"),
])
def test_bad_input_is_one_clear_sentence(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserInputError, match=message) as caught:
        extract_frames(path, tmp_path / "f")
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_folders_and_sound_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="is a folder"):
        probe(tmp_path)
    with pytest.raises(UserInputError, match="sound but no picture"):
        probe(write_sound(tmp_path / "s.wav", np.zeros(1600)))
    clip = numbered([0.0], tmp_path / "c.mp4")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserInputError, match="choose another folder"):
        extract_frames(clip, tmp_path / "file" / "frames")


def test_frame_folder_reads_lazily_and_hands_out_copies(tmp_path: Path) -> None:
    frames = extract_frames(numbered([i / 25 for i in range(8)], tmp_path / "c.mp4"), tmp_path / "f")
    assert frames.pattern % 3 == str(frame_path(tmp_path / "f", 3)) and frames.size == (32, 24)
    frames[2][:] = 0
    assert frames[2].mean() > 10
    assert np.array_equal(frames[-1], frames[7]) and len(frames[2:5]) == 3
    with pytest.raises(IndexError):
        frames[8]
    frames.path(5).unlink()
    with pytest.raises(ArtefactError, match="000005"):
        frames[5]
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 4), dtype=np.uint8)
    (tmp_path / "x.png").write_bytes(encode_png(image))
    assert np.array_equal(read_png(tmp_path / "x.png"), image)


def test_frames_in_a_folder_with_percent_signs(tmp_path: Path) -> None:
    folder = tmp_path / "100 % of %06d äöü"
    frames = extract_frames(numbered([i / 25 for i in range(3)], tmp_path / "c.mp4"), folder)
    assert frames.pattern % 2 == str(frame_path(folder, 2))


def test_a_damaged_index_of_frames_is_made_again(tmp_path: Path) -> None:
    clip = numbered([i / 25 for i in range(3)], tmp_path / "c.mp4")
    extract_frames(clip, tmp_path / "f")
    (tmp_path / "f" / "frames.json").write_text("[]")
    assert len(extract_frames(clip, tmp_path / "f")) == 3
