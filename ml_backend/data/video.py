"""Any clip or photo to a folder of PNG frames at the backend's 25 a second."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ml_backend.data import decode, photo
from ml_backend.data.frames import INDEX, FrameFolder, encode_png, frame_path, read_index, write_index, write_whole
from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent

FPS = 25.0
MOST = 7500  # frames: five minutes at 25 a second, about 4 GB of PNG at 720p
LONGEST = 3840  # pixels: 4K is kept as it is, what is larger is scaled down to this
LEAST_SECONDS = 1.0  # of a damaged file that are worth going on with
SEEK_FROM = 4.0  # seconds: below, decoding from the beginning is as quick and never wrong
SAMPLE = 1 << 20
WRITERS = 2


@dataclass(frozen=True)
class VideoInfo:
    """What a clip or photo is.

    Attributes
    ----------
    width, height : pixels, upright, with square pixels
    fps : average frames a second; 0 for a photo
    seconds : length of the picture; 0 for a photo
    rotation : clockwise degrees by which the stored picture has to be turned
    has_sound : whether there is a sound stream
    is_photo : whether it is one still picture
    bt601 : whether its colours are stored by BT.601's matrix, as small clips' are
    """

    width: int
    height: int
    fps: float
    seconds: float
    rotation: int
    has_sound: bool
    is_photo: bool
    bt601: bool = False


def probe(path: Path) -> VideoInfo:
    """Look at a clip or photo; decodes one frame.

    Raises
    ------
    UserInputError
        If `path` is missing, a folder, no media, sound only, or holds no picture that can be decoded.
    """
    path = Path(path)
    decode.check_file(path)
    if (image := photo.open_photo(path)) is not None:
        with image:
            width, height = photo.upright_size(image)
        return VideoInfo(width, height, fps=0.0, seconds=0.0, rotation=0, has_sound=False, is_photo=True)
    with decode.open_clip(path) as container:
        stream = decode.picture_stream(container, path)
        frame = _first_frame(container, stream, path)
        to_rgb = decode.ToRgb(frame, decode.pixel_aspect(stream, frame), 1 << 20)
        single = container.format.name.endswith("_pipe")
        return VideoInfo(*to_rgb.size, fps=0.0 if single else decode.frame_rate(stream),
                         seconds=0.0 if single else _declared_seconds(container, stream),
                         rotation=decode.degrees(decode.orientation(frame)),
                         has_sound=bool(container.streams.audio), is_photo=single,
                         bt601=not single and decode.matrix_of(frame) == decode.Colorspace.ITU601)


def extract_frames(path: Path, folder: Path, *, seconds: float | None = None, start: float = 0.0, fps: float = FPS,
                   most: int = MOST, longest: int = LONGEST, progress: Progress = silent) -> FrameFolder:
    """Write the frames of a clip (or the one of a photo) as upright RGB PNG.

    Output frame k shows the source frame nearest in time to ``start + k / fps``, so that any frame rate, also a
    variable one, stays in time with its sound. Frames already there from an interrupted run are kept.

    Parameters
    ----------
    path : clip or photo
    folder : where ``000000.png`` onwards and ``frames.json`` go; frames of another source are removed from it
    seconds : how much of the clip to take, None for all
    start : where to begin, seconds
    fps : output frames a second
    most : number of frames at which a long clip is cut
    longest : pixels; larger pictures are scaled down so that their longer side is this
    progress : called with frames done and expected

    Raises
    ------
    UserInputError
        If the input can't be used (see `probe`), `start` lies behind its end, less than a second of a damaged clip can
        be decoded, or the folder can't be written.
    """
    path, folder = Path(path), Path(folder)
    if fps <= 0 or start < 0 or (seconds is not None and seconds <= 0):
        raise UserInputError(f"Can't take {seconds} s from {start} s at {fps} frames a second of {path}; "
                             "give a length above 0 and a start of 0 or later.")
    decode.check_file(path)
    facts = {"key": _key(path, seconds, start, fps, most, longest), "fps": fps}
    index = read_index(folder)
    if index.get("key") != facts["key"]:
        _clear(folder)
    elif index.get("complete") and all(frame_path(folder, i).exists() for i in range(index["count"])):
        return FrameFolder.open(folder)
    write_index(folder, **facts, complete=False)
    if photo.open_photo(path) is not None:
        write_whole(frame_path(folder, 0), encode_png(photo.read_photo(path, longest)))
        count, notes = 1, []
    else:
        count, notes = _extract_clip(path, folder, _Span(start, seconds, fps, most), longest, progress)
    progress(count, count)
    write_index(folder, **facts, complete=True, count=count, notes=notes)
    return FrameFolder.open(folder)


@dataclass(frozen=True)
class _Span:
    start: float
    seconds: float | None
    fps: float
    most: int

    @property
    def limit(self) -> int:
        """Frames at most."""
        return self.most if self.seconds is None else min(self.most, max(1, round(self.seconds * self.fps)))


def _extract_clip(path: Path, folder: Path, span: _Span, longest: int, progress: Progress) -> tuple[int, list[str]]:
    damage = decode.Damage()
    with decode.open_clip(path) as container:
        stream = decode.picture_stream(container, path)
        declared = _declared_seconds(container, stream)
        total = max(1, min(span.limit, round((declared - span.start) * span.fps) if declared else span.limit))
        if span.start > SEEK_FROM and not _seek(container, stream, span.start):
            container.seek(0)
        frames = decode.timed_frames(container, stream, damage)
        count, end = 0, 0.0
        convert: decode.ToRgb | None = None
        with _Writer(folder) as writer:
            for frame, first, last, end in _nearest(frames, span):  # noqa: B007 - the last end is used below
                convert = convert or decode.ToRgb(frame, decode.pixel_aspect(stream, frame), longest)
                writer.write(convert, frame, range(first, last))
                count = last
                progress(min(count, total), max(count, total))
    if count == 0:
        _refuse_nothing(path, span, declared, damage)
    return count, _notes(path, span, count, end, declared, damage)


def _nearest(frames: Iterator[tuple[float, VideoFrame]], span: _Span) -> Iterator[tuple[VideoFrame, int, int, float]]:
    """Source frames with the half-open range of output frames that each is nearest to, and the time it ends."""
    k, held = 0, None
    for time, frame in frames:
        if held is not None:
            first, middle = k, (held[0] + time) / 2
            while k < span.limit and span.start + k / span.fps <= middle + 1e-9:
                k += 1
            if k > first:
                yield held[1], first, k, time
        if k >= span.limit:
            return
        held = (time, frame)
    if held is not None:
        first, end = k, held[0] + _duration(held[1], span.fps)
        while k < span.limit and span.start + (k + 0.5) / span.fps <= end + 1e-6:
            k += 1
        if k == 0 and span.start < end:
            k = 1  # shorter than half a frame of ours, but a frame
        if k > first:
            yield held[1], first, k, end


def _duration(frame: VideoFrame, fps: float) -> float:
    """Seconds that the last frame stays, one output frame where the file doesn't say."""
    length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
    return min(length, 10.0) if length > 0 else 1 / fps


