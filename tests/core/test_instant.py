"""Parts of the instant engine on their own: filters, sound, weights that are damaged, the job in a thread."""

from __future__ import annotations

import json
import struct
import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import soxr
from scipy import interpolate, linalg, ndimage, signal

from addon.core.errors import ArtefactError, UserInputError
from addon.core.instant import engine, filters, layers, sound, weights
from addon.core.instant.options import Options
from addon.core.jobs import State
from addon.core.thread_job import Report, ThreadRunner
from ml_backend.config import assets, head_model

ASSETS = engine.Assets(assets() / "models", head_model())


@pytest.mark.parametrize("length", [8, 50, 501])
def test_filters_are_scipys(length: int) -> None:
    random = np.random.default_rng(length)
    values, table = random.standard_normal(length), random.standard_normal((length, 3))
    for size in (3, 5, 13):
        assert np.array_equal(filters.highest(values, size), ndimage.maximum_filter1d(values, size))
        assert np.array_equal(filters.lowest(values, size), ndimage.minimum_filter1d(values, size))
        assert np.array_equal(filters.median(values, size), ndimage.median_filter(values, size))
    assert np.array_equal(filters.highest(values, 8, filters.ZERO),
                          ndimage.maximum_filter1d(values, 8, mode="constant"))
    for size in (5, 40):
        assert np.allclose(filters.mean(values, size), ndimage.uniform_filter1d(values, size))
    kernel = np.hanning(27)[1:-1]
    assert np.allclose(filters.convolve(table, kernel), ndimage.convolve1d(table, kernel, axis=0, mode="nearest"))
    assert np.allclose(filters.gaussian(values, 1.5), ndimage.gaussian_filter1d(values, 1.5))
    for curve in (values, np.round(2 * values) / 2):
        places, _ = signal.find_peaks(curve)
        assert np.array_equal(filters.peaks(curve), places)
        assert np.allclose(filters.prominences(curve, places), signal.peak_prominences(curve, places)[0])
    high = filters.peaks(values)
    assert np.array_equal(filters.apart(high, values[high], 8), signal.find_peaks(values, distance=8)[0])


@pytest.mark.parametrize("knots", [4, 5, 6, 30])
def test_splines_and_roots_are_scipys(knots: int) -> None:
    random = np.random.default_rng(knots)
    values, times = random.standard_normal((knots, 6)), np.linspace(0, knots - 1.01, 77)
    theirs = interpolate.CubicSpline(np.arange(knots), values, axis=0)(times)
    assert np.allclose(filters.spline(values, times), theirs)
    square = values.T @ values + np.eye(6)
    assert np.allclose(filters.root(square), np.real(linalg.sqrtm(square)))


