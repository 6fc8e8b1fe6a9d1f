"""Where pictures come from: photos, folders, globs, video files, cameras and streams.

A source is a generator of `Frame`; what cannot be read comes out as `Unreadable`, and the rest
goes on.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import cv2
import numpy as np

from deal_yolo.errors import SourceError
from deal_yolo.infer.preprocess import Image

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".ppm"}
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
class Photo:
    """A photo file and the name of its results."""

    path: Path
    name: PurePosixPath


def find_photos(sources: Sequence[str]) -> list[Photo]:
    """The photos that paths, folders and globs mean, sorted, each once.

    Raises:
        SourceError: a path does not exist, or a folder or glob holds no photo.
    """
    found: dict[Path, Photo] = {}
    for source in sources:
        for photo in _expand(source):
            found.setdefault(photo.path, photo)
    return list(found.values())


def _expand(source: str) -> list[Photo]:
    path = Path(source)
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if is_photo(p) and p.is_file())
        if not inside:
            raise SourceError(f"{source}: no photos in this folder")
        return [Photo(p, PurePosixPath(p.relative_to(path).as_posix())) for p in inside]
    if path.exists():
        return [Photo(path, PurePosixPath(path.name))]
    matches = sorted(Path(m) for m in glob.glob(source, recursive=True))
    matches = [m for m in matches if is_photo(m) and m.is_file()]
    if not matches:
        what = "no photo matches" if glob.has_magic(source) else "no such file or folder"
        raise SourceError(f"{source}: {what}")
    return [Photo(m, PurePosixPath(m.name)) for m in matches]


def is_photo(path: Path) -> bool:
    """Whether the suffix is that of a photo."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_photos(photos: Sequence[Photo]) -> Iterator[Frame | Unreadable]:
    """The photos one by one, turned upright as their EXIF data says."""
    for photo in photos:
        try:
            image = read_image(photo.path)
        except SourceError as error:
            yield Unreadable(str(photo.path), str(error))
        else:
            yield Frame(str(photo.path), photo.name, 0, 0.0, image)


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
