"""Decoding a clip with PyAV: opening, times, and each frame's way to upright 8-bit RGB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from ml_backend.data import hdr
from ml_backend.errors import UserInputError

# Formats that FFmpeg would open, though they are text, or would fetch other files than the one given.
REFUSED = {"tty", "bin", "xbin", "adf", "idf", "lavfi", "concat", "hls", "sdp", "rtsp", "dash", "imf", "webvtt", "srt"}
HEIC = {"heic", "heix", "mif1", "msf1", "hevc"}
SMOOTH = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
# AVColorSpace (what the stream says) → the matrix swscale is to use.
MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
            7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}
COMB = 10  # levels; less is texture or noise
ANAMORPHIC_MIN, ANAMORPHIC_MAX = 1.03, 4.0
"""Of a pixel's sides, from which, and to which, it counts as oblong. Less is what cropping and rounding leave: nobody
sees it, and making it square would soften every frame, and give a film of another size than its clip.
"""


@dataclass
class Damage:
    """What went wrong while decoding: `packets` that could not be decoded."""

    packets: int = 0


def open_clip(path: Path) -> InputContainer:
    """Open a media file for reading.

    Raises
    ------
    UserInputError
        If it is missing, a folder, empty, unreadable, or no media.
    """
    check_file(path)
    try:
        container = av.open(str(path), mode="r", metadata_errors="ignore")
    except PermissionError as error:
        raise UserInputError(f"{path} can't be opened (permission denied); copy it to a folder of yours.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserInputError(f"{path} is no video or photo that can be read, or it is cut off; export it again as MP4 "
                             "(or PNG for a photo).") from error
    names = set(container.format.name.split(","))
    if names & REFUSED or not (container.streams.video or container.streams.audio):
        container.close()
        raise UserInputError(f"{path} is no video or photo; give a clip (MP4, MOV, WebM) or a photo (PNG, JPEG).")
    if container.metadata.get("major_brand", "").strip().lower() in HEIC:
        container.close()
        raise UserInputError(f"{path} is a HEIC photo, which can't be read; save it as JPEG or PNG.")
    return container


def check_file(path: Path) -> None:
    """Raise `UserInputError` unless `path` is a file with something in it."""
    path = Path(path)
    if path.is_dir():
        raise UserInputError(f"{path} is a folder; give a video or photo file.")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserInputError(f"There is no file {path}; check its name.") from error
    if size == 0:
        raise UserInputError(f"{path} is empty; copy or export it again.")


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The clip's main picture, cover art aside; raises `UserInputError` where there is only sound."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UserInputError(f"{path} has sound but no picture; give a clip or a photo of the person as target "
                             "(and this file as speech).")
    stream = max(streams, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))
    stream.thread_type = "AUTO"
    return stream


def frame_rate(stream: VideoStream) -> float:
    """Average frames a second; 25 where the file doesn't say."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0.1 <= float(rate) <= 1000 else 25.0


def time_zero(container: InputContainer) -> float:
    """Presentation time, seconds, at which the clip begins (transport streams begin anywhere)."""
    return max(container.start_time or 0, 0) / 1e6


