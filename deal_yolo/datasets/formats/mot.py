"""MOT-challenge tracks: ``frame,id,x,y,w,h,conf,class,visibility`` beside a video or its frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deal_yolo.datasets.formats.record import Object, Record, Source, finite, split_named
from deal_yolo.datasets.images import Image, image_size, list_images
from deal_yolo.datasets.labels import iter_lines
from deal_yolo.errors import DatasetError

VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".m4v"})


def find_sequences(src: Path) -> list[tuple[str, Path, Path]]:
    """Name, track file, and video or folder of frames of each sequence below ``src``.

    A sequence is ``NAME/gt/gt.txt`` with ``NAME/img1/`` or a video in ``NAME``, or ``NAME.txt``
    with a video ``NAME.mp4`` (or the like) in the same folder.
    """
    found = []
    for text in sorted(src.rglob("*.txt")):
        if text.name == "gt.txt" and text.parent.name == "gt":
            home = text.parent.parent
            media = [home / "img1"] if (home / "img1").is_dir() else _videos(home)
            name = home.name
        else:
            media = [v for v in _videos(text.parent) if v.stem == text.stem]
            name = text.stem
        if media:
            found.append((name, text, media[0]))
    return found


def read_mot(src: Path, every: int = 1, name: str = "blackbuck") -> Source:
    """Every ``every``-th frame of each sequence as a photo, from the first on.

    Raises:
        DatasetError: there is no sequence, or a line is malformed.
    """
    sequences = find_sequences(src)
    if not sequences:
        raise DatasetError(f"{src} has no MOT track file beside a video or a folder img1")
    numbers = sorted({n for _, text, _ in sequences for n in _classes(text)})
    # One class is what BuckTales has; trackers write 1 or -1 for it.
    names = (name,) if len(numbers) <= 1 else tuple(f"class {n}" for n in numbers)
    notes = (
        f"class numbers {', '.join(map(str, numbers)) or 'none'} taken as {', '.join(names)}",
        "frames counted from 1; boxes cut at the border of the frame; conf 0 is ignored",
    )
    return Source(names, _records(src, sequences, numbers, every), notes)


def parse_line(line: str, where: str) -> tuple[int, int, Object]:
    """Frame (from 1), published class number, and box of one line.

    Raises:
        DatasetError: the line is malformed; ``where`` is named.
    """
    fields = line.strip().rstrip(",").replace("\t", ",").split(",")
    if not 6 <= len(fields) <= 10:
        raise DatasetError(f"{where}: {len(fields)} values, expected 6 to 10")
    frame, _, x, y, width, height, *rest = finite(fields, where)
    confidence, number = (*rest, *(1.0, -1.0)[len(rest) :])[:2]
    if frame != int(frame) or not 1 <= frame < 2**31:
        raise DatasetError(f"{where}: '{fields[0]}' is not a frame number")
    if number != int(number) or not -1 <= number < 2**31:
        raise DatasetError(f"{where}: class {number:g} is not a class number")
    if width < 0 or height < 0:
        raise DatasetError(f"{where}: width or height below 0")
    box = Object(int(number), x, y, x + width, y + height, ignore=confidence == 0)
    return int(frame), int(number), box


def _videos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEOS)


def _classes(text: Path) -> Iterator[int]:
    for number, line in iter_lines(text):
        yield parse_line(line, f"{text}, line {number}")[1]


def _records(
    src: Path, sequences: list[tuple[str, Path, Path]], numbers: list[int], every: int
) -> Iterator[Record]:
    for name, text, media in sequences:
        boxes: dict[int, list[Object]] = defaultdict(list)
        for number, line in iter_lines(text):
            frame, _, box = parse_line(line, f"{text}, line {number}")
            boxes[frame].append(box)
        below = [split_named(part) for part in text.relative_to(src).parts[:-1]]
        split = next((s for s in below if s), "train")
        last = 0
        for frame, image, size in _frames(media, every):
            last = frame
            objects = (_clipped(b, numbers, size) for b in boxes.get(frame, ()))
            file = f"{name}_frame_{frame:06d}"
            file += image.suffix if isinstance(image, Path) else ".jpg"
            yield Record(split, file, image, size, tuple(o for o in objects if o))
        if boxes and max(boxes) >= last + every:
            raise DatasetError(f"{text} has frame {max(boxes)}, but {media} ends at about {last}")


def _frames(media: Path, every: int) -> Iterator[tuple[int, Path | Image, tuple[int, int]]]:
    if media.is_dir():
        for number, path in enumerate(list_images(media), 1):
            if (number - 1) % every == 0:
                yield number, path, image_size(path)
        return
    video = cv2.VideoCapture(str(media))
    try:
        number = 0
        while video.grab():
            number += 1
            if (number - 1) % every:
                continue
            good, image = video.retrieve()
            if not good:
                raise DatasetError(f"cannot read frame {number} of {media}")
            yield number, np.asarray(image, np.uint8), (image.shape[1], image.shape[0])
        if not number:
            raise DatasetError(f"cannot read {media}: not a video")
    finally:
        video.release()


def _clipped(box: Object, numbers: list[int], size: tuple[int, int]) -> Object | None:
    """The part of a box inside the frame; an animal that has left it has none."""
    x1, x2 = max(0.0, box.x1), min(float(size[0]), box.x2)
    y1, y2 = max(0.0, box.y1), min(float(size[1]), box.y2)
    if x2 <= x1 or y2 <= y1:
        return None
    return Object(numbers.index(box.class_id), x1, y1, x2, y2, box.ignore)