def test_layers() -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    values = random.standard_normal((2, 30, 5)).astype(np.float32)
    weight, bias = random.standard_normal((7, 5, 4)).astype(np.float32), np.arange(7, dtype=np.float32)
    theirs = torch.nn.functional.conv1d(torch.from_numpy(values).transpose(1, 2), torch.from_numpy(weight),
                                        torch.from_numpy(bias), stride=2, padding=3, dilation=2).transpose(1, 2)
    ours = layers.convolution(values, weight, bias, stride=2, padding=3, dilation=2)
    assert np.allclose(ours, theirs.numpy(), atol=1e-5)
    wide = np.linspace(-9, 9, 1001, dtype=np.float32)
    assert np.allclose(layers.gelu(wide), torch.nn.functional.gelu(torch.from_numpy(wide)).numpy(), atol=2e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_the_speech_and_nothing_above(rate: int) -> None:
    times = np.arange(rate // 2) / rate
    sweep = np.sin(2 * np.pi * (100 + 3000 * times) * times).astype(np.float32)
    ours = sound.resampled(sweep, rate)
    theirs = soxr.resample(sweep, rate, 16000, "VHQ")
    assert abs(len(ours) - len(theirs)) <= 1 and np.abs(ours[500:7500] - theirs[500:7500]).max() < 1e-3
    if rate > 24000:
        whistle = np.sin(2 * np.pi * 9500 * times).astype(np.float32)
        assert np.abs(sound.resampled(whistle, rate)[500:7500]).max() < 1e-3


def write(path: Path, width: int, values: np.ndarray, rate: int = 16000) -> Path:
    scaled = np.clip(values * 2.0 ** (8 * width - 1), -2.0 ** (8 * width - 1), 2.0 ** (8 * width - 1) - 1)
    whole = scaled.astype(np.int64) + (128 if width == 1 else 0)
    data = whole.astype("<i8").view(np.uint8).reshape(*whole.shape, 8)[..., :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_every_width(width: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(-0.9, 0.9, (4000, 2))
    path = write(tmp_path / "a.wav", width, values, 22050)
    read, rate = sound.read_wav(path)
    assert sound.is_wav(path) and rate == 22050 and np.abs(read - values).max() < 2.0 ** (2 - 8 * width) + 1e-6


def test_sound_that_is_no_speech_is_refused_in_words(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((8000, 1)).astype(np.float32) * 0.1
    for values, words in ((noise[:2000], "lasts 0.1 s; Parley needs at least 0.3 s"), (noise[:0], "holds no sound"),
                          (noise * 1e-5, "silent throughout")):
        with pytest.raises(UserInputError, match=words):
            sound.speech(values, 16000, "a.wav")
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    assert not sound.is_wav(tmp_path / "b.wav")
    with pytest.raises(UserInputError, match="can't be read as a WAV file"):
        sound.read_wav(tmp_path / "b.wav")
    # A microphone wired the wrong way round must not vanish.
    opposite = np.concatenate([noise, -0.9 * noise], 1)
    assert np.allclose(sound.speech(opposite, 16000, "a"), noise[:, 0])


def stored(path: Path, header: dict, body: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


META = {"schema": "s", "version": "1"}


@pytest.mark.parametrize(("header", "body", "words"), [
    ({"__metadata__": {"schema": "t", "version": "1"}}, b"", "it is t version 1, needed is s 1"),
    ({"__metadata__": META, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234", "outside the file"),
    ({"__metadata__": META, "a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 0]}}, b"", "outside the file"),
    ({"__metadata__": META, "a": {"dtype": "BF9", "shape": [], "data_offsets": [0, 0]}}, b"", "not described"),
    ({"__metadata__": META, "a": 3}, b"", "not described"),
    ({"__metadata__": META, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0\0\xc0\x7f", "no number"),
], ids=["schema", "short", "negative", "kind", "entry", "nan"])
def test_damaged_weights_are_refused(header: dict, body: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=words):
        weights.load(stored(tmp_path / "w.safetensors", header, body), "s")


def test_weights_are_read(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="should be a s file"):
        weights.load(tmp_path / "none", "s")
    for junk in (b"", b"\xff" * 20, struct.pack("<Q", 3) + b"[1]"):
        (tmp_path / "junk").write_bytes(junk)
        with pytest.raises(ArtefactError):
            weights.load(tmp_path / "junk", "s")
    halves = np.arange(6, dtype=np.float16).reshape(2, 3)
    entry = {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}
    path = stored(tmp_path / "w", {"__metadata__": META, "a": entry}, halves.tobytes())
    read = weights.load(path, "s")
    assert np.array_equal(read.array("a", (2, 3)), halves) and read.arrays["a"].dtype == np.float32
    with pytest.raises(ArtefactError, match=r"a is \(2, 3\), needed is \(3,\)"):
        read.array("a", (3,))
    with pytest.raises(ArtefactError, match="its config can't be read"):
        read.json("config")


def test_a_folder_without_weights_is_said(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    with pytest.raises(ArtefactError, match=r"motion\.safetensors can't be read"):
        engine.perform(noise, engine.Assets(tmp_path, head_model()), Options(), lambda *_: None)


def test_the_engine_stops_when_it_is_told_to() -> None:
    class Enough(Exception):
        pass

    heard: list[tuple[str, int, int]] = []

    def report(stage: str, done: int, total: int) -> None:
        heard.append((stage, done, total))
        if len(heard) == 30:
            raise Enough

    noise = np.random.default_rng(0).standard_normal(160000).astype(np.float32) * 0.1
    with pytest.raises(Enough):
        engine.perform(noise, ASSETS, Options(), report)
    assert len(heard) == 30 and {stage for stage, _, _ in heard} <= set(engine.STAGES)


def test_a_job_in_a_thread_reports_and_ends() -> None:
    gate = threading.Event()

    def work(report: Report) -> dict:
        report("First", 1, 2)
        gate.wait(5)
        return {"a": 1}

    runner = ThreadRunner()
    runner.start(work, "Animate")
    until = time.monotonic() + 5
    while not runner.job.done and time.monotonic() < until:
        runner.tick()
    assert runner.busy and (runner.job.stage, runner.job.share) == ("First", 0.5)
    with pytest.raises(UserInputError, match="Animate is still running"):
        runner.start(work, "Another")
    gate.set()
    assert runner.wait(5) and runner.state is State.DONE and runner.job.result == {"a": 1}
    assert not runner.tick()


@pytest.mark.parametrize(("raised", "kind", "words"), [
    (UserInputError("No such sound."), "UserInputError", "No such sound."),
    (ZeroDivisionError("x"), "ZeroDivisionError", "Something unexpected happened: x.")], ids=["expected", "unexpected"])
def test_a_job_in_a_thread_fails_in_words(raised: Exception, kind: str, words: str) -> None:
    def work(report: Report) -> dict:
        raise raised

    runner = ThreadRunner()
    runner.start(work, "Animate")
    assert runner.wait(5) and runner.state is State.FAILED
    assert runner.job.kind == kind and words in runner.job.error


@pytest.mark.parametrize("deaf", [False, True])
def test_a_job_in_a_thread_is_cancelled_within_a_second(deaf: bool) -> None:
    end = threading.Event()

    def work(report: Report) -> dict:
        while not end.wait(0.01):
            if not deaf:
                report("Working", 0, 1)
        return {"late": True}

    runner = ThreadRunner()
    runner.start(work, "Animate")
    begun = time.monotonic()
    runner.cancel()
    assert runner.state is State.CANCELLING and runner.wait(5) and time.monotonic() - begun < 1.5
    assert runner.state is State.FAILED and runner.job.kind == "Cancelled"
    end.set()
    time.sleep(0.05)
    # What a thread that nobody waits for still says reaches nobody.
    assert runner.job.result is None and runner.state is State.FAILED
    runner.start(lambda report: {}, "Next")
    assert runner.wait(5) and runner.state is State.DONE
    runner.close()
    assert runner.state is State.IDLE
