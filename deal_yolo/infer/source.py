"""Where pictures come from: photos, folders, globs, video files, cameras and streams.

A source is a generator of `Frame`; what cannot be read comes out as `Unreadable`, and the rest
goes on.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, cast

import cv2
import numpy as np

from deal_yolo.errors import SourceError
from deal_yolo.infer.preprocess import Image

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".ppm"}
)


VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mts", ".m2ts", ".ts", ".mpg", ".webm", ".wmv"}
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and where it is from.

    Args:
        source: the file or stream, as results name it.
        name: path for result files, relative to the output folder; never leaves it.
        index: number of the frame in its source, from 0; photos have 0.
        time_s: seconds since the start of the source; photos have 0.
        image: ``(h, w, 3)`` BGR.
        still: whether it is a photo of its own, not part of a video.
    """

    source: str
    name: PurePosixPath
    index: int
    time_s: float
    image: Image
    still: bool = True


@dataclass(frozen=True)
class Unreadable:
    """Something that could not be read, as one line that names it."""

    source: str
    reason: str


@dataclass(frozen=True)
class Media:
    """A photo, video, camera or stream, not yet opened.

    Args:
        path: file, address, camera number or GStreamer pipeline.
        name: path for its results, relative to the output folder; never leaves it.
        kind: how it is read.
    """

    path: str
    name: PurePosixPath
    kind: Literal["photo", "video", "stream", "capture"]

    @property
    def live(self) -> bool:
        """Whether it cannot be read a second time."""
        return self.kind in {"stream", "capture"}


def find_media(sources: Sequence[str]) -> list[Media]:
    """What the user's words mean: each file once, those of folders and globs sorted.

    Raises:
        SourceError: a file does not exist, or a folder or glob holds no photo or video.
    """
    found: dict[str, Media] = {}
    for source in sources:
        for media in _expand(source):
            found.setdefault(media.path, media)
    media_list = list(found.values())
    if len({m.name for m in media_list}) < len(media_list):
        # Cards number their photos alike: tell them apart by their folders.
        base = os.path.commonpath([Path(m.path).resolve().parent for m in media_list])
        names = (Path(m.path).resolve().relative_to(base).as_posix() for m in media_list)
        return [replace(m, name=PurePosixPath(n)) for m, n in zip(media_list, names, strict=True)]
    return media_list


def _expand(source: str) -> list[Media]:
    path = Path(source)
    if source.isdecimal() and not path.exists():
        return [Media(source, PurePosixPath(f"camera-{source}"), "capture")]
    if " ! " in source:
        return [Media(source, PurePosixPath("gstreamer"), "capture")]
    if "://" in source:
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", public_name(source)).strip("-.")
        return [Media(source, PurePosixPath(name or "stream"), "stream")]
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if is_media(p) and p.is_file())
        if not inside:
            raise SourceError(f"{source}: no photos or videos in this folder")
        return [_file(p, p.relative_to(path)) for p in inside]
    if path.exists():
        return [_file(path, Path(path.name))]
    matches = sorted(Path(m) for m in glob.glob(source, recursive=True))
    matches = [m for m in matches if is_media(m) and m.is_file()]
    if not matches:
        what = "no photo or video matches" if glob.has_magic(source) else "no such file or folder"
        raise SourceError(f"{source}: {what}")
    return [_file(m, Path(m.name)) for m in matches]


def _file(path: Path, name: Path) -> Media:
    photo = path.suffix.lower() in IMAGE_SUFFIXES
    return Media(str(path), PurePosixPath(name.as_posix()), "photo" if photo else "video")


def is_media(path: Path) -> bool:
    """Whether the suffix is that of a photo or a video."""
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def public_name(source: str) -> str:
    """An address without its user name and password, as results may show it."""
    return re.sub(r"(?<=://)[^/@]*@", "", source)


def read_image(path: Path) -> Image:
    """``(h, w, 3)`` BGR of a photo, turned upright as its EXIF data says.

    Raises:
        SourceError: it cannot be read, is damaged or cut short.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if _is_cut_short(data):
        raise SourceError(f"{path}: cut short, copy the file again")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise SourceError(f"{path}: damaged or not a photo")
    return cast(Image, image)


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end, which OpenCV would fill with grey without a word."""
    if data.startswith(b"\x89PNG"):
        return data.rfind(b"IEND") < 0
    if not data.startswith(b"\xff\xd8"):
        return False
    # A thumbnail in the header has an end marker of its own, so walk over the header.
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) < 0
