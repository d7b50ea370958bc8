"""Speech from any audio or video file: decoded with PyAV, mixed to mono, resampled, checked once at the edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soxr

from ml_backend.errors import UserInputError

SAMPLE_RATE = 16000
MIN_SECONDS = 0.3
SILENCE_DBFS = -60.0
_LEVEL_WINDOW = SAMPLE_RATE // 20


@dataclass(frozen=True)
class Speech:
    """Mono speech.

    Attributes
    ----------
    samples : (N,) float32 in [-1, 1]
    sample_rate : int, Hz, always `SAMPLE_RATE`
    seconds : float
    """

    samples: np.ndarray
    sample_rate: int
    seconds: float


def load_speech(path: Path | str) -> Speech:
    """Decode the first sound stream of an audio or video file.

    A sound stream that starts later than the picture keeps its delay (as leading zeros), so that
    speech time is film time.

    Parameters
    ----------
    path : file of any format that FFmpeg reads (wav, mp3, flac, ogg, m4a, mp4, ...), any rate, any number of channels

    Returns
    -------
    Speech
        samples (N,) float32, 16 kHz, in [-1, 1]

    Raises
    ------
    UserInputError
        If there is no such file, it is no media file, has no sound, is shorter than 0.3 s or silent throughout.
    """
    path = Path(path)
    if path.is_dir():
        raise UserInputError(f"{path} is a folder; give one audio or video file.")
    if not path.exists():
        raise UserInputError(f"{path} does not exist; check the path of the speech file.")
    if not path.stat().st_size:
        raise UserInputError(f"{path} is empty; copy or export it again.")
    try:
        with av.open(str(path)) as container:
            samples = _decode(container, path)
    except PermissionError as error:
        raise UserInputError(f"{path} can't be opened (permission denied); copy it to a folder of yours.") from error
    except (av.error.FFmpegError, OSError) as error:
        raise UserInputError(f"{path} can't be read as audio or video ({_reason(error)}); "
                             "give a wav, mp3, flac, ogg, m4a or mp4 file.") from error
    return speech_from_samples(samples, path)


def speech_from_samples(samples: np.ndarray, path: Path | str = "the speech") -> Speech:
    """Check mono `samples` (N,) at 16 kHz and wrap them; raises `UserInputError` like `load_speech`, naming `path`."""
    samples = np.clip(np.nan_to_num(np.asarray(samples, np.float32)), -1, 1)
    seconds = len(samples) / SAMPLE_RATE
    if not len(samples):
        raise UserInputError(f"{path} holds a sound stream without any sound in it; give another file.")
    if seconds < MIN_SECONDS:
        raise UserInputError(f"{path} lasts {seconds:.1f} s; Parley needs at least {MIN_SECONDS} s of speech.")
    if loudest_dbfs(samples) < SILENCE_DBFS:
        raise UserInputError(f"{path} is silent throughout (below {SILENCE_DBFS:.0f} dBFS); "
                             "give a file in which someone speaks.")
    return Speech(samples, SAMPLE_RATE, seconds)


def loudest_dbfs(samples: np.ndarray) -> float:
    """Level of the loudest 50 ms of `samples` (N,), dB relative to a full-scale constant; -200 for nothing at all.

    The loudest stretch rather than the peak, so that a single click doesn't pass for speech.
    """
    count = max(len(samples) // _LEVEL_WINDOW, 1)
    blocks = np.array_split(samples, count)
    power = max(float(np.mean(block.astype(np.float64) ** 2)) if len(block) else 0.0 for block in blocks)
    return 10 * float(np.log10(max(power, 1e-20)))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _decode(container: av.container.InputContainer, path: Path) -> np.ndarray:
    """(N,) float32 mono at 16 kHz of the first sound stream."""
    if not container.streams.audio:
        raise UserInputError(f"{path} has no sound; give an audio file, or a video with a sound track.")
    stream = container.streams.audio[0]
    stream.thread_type = "AUTO"
    delay, parts, resampler, rate = 0.0, [], None, 0
    for frame in _frames(container, stream):
        if resampler is None:
            rate = frame.sample_rate
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="VHQ")
            delay = _delay(container, frame)
        elif frame.sample_rate != rate:
            raise UserInputError(f"{path} changes its sample rate in the middle; convert it to one rate first.")
        parts.append(resampler.resample_chunk(_mono(frame)))
    if resampler is None:
        return np.zeros(0, np.float32)
    parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate([np.zeros(round(delay * SAMPLE_RATE), np.float32), *parts])


def _frames(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Decoded frames; a damaged packet is left out, as players do."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _delay(container: av.container.InputContainer, frame: av.AudioFrame) -> float:
    """Seconds by which the sound starts after the picture; 0 for a file without picture."""
    if not container.streams.video or frame.time is None or container.start_time is None:
        return 0.0
    late = frame.time - container.start_time / av.time_base
    return late if 0.001 < late < 3600 else 0.0


def _mono(frame: av.AudioFrame) -> np.ndarray:
    """(n,) float32: the mean of the channels, or the loudest one where they cancel each other out."""
    values = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    values = _to_float(values)
    mono = values.mean(0)
    powers = np.mean(values ** 2, axis=1)
    # Opposite-phase stereo (a wrongly wired microphone) would vanish in the mean.
    if channels > 1 and float(np.mean(mono ** 2)) < 0.02 * float(powers.max()):
        mono = values[int(powers.argmax())]
    return np.ascontiguousarray(mono, np.float32)


def _to_float(values: np.ndarray) -> np.ndarray:
    """`values` in [-1, 1] whatever their sample format."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) / float(np.iinfo(values.dtype).max + 1)
    return values.astype(np.float32)
