"""Frames of video files, cameras and streams, with their true times.

Files and network streams are read by PyAV, which knows variable frame rates, rotation flags and
10-bit pictures; cameras and GStreamer pipelines by OpenCV, which an edge install has anyway.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from deal_yolo.errors import ConfigError, SourceError, require
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.source import Frame, Unreadable, public_name

if TYPE_CHECKING:
    import av

# A container's duration is rounded, and its last frame lasts a while.
_SLACK_S = 0.5
_RETRY_S = 1.0


@dataclass(frozen=True)
class Excerpt:
    """Which frames of a video are wanted.

    Args:
        every: each n-th frame, counted from the video's start.
        from_s: first second; None is the start.
        to_s: last second; None is the end.

    Raises:
        ConfigError: it holds no frame.
    """

    every: int = 1
    from_s: float | None = None
    to_s: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every must be at least 1, not {self.every}")
        if self.from_s is not None and self.from_s < 0:
            raise ConfigError(f"from must not be negative, not {self.from_s}")
        if self.to_s is not None and self.to_s <= (self.from_s or 0):
            raise ConfigError(f"to ({self.to_s} s) must be after from ({self.from_s or 0} s)")

    def wants(self, index: int, time_s: float) -> bool:
        """Whether the frame is in the excerpt."""
        return index % self.every == 0 and time_s >= (self.from_s or 0) and not self.ended(time_s)

    def ended(self, time_s: float) -> bool:
        """Whether the excerpt ends before this time."""
        return self.to_s is not None and time_s > self.to_s


def read_video(path: str, name: PurePosixPath, excerpt: Excerpt) -> Iterator[Frame | Unreadable]:
    """The frames of a video file, upright, numbered and timed from the file's first frame.

    A file that is damaged or cut short gives what is readable, then an `Unreadable`.

    Raises:
        SourceError: it cannot be opened, or has no pictures.
        MissingExtraError: PyAV is not installed.
    """
    with _open(path, None) as container:
        stream = _pictures(container, path)
        times = _frame_times(container, stream, path)
        origin = times[0]
        if excerpt.from_s:
            container.seek(int((origin + excerpt.from_s) / _tick(stream)), stream=stream)
        last = 0.0
        try:
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                at = float(frame.pts * _tick(stream))
                # Half a millisecond: a time is a rounded multiple of the time base.
                index = bisect.bisect_left(times, at - 0.0005)
                last = at - origin
                if excerpt.ended(last):
                    return
                if excerpt.wants(index, last):
                    yield _frame(path, name, index, last, _upright(frame))
        except _av().error.FFmpegError as error:
            yield Unreadable(path, f"{path}: damaged after {last:.1f} s: {_reason(error)}")
            return
        length = _length(container, stream)
        if length - last > max(_SLACK_S, 2 * length / max(1, len(times))):
            yield Unreadable(path, f"{path}: cut short after {last:.1f} s of {length:.1f} s")


def count_frames(path: str, excerpt: Excerpt) -> int:
    """How many frames `read_video` will give; the file is read but not decoded.

    Raises:
        SourceError: it cannot be opened, or has no pictures.
    """
    with _open(path, None) as container:
        times = _frame_times(container, _pictures(container, path), path)
    return sum(excerpt.wants(n, t - times[0]) for n, t in enumerate(times))


def read_stream(
    url: str, name: PurePosixPath, excerpt: Excerpt, timeout_s: float
) -> Iterator[Frame | Unreadable]:
    """The frames of an rtsp or http stream, timed by their arrival.

    A stream that drops is opened again until it has been silent for ``timeout_s``; one with a
    known end, such as a file served by http, ends there.

    Raises:
        SourceError: it does not answer in ``timeout_s``.
    """
    start = heard = time.monotonic()
    index, first = 0, True
    while first or time.monotonic() - heard < timeout_s:
        try:
            with _open(url, timeout_s) as container:
                stream = _pictures(container, url)
                first = False
                for frame in container.decode(stream):
                    heard = time.monotonic()
                    if excerpt.ended(heard - start):
                        return
                    if excerpt.wants(index, heard - start):
                        yield _frame(url, name, index, heard - start, _upright(frame))
                    index += 1
                if _ends(container):
                    return
        except (_av().error.FFmpegError, SourceError):
            if first:
                raise
        time.sleep(min(_RETRY_S, timeout_s))
    yield Unreadable(url, f"{url}: silent for {timeout_s:g} s, given up")


def read_capture(
    source: str, name: PurePosixPath, excerpt: Excerpt
) -> Iterator[Frame | Unreadable]:
    """The frames of a camera (a number) or of a GStreamer pipeline that ends in ``appsink``.

    Raises:
        SourceError: there is no such camera, or the pipeline does not start.
    """
    camera = source.isdecimal()
    if not camera and "GStreamer:                   YES" not in cv2.getBuildInformation():
        raise SourceError(
            "this OpenCV is built without GStreamer: use a file or an rtsp:// address"
        )
    capture = (
        cv2.VideoCapture(int(source)) if camera else cv2.VideoCapture(source, cv2.CAP_GSTREAMER)
    )
    what = f"camera {source}" if camera else "the GStreamer pipeline"
    try:
        if not capture.isOpened():
            raise SourceError(f"{what} cannot be opened")
        start, index = time.monotonic(), 0
        while True:
            good, image = capture.read()
            now = time.monotonic() - start
            if not good:
                if camera:
                    yield Unreadable(source, f"{what} stopped after {now:.1f} s")
                return
            if excerpt.ended(now):
                return
            if excerpt.wants(index, now):
                yield _frame(source, name, index, now, cast(Image, image))
            index += 1
    finally:
        capture.release()


def _frame(source: str, name: PurePosixPath, index: int, time_s: float, image: Image) -> Frame:
    source = public_name(source)
    return Frame(source, name / f"{index:06d}.jpg", index, max(0.0, time_s), image, still=False)


def _av() -> Any:
    return require("av", "footage")


def _open(source: str, timeout_s: float | None) -> av.container.InputContainer:
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
    try:
        return cast(
            "av.container.InputContainer", _av().open(source, options=options, timeout=timeout_s)
        )
    except (_av().error.FFmpegError, OSError) as error:
        if timeout_s is not None:
            raise SourceError(
                f"{source}: no answer in {timeout_s:g} s or no stream there"
            ) from error
        raise SourceError(f"{source}: not a readable video: {_reason(error)}") from error


def _ends(container: av.container.InputContainer) -> bool:
    """Whether it is a file; what is live has no length."""
    return bool(container.duration)


def _pictures(container: av.container.InputContainer, source: str) -> av.VideoStream:
    # The cover picture of a song is a video stream of one frame to FFmpeg.
    attached = _av().stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        raise SourceError(f"{source}: no pictures in this file, it may hold sound alone")
    streams[0].thread_type = "AUTO"
    return streams[0]


def _frame_times(
    container: av.container.InputContainer, stream: av.VideoStream, path: str
) -> list[float]:
    """Times of all frames in order, read without decoding; rewinds the file."""
    try:
        packets = [p.pts for p in container.demux(stream) if p.pts is not None and p.size]
    except _av().error.FFmpegError as error:
        raise SourceError(f"{path}: not a readable video: {_reason(error)}") from error
    if not packets:
        raise SourceError(f"{path}: a video with no frames")
    container.seek(min(packets), stream=stream)
    return [float(pts * _tick(stream)) for pts in sorted(packets)]


def _length(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Seconds that the file's header promises; 0 where it says nothing."""
    if stream.duration is not None:
        return float(stream.duration * _tick(stream))
    return (container.duration or 0) / 1e6


def _tick(stream: av.VideoStream) -> Fraction:
    assert stream.time_base is not None  # only of a stream not yet opened
    return Fraction(stream.time_base.numerator, stream.time_base.denominator)


def _upright(frame: av.VideoFrame) -> Image:
    image = frame.to_ndarray(format="bgr24")
    # The flag tells how far to turn against the clock.
    turns = round(frame.rotation / 90) % 4
    return cast(Image, np.ascontiguousarray(np.rot90(image, turns)))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())
