"""One stream of frames out of all that the user named."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deal_yolo.errors import SourceError
from deal_yolo.infer.source import Frame, Media, Unreadable, public_name, read_image
from deal_yolo.infer.video import Excerpt, count_frames, read_capture, read_stream, read_video

Done = Mapping[str, tuple[int, float]]


def read_all(
    media: Sequence[Media], excerpt: Excerpt, timeout_s: float, done: Done
) -> Generator[Frame | Unreadable, None, None]:
    """The frames of all media, one after the other; what cannot be read is named, the rest goes on.

    Args:
        media: photos, videos, cameras and streams.
        excerpt: which frames of a video.
        timeout_s: how long a stream may be silent.
        done: for each source number and time of the last frame that is not wanted again.
    """
    for one in media:
        try:
            yield from _read(one, excerpt, timeout_s, done)
        except SourceError as error:
            yield Unreadable(public_name(one.path), public_name(str(error)))


def count_all(media: Sequence[Media], excerpt: Excerpt) -> int | None:
    """How many frames `read_all` gives if nothing is done yet; None where that is not known."""
    total = 0
    for one in media:
        if one.live:
            return None
        try:
            total += 1 if one.kind == "photo" else count_frames(one.path, excerpt)
        except SourceError:
            continue  # reading will name it
    return total


def _read(
    media: Media, excerpt: Excerpt, timeout_s: float, done: Done
) -> Iterator[Frame | Unreadable]:
    path = media.path
    if media.kind == "photo":
        if path not in done:
            yield Frame(path, media.name, 0, 0.0, read_image(Path(path)))
    elif media.kind == "stream":
        yield from read_stream(path, media.name, excerpt, timeout_s)
    elif media.kind == "capture":
        yield from read_capture(path, media.name, excerpt)
    else:
        last, last_s = done.get(path, (-1, 0.0))
        rest = replace(excerpt, from_s=max(excerpt.from_s or 0.0, last_s - 0.001))
        for item in read_video(path, media.name, rest):
            if isinstance(item, Unreadable) or item.index > last:
                yield item
