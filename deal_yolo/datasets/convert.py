"""Convert data sets between the forms in which people have them."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import cv2
import yaml

from deal_yolo.config import read_yaml
from deal_yolo.datasets.files import made_whole
from deal_yolo.datasets.formats import coco, mot, visdrone, voc
from deal_yolo.datasets.formats import yolo as yolo_format
from deal_yolo.datasets.formats.record import Object, Record, Source
from deal_yolo.datasets.labels import ANY_CLASS, format_rows, to_row
from deal_yolo.errors import ConfigError, DatasetError, OutputError

Form = Literal["waid", "bucktales", "visdrone", "coco", "voc", "yolo"]
QUALITY = 95
ANY_NAME = "*"


@dataclass(frozen=True)
class Converted:
    """What was written.

    Args:
        out: the data YAML (yolo) or the folder with the json files (coco).
        photos: number in each split.
        objects: number of each class.
        ignored: number of ignored boxes and regions.
        notes: what had to be assumed about the source.
    """

    out: Path
    photos: Mapping[str, int]
    objects: Mapping[str, int]
    ignored: int
    notes: tuple[str, ...]


def read_source(form: Form, src: Path, every: int = 1) -> Source:
    """Open a data set in the form in which it is published.

    Args:
        form: its form.
        src: its folder, or a file of it where the form has one for all.
        every: of a video, take every so-many-th frame.

    Raises:
        ConfigError: ``every`` is below 1.
        DatasetError: it is not there or malformed; while records are read, too.
    """
    if every < 1:
        raise ConfigError(f"every must be 1 or more, not {every}")
    if not os.path.exists(src):
        raise DatasetError(f"{src} does not exist")
    if form == "bucktales":
        if src.is_dir() and mot.find_sequences(src):
            return mot.read_mot(src, every)
        return yolo_format.read_patches(src)
    readers: dict[str, Callable[[Path], Source]] = {
        "waid": yolo_format.read_waid,
        "visdrone": visdrone.read_visdrone,
        "coco": coco.read_coco,
        "voc": voc.read_voc,
        "yolo": yolo_format.read_yolo,
    }
    return readers[form](src)


def read_class_map(path: Path) -> dict[str, str | None]:
    """A YAML of ``old name: new name``; ``"*"`` is all others, and no new name means ignored.

    Raises:
        ConfigError: it is malformed.
    """
    content = read_yaml(path)
    for old, new in content.items():
        if not isinstance(old, str) or not (new is None or isinstance(new, str)):
            raise ConfigError(f"{path}: '{old}: {new}' must be 'old name: new name'")
    if not any(content.values()):
        raise ConfigError(f"{path} leaves no class")
    return content


def map_classes(source: Source, mapping: Mapping[str, str | None]) -> Source:
    """The same photos with classes renamed or merged; those without a new name become ignored.

    New classes are numbered in the order in which the source's classes lead to them.

    Raises:
        ConfigError: a class of the source is not in the map, or the map names one it has not.
    """
    strange = [old for old in mapping if old not in (*source.names, ANY_NAME)]
    missing = [n for n in source.names if n not in mapping and ANY_NAME not in mapping]
    if strange or missing:
        what = f"'{strange[0]}' is no class" if strange else f"'{missing[0]}' is not in the map"
        raise ConfigError(f"{what}; the data set has {', '.join(source.names)}")
    targets = [mapping.get(name, mapping.get(ANY_NAME)) for name in source.names]
    names = tuple(dict.fromkeys(t for t in targets if t))
    numbers = [ANY_CLASS if t is None else names.index(t) for t in targets]

    def mapped(one: Object) -> Object:
        number = ANY_CLASS if one.class_id == ANY_CLASS else numbers[one.class_id]
        return replace(one, class_id=number, ignore=one.ignore or number == ANY_CLASS)

    records = (replace(r, objects=tuple(map(mapped, r.objects))) for r in source.records)
    return Source(names, records, source.notes)


def convert(
    source: Source,
    to: Literal["yolo", "coco"],
    dst: Path,
    link: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Converted:
    """Write a data set; photos are linked or copied as they are, frames of videos become JPEG.

    Args:
        source: what to write; its records are read one by one.
        to: yolo makes ``images``, ``labels``, ``ignore`` and ``data.yaml``; coco makes ``images``
            and ``annotations``.
        dst: folder to make; it is there whole at the end, or not at all.
        link: make links to the photos in place of copies.
        progress: called with the number of photos done.

    Raises:
        DatasetError: the source is malformed, or two photos would get one name.
        OutputError: ``dst`` is in use or cannot be written.
    """
    photos: Counter[str] = Counter()
    objects: Counter[str] = Counter({name: 0 for name in source.names})
    ignored = 0
    writer = YoloWriter if to == "yolo" else coco.CocoWriter
    with made_whole(dst) as folder:
        try:
            sink: Writer
            with writer(folder, source.names) as sink:
                for record in source.records:
                    _place_image(record, folder, link)
                    sink.add(record)
                    photos[record.split] += 1
                    objects.update(source.names[o.class_id] for o in record.objects if not o.ignore)
                    ignored += sum(o.ignore for o in record.objects)
                    if progress:
                        progress(photos.total())
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error}") from error
        if not photos:
            raise DatasetError("the source has no photos")
    out = dst / ("data.yaml" if to == "yolo" else "annotations")
    return Converted(out, dict(photos), dict(objects), ignored, source.notes)


class Writer(Protocol):
    """Writes the labels of photos as they come."""

    def add(self, record: Record) -> None:
        """Write one photo's labels."""


class YoloWriter(AbstractContextManager["YoloWriter"]):
    """Writes label files as the photos come, and ``data.yaml`` at the end.

    Args:
        folder: where ``labels``, ``ignore`` and ``data.yaml`` are made.
        names: class names.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder, self._names = folder, names
        self._splits: set[str] = set()
        self._written: set[str] = set()

    def add(self, record: Record) -> None:
        """Write one photo's files.

        Raises:
            DatasetError: another photo, that differs in its suffix only, has the same label file.
        """
        self._splits.add(record.split)
        name = f"{record.split}/{PurePosixPath(record.name).with_suffix('.txt')}"
        if name in self._written:
            raise DatasetError(f"two photos would share the label file {name}: rename one")
        self._written.add(name)
        for kind, wanted in (("labels", False), ("ignore", True)):
            rows = [
                to_row(o.class_id, (o.x1, o.y1, o.x2, o.y2), *record.size)
                for o in record.objects
                if o.ignore == wanted
            ]
            if rows or kind == "labels":
                path = self._folder / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(format_rows(rows), encoding="utf-8")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            order = [s for s in ("train", "val", "test") if s in self._splits]
            content: dict[str, Any] = {split: f"images/{split}" for split in order}
            content["names"] = dict(enumerate(self._names))
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            (self._folder / "data.yaml").write_text(text, encoding="utf-8")


def _place_image(record: Record, folder: Path, link: bool) -> None:
    base = folder / "images" / record.split
    target = Path(os.path.abspath(base / record.name))
    if not target.is_relative_to(os.path.abspath(base)):
        raise DatasetError(f"the name '{record.name}' leaves the folder")
    if target.exists() or target.is_symlink():
        raise DatasetError(f"two photos would be named {record.split}/{record.name}: rename one")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(record.image, Path):
        if not cv2.imwrite(str(target), record.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
            raise OutputError(f"cannot write {target}")
    elif link:
        target.symlink_to(record.image.absolute())
    else:
        shutil.copy2(record.image, target)
