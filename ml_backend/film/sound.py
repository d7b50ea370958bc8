"""The film's sound: any file's speech as frames that an AAC encoder takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from ml_backend.errors import UserInputError

RATES = (44100, 48000)  # kept; anything else becomes 48 kHz, which every player and editor takes
BLOCK = 1024  # samples of an AAC frame


class Sound:
    """The first sound stream of a file, resampled, from its first sample to its last.

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
        resampler = AudioResampler(format="fltp", layout=self.layout, rate=self.rate, frame_size=BLOCK)
        position = 0
        with self._open() as container:
            for raw in self._raw(container):
                if raw is not None:
                    raw.pts = None  # audio.load joins the samples too: a gap in the file's times must not shift speech
                for frame in resampler.resample(raw):
                    frame.pts, frame.sample_rate = position, self.rate
                    position += frame.samples
                    yield frame

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
