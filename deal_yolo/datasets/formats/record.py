"""What every format is read into, one photo at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deal_yolo.datasets.images import Image
from deal_yolo.errors import DatasetError

SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "test-dev": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Object:
    """A labelled object or region.

    Args:
        class_id: class number; -1 is an ignored region of no particular class.
        x1: left border in px of the photo; ``y1``, ``x2``, ``y2`` likewise.
        ignore: neither to be found nor a mistake if found: crowds, unclear or hidden objects.
    """

    class_id: int
    x1: float
    y1: float
    x2: float
    y2: float
    ignore: bool = False


@dataclass(frozen=True, eq=False)
class Record:
    """A photo and its objects.

    Args:
        split: train, val or test.
        name: where the photo goes below the folder of its split, such as ``a/b.jpg``.
        image: its file, or the pixels of a frame of a video.
        size: width and height in px, upright.
        objects: what is labelled in it.
    """

    split: str
    name: str
    image: Path | Image
    size: tuple[int, int]
    objects: tuple[Object, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set to be converted.

    Args:
        names: class names in the order of the class numbers.
        records: the photos, read as they are asked for.
        notes: what had to be assumed, for the user to know.
    """

    names: tuple[str, ...]
    records: Iterable[Record]
    notes: tuple[str, ...] = ()


def finite(values: Iterable[object], where: str) -> list[float]:
    """The values as numbers.

    Raises:
        DatasetError: one is not a finite number; ``where`` is named.
    """
    numbers = []
    for value in values:
        try:
            number = float(value) if isinstance(value, int | float | str) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, bool):
            raise DatasetError(f"{where}: {str(value)[:40]!r} is not a number")
        numbers.append(number)
    return numbers


def split_named(text: str) -> str | None:
    """The split that a file's or folder's name speaks of, such as ``instances_val2017``."""
    words = text.lower().replace("_", " ").replace(".", " ").split()
    for word in words:
        bare = word.rstrip("0123456789")
        for part in (bare, *bare.split("-")):
            if part in SPLIT_NAMES:
                return SPLIT_NAMES[part]
    return None


def split_folders(root: Path) -> dict[str, Path]:
    """Folders right below ``root`` whose names speak of a split.

    Raises:
        DatasetError: two speak of the same.
    """
    found: dict[str, Path] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        split = split_named(folder.name)
        if split in found:
            raise DatasetError(f"{found[split]} and {folder} are both the split '{split}'")
        if split:
            found[split] = folder
    return found
