"""The film's sound: any file's speech as frames that an AAC encoder takes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from ml_backend.errors import UserInputError

RATES = (44100, 48000)  # kept; anything else becomes 48 kHz, which every player and editor takes
BLOCK = 1024  # samples of an AAC frame


class Sound:
    """The first sound stream of a file, resampled, from its first sample to its last.

    A sound stream that starts later than the file's picture keeps its delay as silence, as `audio.load_speech` has it.

    Attributes
    ----------
    rate : int, samples a second
    layout : "mono" or "stereo"

    Raises
    ------
    UserInputError
        If the file is missing, can't be read or has no sound.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise UserInputError(f"There is no speech file {path}; check its name.")
        with self._open() as container:
            context = container.streams.audio[0].codec_context
            self.rate = context.sample_rate if context.sample_rate in RATES else RATES[-1]
            self.layout = "mono" if context.channels == 1 else "stereo"

    def __iter__(self) -> Iterator[AudioFrame]:
        """Planar float frames of `BLOCK` samples (the last may be shorter) with times that count samples from 0."""
        position = 0
        with self._open() as container:
            for frame in self._resampled(container):
                frame.pts, frame.sample_rate = position, self.rate
                frame.time_base = Fraction(1, self.rate)
                position += frame.samples
                yield frame

    def _resampled(self, container: InputContainer) -> Iterator[AudioFrame]:
        resampler: AudioResampler | None = None
        for raw in self._raw(container):
            if resampler is None:
                resampler = AudioResampler(format="fltp", layout=self.layout, rate=self.rate, frame_size=BLOCK)
                yield from self._silence(0.0 if raw is None else _delay(container, raw))
            if raw is not None:
                raw.pts = None  # a gap in the times must not shift speech: audio.load_speech joins the samples too
            yield from resampler.resample(raw)

    def _silence(self, seconds: float) -> Iterator[AudioFrame]:
        left = round(seconds * self.rate)
        while left > 0:
            count = min(left, self.rate)
            silence = np.zeros((1 if self.layout == "mono" else 2, count), np.float32)
            yield AudioFrame.from_ndarray(silence, format="fltp", layout=self.layout)
            left -= count

    def _open(self) -> InputContainer:
        try:
            container = av.open(str(self._path), mode="r", metadata_errors="ignore")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UserInputError(f"{self._path} is no sound or video file that can be read; give WAV, MP3, FLAC or "
                                 "MP4.") from error
        if not container.streams.audio:
            container.close()
            raise UserInputError(f"{self._path} has no sound; give a file with speech in it.")
        return container

    def _raw(self, container: InputContainer) -> Iterator[AudioFrame | None]:
        """Decoded frames, then None for the resampler's end; damaged packets are passed over."""
        packets = container.demux(container.streams.audio[0])
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):
                continue
            yield from (frame for frame in frames if isinstance(frame, AudioFrame))
            if packet is None:
                break
        yield None


def _delay(container: InputContainer, frame: AudioFrame) -> float:
    """Seconds by which the sound starts after the picture; 0 for a file without picture."""
    if not container.streams.video or frame.time is None or container.start_time is None:
        return 0.0
    late = frame.time - container.start_time / 1e6
    return late if 0.001 < late < 3600 else 0.0
