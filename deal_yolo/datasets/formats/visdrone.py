"""VisDrone-DET: lines ``x,y,w,h,score,class,truncation,occlusion``, one file a photo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deal_yolo.datasets.formats.record import Object, Record, Source, finite, split_named
from deal_yolo.datasets.images import image_size, list_images
from deal_yolo.datasets.labels import ANY_CLASS, iter_lines
from deal_yolo.errors import DatasetError

NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle",
    "bus", "motor",
)  # fmt: skip
REGION, OTHERS = 0, 11


def read_visdrone(src: Path) -> Source:
    """One set such as ``VisDrone2019-DET-train``, or a folder that holds several.

    Raises:
        DatasetError: no such folders are there.
    """
    if (src / "annotations").is_dir():
        sets = {split_named(src.name) or "train": src}
    elif src.is_dir():
        found = sorted(p.parent for p in src.glob("*/annotations"))
        sets = {split_named(p.name) or "": p for p in found}
        if "" in sets or len(sets) < len(found):
            raise DatasetError(f"the folders in {src} must each name another of train, val, test")
    else:
        sets = {}
    if not sets:
        raise DatasetError(f"{src} has no folder 'annotations', nor sets that have one")
    return Source(NAMES, _records(sets))


def _records(sets: dict[str, Path]) -> Iterator[Record]:
    for split, root in sets.items():
        images = root / "images"
        if not images.is_dir():
            raise DatasetError(f"{images} is missing")
        for image in list_images(images):
            below = image.relative_to(images)
            file = (root / "annotations" / below).with_suffix(".txt")
            if not file.is_file():
                raise DatasetError(f"{file} is missing, the annotations of {image}")
            objects = [parse_line(line, f"{file}, line {n}") for n, line in iter_lines(file)]
            yield Record(split, below.as_posix(), image, image_size(image), tuple(objects))


def parse_line(line: str, where: str) -> Object:
    """One object; class 0 and 11, and a score of 0, are not scored in the benchmark: ignored.

    Raises:
        DatasetError: the line is malformed; ``where`` is named.
    """
    fields = line.strip().rstrip(",").split(",")
    if len(fields) != 8:
        raise DatasetError(f"{where}: {len(fields)} values, expected 8")
    x, y, width, height, score, number, *_ = finite(fields, where)
    if width < 0 or height < 0:
        raise DatasetError(f"{where}: width or height below 0")
    if number != int(number) or not REGION <= number <= OTHERS:
        raise DatasetError(f"{where}: class '{fields[5].strip()}' is not one of 0 to {OTHERS}")
    known = REGION < number < OTHERS
    class_id = int(number) - 1 if known else ANY_CLASS
    return Object(class_id, x, y, x + width, y + height, ignore=not known or score == 0)