class _Writer:
    """Encodes and writes PNG beside the decoding thread; what exists is left alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(WRITERS)
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> _Writer:
        return self

    def write(self, convert: decode.ToRgb, frame: VideoFrame, indices: range) -> None:
        """Queue `frame` as every output of `indices`; raises what an earlier write met."""
        missing = [p for i in indices if not (p := frame_path(self._folder, i)).exists()]
        if not missing:
            return
        self._pending.append(self._pool.submit(_write_all, convert(frame), missing))
        while len(self._pending) > 2 * WRITERS:
            self._pending.popleft().result()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for future in self._pending:
                future.result()


def _write_all(image: object, paths: list[Path]) -> None:
    data = encode_png(image)  # type: ignore[arg-type]
    for path in paths:
        write_whole(path, data)


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    for _, frame in decode.timed_frames(container, stream, decode.Damage()):
        return frame
    raise UserInputError(f"{path} holds no picture that can be decoded; export it again as MP4 (or PNG for a photo).")


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Length that the file claims, 0 where it claims none."""
    if stream.duration and stream.time_base:
        end = (stream.duration + max(stream.start_time or 0, 0)) * stream.time_base
        return float(end) - decode.time_zero(container)
    return max(container.duration or 0, 0) / 1e6


def _seek(container: InputContainer, stream: VideoStream, start: float) -> bool:
    """Go to the key frame before `start`; False if the file can't be relied on to have done so."""
    goal = start + decode.time_zero(container) - 1.0
    try:
        container.seek(int(goal / float(stream.time_base or 1)), stream=stream, backward=True)
        packet = next(container.demux(stream), None)
        reached = packet is not None and packet.pts is not None and float(packet.pts * packet.time_base) <= goal + 0.5
        container.seek(int(goal / float(stream.time_base or 1)) if reached else 0, stream=stream, backward=True)
    except OSError:
        return False
    return reached


def _refuse_nothing(path: Path, span: _Span, declared: float, damage: decode.Damage) -> None:
    if span.start > 0 and not damage.packets:
        raise UserInputError(f"{path} is {declared:.1f} s long and can't be begun at {span.start:g} s; "
                             "give an earlier start.")
    raise UserInputError(f"{path} holds no frame that can be decoded; export the clip again as MP4.")


def _notes(path: Path, span: _Span, count: int, end: float, declared: float, damage: decode.Damage) -> list[str]:
    notes = []
    got = count / span.fps
    wanted = min(declared - span.start, span.limit / span.fps)
    if wanted - got > max(0.5, 0.02 * wanted) or damage.packets:
        if wanted - got > 0.1 and got < LEAST_SECONDS:
            raise UserInputError(f"{path} is damaged: only {got:.2f} s of {declared:.1f} s can be decoded; "
                                 "export it again.")
        notes.append(f"{path.name} is damaged or cut off: {got:.1f} s of {max(wanted, got):.1f} s were taken.")
    if count == span.most and declared - span.start - span.most / span.fps > 0.1:
        notes.append(f"{path.name} is long: its first {got:.0f} s were taken.")
    return notes


def _key(path: Path, *settings: object) -> str:
    """Hash of the settings and of the file's size, beginning, middle and end, so that a swapped clip is noticed."""
    digest = hashlib.sha256(repr(settings).encode())
    size = path.stat().st_size
    digest.update(str(size).encode())
    try:
        with open(path, "rb") as stream:
            for offset in (0, size // 2, max(0, size - SAMPLE)):
                stream.seek(offset)
                digest.update(stream.read(SAMPLE))
    except OSError as error:
        raise UserInputError(f"{path} can't be opened ({error.strerror}); copy it to a folder of yours.") from error
    return digest.hexdigest()[:24]


def _clear(folder: Path) -> None:
    """Make `folder` and take our own older frames out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if re.fullmatch(r"\d{6}\.png(\.part)?", old.name) or old.name == INDEX:
                old.unlink()
    except OSError as error:
        raise UserInputError(f"Can't write frames into {folder} ({error.strerror}); choose another folder.") from error
