"""Small media files for tests, made on the spot with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

CLOCK = 90000


def write_clip(path: Path, images: Sequence[np.ndarray], times: Sequence[float], *, codec: str = "libx264",
               pix_fmt: str = "yuv444p", matrix: Colorspace = Colorspace.ITU601, tag: int | None = None,
               full: bool = False, trc: int | None = None, aspect: Fraction | None = None) -> Path:
    """A clip that shows `images` (H, W, 3 uint8 RGB) at `times` (seconds)."""
    options = {"crf": "0", "preset": "ultrafast"} if codec == "libx264" else {}
    lengths = np.diff(times).tolist()
    lengths.append(lengths[-1] if lengths else 0.04)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(1 / lengths[-1]).limit_denominator(1001), options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if tag is not None:
            stream.codec_context.colorspace = tag
        if trc is not None:
            stream.codec_context.color_trc = trc
        stream.codec_context.color_range = 2 if full else 1
        reformatter = VideoReformatter()
        for image, time, length in zip(images, times, lengths, strict=True):
            layout = "rgb24" if image.dtype == np.uint8 else "rgb48le"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout)
            frame = reformatter.reformat(frame, format=pix_fmt, src_colorspace=matrix, dst_colorspace=matrix,
                                         src_color_range=ColorRange.JPEG,
                                         dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG)
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            frame.duration = round(length * CLOCK)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_sound(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    """16-bit WAV of (N,) or (N, channels) float samples."""
    data = np.atleast_2d(samples.T).T
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=rate, layout="mono" if data.shape[1] == 1 else "stereo")
        frame = av.AudioFrame.from_ndarray((data * 32767).astype(np.int16).reshape(1, -1), format="s16",
                                           layout=stream.layout.name)
        frame.sample_rate, frame.pts = rate, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix (a b; c d, each −1, 0 or 1) into the first track header of an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    values = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4")
    data[at : at + 36] = values.tobytes()
    path.write_bytes(bytes(data))
    return path


def grey(level: int, width: int = 32, height: int = 24) -> np.ndarray:
    """One flat picture."""
    return np.full((height, width, 3), level, np.uint8)
