"""Frames and speech to an MP4 that every player and editor takes: H.264, AAC, constant frame rate, BT.709.

Some programs (OpenCV among them) take no notice of a film's matrix and read all by BT.601's: a film of a clip that is
stored by BT.601 is, too, so that whoever lays one beside the other sees the same colours.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from ml_backend.errors import ParleyError, StageError, UserInputError
from ml_backend.film.sound import Sound
from ml_backend.progress import Progress, silent

CRF = "16"
PRESET = "veryfast"  # at this CRF as small as "fast" and three times as quick
DETAILS = "subme=1:bframes=0"
"""As like the frames as the preset's own at two thirds of the time. Without B-frames, because x264 reads memory that
nothing was written to when it weighs them (mbtree), and the same frames would not always give the same film."""
SOUND_RATE = 160_000  # bits a second
BT709, BT601 = 1, 6
LIMITED = 1  # AVCOL_RANGE_MPEG


def write_film(frames: Iterable[np.ndarray], speech_path: Path | None, out: Path, *, fps: float = 25.0,
               size: tuple[int, int], seconds: float, comment: str = "", cut_sound: bool = False,
               bt601: bool = False, progress: Progress = silent) -> int:
    """Write a film; `out` appears only when it is complete.

    Parameters
    ----------
    frames : (H, W, 3) uint8 RGB each, shown from 0 at `fps`; odd sizes get a repeated row or column (H.264 needs
        even ones)
    speech_path : file whose whole first sound stream is the film's sound; None for a silent film
    out : the film; its folder is made
    fps : frames a second
    size : width and height of the frames
    seconds : length that is expected, for the progress
    comment : the film's comment tag, see `provenance.comment`
    cut_sound : end the sound with the picture, where it is longer
    bt601 : store colours by BT.601's matrix (the primaries stay BT.709's)
    progress : called with frames done and expected

    Returns
    -------
    int, number of frames written

    Raises
    ------
    UserInputError
        If the speech can't be read, or `out` can't be written (no permission, disk full).
    StageError
        If `frames` is empty or a frame is of another size.
    """
    out = Path(out)
    part = out.with_name(f".{out.name}.part")
    sound = Sound(speech_path) if speech_path is not None else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise UserInputError(f"{out} is a folder; give a file name for the film.")
        shape = _Shape(size, fps, round(seconds * fps), cut_sound, bt601)
        count = _write(part, frames, sound, shape, comment, progress)
        _check(part, count, out)
        os.replace(part, out)
    except ParleyError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise UserInputError(f"The film {out} can't be written ({_reason(error)}); free some space or choose another "
                             "folder.") from error
    finally:
        _remove(part)
    return count


class _Shape:
    """Size, rate, matrix and expected length of the film."""

    def __init__(self, size: tuple[int, int], fps: float, expected: int, cut_sound: bool, bt601: bool) -> None:
        self.size, self.cut_sound = size, cut_sound
        self.tag, self.matrix = (BT601, Colorspace.ITU601) if bt601 else (BT709, Colorspace.ITU709)
        self.even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self.rate = Fraction(fps).limit_denominator(1001)
        self.expected = max(1, expected)


def _write(part: Path, frames: Iterable[np.ndarray], sound: Sound | None, shape: _Shape, comment: str,
           progress: Progress) -> int:
    container = av.open(str(part), mode="w", format="mp4", options={"movflags": "+faststart"})
    try:
        if comment:
            container.metadata["comment"] = comment
        video = _video_stream(container, shape)
        audio = _audio_stream(container, sound) if sound else None
        blocks = iter(sound) if sound else iter(())
        count = 0
        waiting: AudioFrame | None = None
        for frame in _converted(frames, shape):
            frame.pts, frame.time_base = count, 1 / shape.rate
            container.mux(video.encode(frame))
            count += 1
            # Sound goes in step with the picture, so that neither waits in memory for the other.
            waiting = _encode_until(container, audio, blocks, waiting, count / shape.rate)
            progress(min(count, shape.expected), shape.expected)
        if count == 0:
            raise StageError("There is no frame to make a film of; render the frames first.")
        container.mux(video.encode(None))
        _encode_until(container, audio, blocks, waiting, count / shape.rate if shape.cut_sound else None)
        if audio is not None:
            container.mux(audio.encode(None))
    except BaseException:
        _abandon(container)
        raise
    container.close()
    return count


def _video_stream(container: OutputContainer, shape: _Shape) -> VideoStream:
    stream = container.add_stream("libx264", rate=shape.rate, options={"crf": CRF, "preset": PRESET,
                                                                       "x264-params": DETAILS})
    stream.width, stream.height = shape.even
    stream.pix_fmt = "yuv420p"
    stream.gop_size = max(1, round(shape.rate * 2))
    stream.time_base = 1 / shape.rate
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc = shape.tag, BT709, BT709
    context.color_range = LIMITED
    return stream


def _audio_stream(container: OutputContainer, sound: Sound) -> AudioStream:
    return container.add_stream("aac", rate=sound.rate, layout=sound.layout, bit_rate=SOUND_RATE)


def _encode_until(container: OutputContainer, stream: AudioStream | None, blocks: Iterator[AudioFrame],
                  waiting: AudioFrame | None, time: Fraction | None) -> AudioFrame | None:
    """Encode `waiting` and what follows up to `time` (None: all); returns the first block that lies behind it."""
    if stream is None:
        return None
    while True:
        block = waiting or next(blocks, None)
        if block is None:
            return None
        if time is not None and Fraction(block.pts or 0, block.sample_rate) > time:
            return block
        waiting = None
        container.mux(stream.encode(block))


def _converted(frames: Iterable[np.ndarray], shape: _Shape) -> Iterator[VideoFrame]:
    """RGB arrays to even-sized YUV."""
    reformatter = VideoReformatter()
    width, height = shape.size
    for image in frames:
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise StageError(f"A frame of the film is {image.shape} {image.dtype}, expected ({height}, {width}, 3) "
                             "uint8; render the frames again.")
        if shape.even != shape.size:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        converted = reformatter.reformat(
            frame, format="yuv420p", src_colorspace=shape.matrix, dst_colorspace=shape.matrix,
            src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP)
        converted.color_primaries = converted.color_trc = BT709
        yield converted


def _check(part: Path, count: int, out: Path) -> None:
    """A disk that fills up while the file is closed is not always reported: look at what is there."""
    try:
        with av.open(str(part)) as container:
            found = container.streams.video[0].frames
    except (av.error.FFmpegError, OSError, IndexError):
        found = 0
    if found != count:
        raise UserInputError(f"The film {out} came out broken, most likely because the disk is full; free some space "
                             "and run again.")


def _abandon(container: OutputContainer) -> None:
    """Close a film that won't be kept; what goes wrong in that is not what went wrong."""
    try:
        container.close()
    except (av.error.FFmpegError, OSError):
        return


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return  # an unwritable folder: nothing of ours can be there


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return "the disk is full"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is not writable"
    return getattr(error, "strerror", None) or str(error)
