"""Loading of speech: every container, every rate, and one clear sentence for whatever is no speech."""

from __future__ import annotations

import av
import numpy as np
import pytest

from ml_backend.audio.load import SAMPLE_RATE, load_speech, loudest_dbfs
from ml_backend.errors import UserInputError


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def write(path, samples, rate, codec, *, channels=1, picture=False):
    """Encode `samples` (N,) or (channels, N) with PyAV; `picture` adds a second of video in front."""
    data = np.atleast_2d(samples)
    data = np.repeat(data, channels, 0) if len(data) != channels else data
    with av.open(str(path), "w") as container:
        if picture:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if codec:
            stream = container.add_stream(codec, rate=rate, layout="mono" if channels == 1 else "stereo")
            # FFmpeg's own Vorbis encoder counts as experimental; other codecs don't know the word.
            stream.codec_context.options = {"strict": "experimental"}
        if picture:
            for _ in range(25):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if codec:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data, np.float32), format="fltp",
                                               layout="mono" if channels == 1 else "stereo")
            frame.sample_rate = rate
            fifo = av.AudioFifo()
            frame.pts = None
            fifo.write(frame)
            while (part := fifo.read(1024, partial=True)) is not None:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec", "rate", "channels"), [
    ("a.wav", "pcm_s16le", 44100, 2), ("a.wav", "pcm_u8", 8000, 1), ("a.wav", "pcm_s32le", 96000, 1),
    ("a.flac", "flac", 48000, 1), ("a.mp3", "mp3", 44100, 2), ("a.ogg", "vorbis", 22050, 2),
    ("a.m4a", "aac", 32000, 1)])
def test_loads_any_format_as_16_khz_mono(tmp_path, name, codec, rate, channels):
    path = write(tmp_path / name, tone(1.0, rate), rate, codec, channels=channels)
    speech = load_speech(path)
    assert speech.sample_rate == SAMPLE_RATE
    assert speech.samples.dtype == np.float32
    assert speech.samples.ndim == 1
    assert abs(speech.seconds - 1.0) < 0.08
    assert speech.seconds == len(speech.samples) / SAMPLE_RATE
    middle = speech.samples[4000:12000]
    assert abs(np.abs(np.fft.rfft(middle)).argmax() * 2 - 440) <= 2
    assert abs(np.sqrt(np.mean(middle ** 2)) - 0.3 / np.sqrt(2)) < 0.02


def test_resampling_lets_nothing_alias(tmp_path):
    path = write(tmp_path / "high.wav", tone(1.0, 48000) + tone(1.0, 48000, 11000), 48000, "pcm_s16le")
    spectrum = np.abs(np.fft.rfft(load_speech(path).samples[2000:14000]))
    assert spectrum[int(5000 * 0.75)] < 1e-3 * spectrum.max()


def test_opposite_phase_stereo_does_not_vanish(tmp_path):
    wave = tone(1.0, 16000)
    speech = load_speech(write(tmp_path / "a.wav", np.stack([wave, -wave]), 16000, "pcm_s16le", channels=2))
    assert np.abs(speech.samples).max() > 0.25


def test_video_gives_its_sound_whatever_the_path(tmp_path):
    folder = tmp_path / "schöne Töne 1"
    folder.mkdir()
    speech = load_speech(write(folder / "mit Bild.mp4", tone(1.0, 44100), 44100, "aac", picture=True))
    assert abs(speech.seconds - 1.0) < 0.08


@pytest.mark.parametrize(("make", "says"), [
    (lambda folder: folder / "none.wav", "does not exist"),
    (lambda folder: folder, "is a folder"),
    (lambda folder: (folder / "notes.wav", (folder / "notes.wav").write_text("no sound here"))[0], "can't be read"),
    (lambda folder: (folder / "empty.wav", (folder / "empty.wav").write_bytes(b""))[0], "is empty"),
    (lambda folder: write(folder / "mute.mp4", np.zeros(1), 16000, "", picture=True), "has no sound"),
    (lambda folder: write(folder / "short.wav", tone(0.1, 16000), 16000, "pcm_s16le"),
     "lasts 0.1 s; Parley needs at least 0.3 s"),
    (lambda folder: write(folder / "silent.wav", np.zeros(16000), 16000, "pcm_s16le"), "is silent throughout"),
    (lambda folder: write(folder / "faint.flac", tone(1, 16000, level=0.0005), 16000, "flac"), "is silent throughout"),
])
def test_bad_input_is_told_in_one_sentence(tmp_path, make, says):
    path = make(tmp_path)
    with pytest.raises(UserInputError, match=says) as caught:
        load_speech(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_click_is_no_speech():
    samples = np.zeros(16000, np.float32)
    assert loudest_dbfs(samples) <= -190
    samples[8000] = 0.02
    assert loudest_dbfs(samples) < -60