def timed_frames(container: InputContainer, stream: VideoStream, damage: Damage) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their strictly rising presentation times in seconds from the clip's beginning.

    Packets that can't be decoded are counted in `damage` and passed over.
    """
    zero, step, last = time_zero(container), 1 / frame_rate(stream), -np.inf
    for frame in _frames(container, stream, damage):
        time = float(frame.pts * stream.time_base) - zero if frame.pts is not None and stream.time_base else np.nan
        if not time > last:  # missing, repeated or jumping back
            time = last + step if np.isfinite(last) else 0.0
        last = time
        yield time, frame


def _frames(container: InputContainer, stream: VideoStream, damage: Damage) -> Iterator[VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            damage.packets += 1
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, OSError):
            damage.packets += 1
            continue
        for frame in frames:
            if isinstance(frame, VideoFrame):
                if frame.is_corrupt:
                    damage.packets += 1
                else:
                    yield frame


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then mirror left-right, then mirror top-bottom) that turn the frame upright.

    From the display matrix (16.16 fixed point a b u c d v x y w; x' = a x + c y, y' = b x + d y), which can mirror as
    well as rotate; from the rotation angle alone where the matrix can't be had.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is not None:
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
        return (False, a < 0, d < 0) if abs(a) >= abs(b) else (True, c < 0, b < 0)
    quarter = round(frame.rotation / 90) % 4  # anticlockwise
    return [(False, False, False), (True, False, True), (False, True, True), (True, True, False)][quarter]


def degrees(turn: tuple[bool, bool, bool]) -> int:
    """Clockwise degrees of an `orientation`, mirroring apart."""
    transpose, mirror, flip = turn
    if transpose:
        return 90 if mirror else 270
    return 180 if flip else 0


def display_size(frame: VideoFrame, aspect: float, longest: int) -> tuple[int, int]:
    """Width and height, pixels, before turning: pixels made square, the longer side at most `longest`."""
    width, height = float(frame.width), float(frame.height)
    if ANAMORPHIC_MIN <= max(aspect, 1 / aspect) <= ANAMORPHIC_MAX:
        width, height = (width * aspect, height) if aspect > 1 else (width, height / aspect)
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def pixel_aspect(stream: VideoStream, frame: VideoFrame) -> float:
    """Width of a pixel over its height, 1 where unknown; `frame` may be of a codec that only now tells."""
    aspect = stream.sample_aspect_ratio or getattr(stream.codec_context, "sample_aspect_ratio", None)
    return float(aspect) if aspect else 1.0


def comb_out(image: np.ndarray) -> None:
    """Take the second field's teeth out of an interlaced (H, W, 3) uint8 picture, in place.

    An odd line that is brighter, or darker, than both its neighbours by more than `COMB` levels gets their mean: moving
    parts lose the comb, still parts keep their full height.
    """
    rows = image[: len(image) - (len(image) + 1) % 2].astype(np.int16)
    above, line, below = rows[:-2:2], rows[1:-1:2], rows[2::2]
    toothed = ((line - above).astype(np.int32) * (line - below) > COMB**2).any(2, keepdims=True)
    image[1 : len(rows) - 1 : 2] = np.where(toothed, (above + below + 1) // 2, line).astype(np.uint8)


def matrix_of(frame: VideoFrame) -> Colorspace:
    """The matrix between RGB and YUV that `frame` names; unnamed, BT.709 for HD and BT.601 below, as players do."""
    unnamed = Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601
    return MATRICES.get(frame.colorspace, unnamed)


class ToRgb:
    """Turns decoded frames into upright RGB of one size, that of the first frame."""

    def __init__(self, frame: VideoFrame, aspect: float, longest: int) -> None:
        self._size = display_size(frame, aspect, longest)
        self._turn = orientation(frame)
        self._reformatter = VideoReformatter()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (self._size[1], self._size[0]) if self._turn[0] else self._size

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8."""
        hdr_video = frame.color_trc in (hdr.PQ, hdr.HLG)
        matrix = matrix_of(frame)
        full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
        converted = self._reformatter.reformat(
            frame, *self._size, format="rgb48le" if hdr_video else "rgb24", interpolation=SMOOTH,
            src_colorspace=matrix, src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_colorspace=matrix, dst_color_range=ColorRange.JPEG)
        image = converted.to_ndarray()
        if hdr_video:
            image = hdr.to_sdr(image, frame.color_trc)
        if frame.interlaced_frame and len(image) == frame.height:
            comb_out(image)
        transpose, mirror, flip = self._turn
        image = image.transpose(1, 0, 2) if transpose else image
        return np.ascontiguousarray(image[:: -1 if flip else 1, :: -1 if mirror else 1])
