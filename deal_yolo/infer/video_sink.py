"""Annotated video as H.264 in MP4, the form that browsers play.

While it grows it is a fragmented file, readable up to the last frame after any stop. When it is
finished its index goes to the front, so that players can seek.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from deal_yolo.errors import OutputError, require
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.sinks import Result

if TYPE_CHECKING:
    import av

_CLOCK = Fraction(1, 90_000)
_GROWING = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}
_FINISHED = {"movflags": "faststart"}
# No frame refers to a later one: what was handed over is in the file at once.
_CODEC = {"preset": "veryfast", "crf": "23", "tune": "zerolatency", "bf": "0", "g": "60"}


class VideoSink:
    """``videos/NAME.mp4`` for each video source; photos are passed over.

    Args:
        out: the output folder.
        before: for each source how many frames of it an earlier run has finished; these are
            kept, and the video goes on after them.

    Raises:
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, out: Path, before: Mapping[str, int] | None = None) -> None:
        require("av", "footage")
        self._out = out
        self._before = dict(before or {})
        self._source: str | None = None
        self._writer: _Writer | None = None

    def write(self, result: Result) -> None:
        """See `Sink`."""
        frame, picture = result.frame, result.picture
        if frame.still:
            return
        assert picture is not None
        if frame.source != self._source or self._writer is None:
            self.close()
            self._source = frame.source
            kept = self._before.get(frame.source, 0)
            self._writer = _Writer(video_path(self._out, frame.name), picture, kept)
        self._writer.write(picture, frame.time_s)

    def close(self) -> None:
        """See `Sink`."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def video_path(out: Path, name: PurePosixPath) -> Path:
    """The video that the frame of this name goes into."""
    video = name.parent
    return out / "videos" / video.with_name(video.name.removesuffix(".mp4") + ".mp4")


def frames_in(path: Path) -> int:
    """Whole frames in a video that an earlier run has left; 0 if there is none."""
    av = require("av", "footage")
    if not path.exists():
        return 0
    try:
        with av.open(str(path)) as container:
            packets = container.demux(container.streams.video[0])
            # A full disk may have cut the last one.
            return sum(1 for p in packets if p.size and not p.is_corrupt)
    except av.error.FFmpegError:
        return 0


class _Writer:
    """One growing file.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, picture: Image, kept: int) -> None:
        self._av = require("av", "footage")
        self._path = path
        self._size = (picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2)  # H.264 wants even
        old = path.with_name(path.name + ".old")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kept and path.exists():
                os.replace(path, old)
            self._file = self._av.open(str(path), "w", format="mp4", options=_GROWING)
            self._last = -1
            self._begin()
            if kept and old.exists():
                self._copy(old, kept)
            old.unlink(missing_ok=True)
        except (self._av.error.FFmpegError, OSError) as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, picture: Image, time_s: float) -> None:
        """Append a frame of the first one's size."""
        width, height = self._size
        frame = self._av.VideoFrame.from_ndarray(picture[:height, :width], format="bgr24")
        # Times of a file must grow, however close together frames came.
        self._last = max(round(time_s / _CLOCK), self._last + 1)
        frame.pts, frame.time_base = self._last, _CLOCK
        self._mux(frame)

    def close(self) -> None:
        """Finish the file and put its index to the front."""
        self._mux(None)
        part = self._path.with_name(self._path.name + ".part")
        try:
            self._file.close()
            _finish(self._av, self._path, part)
            os.replace(part, self._path)
        except (self._av.error.FFmpegError, OSError) as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"{self._path}: cannot be finished: {error.strerror}") from error

    def _begin(self) -> None:
        self._stream = self._file.add_stream("libx264")
        codec = self._stream.codec_context
        codec.width, codec.height = self._size
        codec.pix_fmt, codec.time_base = "yuv420p", _CLOCK
        codec.options = dict(_CODEC)

    def _copy(self, old: Path, kept: int) -> None:
        """Begin with the first ``kept`` frames of the old file, not encoded anew."""
        with self._av.open(str(old)) as before:
            source = before.streams.video[0]
            # To the form that the encoder gives, so that the file can hold both.
            same_form = self._av.BitStreamFilterContext("h264_mp4toannexb", source, self._stream)
            packets = (p for p in before.demux(source) if p.size)
            for _, packet in zip(range(kept), packets, strict=False):
                self._last = round(packet.pts * packet.time_base / _CLOCK)
                for ready in same_form.filter(packet):
                    ready.stream = self._stream
                    self._file.mux(ready)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                packet.stream = self._stream
                self._file.mux(packet)
        except (self._av.error.FFmpegError, OSError) as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error


def _finish(av: Any, source: Path, target: Path) -> None:
    """The same frames in a file with its index in front."""
    with av.open(str(source)) as old, av.open(str(target), "w", "mp4", options=_FINISHED) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
