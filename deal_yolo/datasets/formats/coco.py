"""COCO json: read piece by piece into compact arrays, written as the photos come."""

from __future__ import annotations

import json
import os
import shutil
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from deal_yolo.datasets.dataset import inside
from deal_yolo.datasets.formats.jsonstream import iter_members
from deal_yolo.datasets.formats.record import Object, Record, Source, finite, split_named
from deal_yolo.datasets.images import image_size
from deal_yolo.datasets.labels import ANY_CLASS
from deal_yolo.errors import DatasetError


def read_coco(src: Path) -> Source:
    """A json file, or a folder with such in ``annotations/`` or in itself.

    The split is taken from the file's name (``instances_val2017.json``), else it is train. A crowd,
    and an object with ``ignore`` set, is ignored; only such may have a category that is not listed.

    Raises:
        DatasetError: there is no such file, or one is malformed.
    """
    root, files = _files(src)
    parts = [_Annotations(file) for file in files]
    if any(part.categories != parts[0].categories for part in parts):
        raise DatasetError(f"the files in {src} list different categories")
    names = tuple(parts[0].categories[number] for number in sorted(parts[0].categories))
    return Source(names, _records(root, parts))


class _Annotations:
    """What a file holds; some 50 bytes an annotation, 200 an image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.split = split_named(path.stem) or "train"
        self.categories: dict[int, str] = {}
        self.images: dict[int, tuple[str, tuple[int, int]]] = {}
        self._image, self._category = array("q"), array("q")
        self._box, self._ignore = array("d"), array("b")
        takers = {
            "images": self._take_image,
            "annotations": self._take_annotation,
            "categories": self._take_category,
        }
        for key, number, item in iter_members(path):
            if taker := takers.get(key):
                where = f"{path}, {key} {number}"
                if not isinstance(item, dict):
                    raise DatasetError(f"{where}: not an object in braces")
                taker(item, where)
        if not self.categories:
            raise DatasetError(f"{path} lists no categories")

    def _take_image(self, item: Mapping[str, Any], where: str) -> None:
        number = _whole(item, "id", where)
        name = item.get("file_name")
        if not isinstance(name, str) or not name or number in self.images:
            raise DatasetError(f"{where}: no file_name, or id {number} a second time")
        size = (_whole(item, "width", where), _whole(item, "height", where))
        self.images[number] = name, size

    def _take_category(self, item: Mapping[str, Any], where: str) -> None:
        number, name = _whole(item, "id", where), item.get("name")
        if not isinstance(name, str) or not name or number in self.categories:
            raise DatasetError(f"{where}: no name, or id {number} a second time")
        self.categories[number] = name

    def _take_annotation(self, item: Mapping[str, Any], where: str) -> None:
        box = item.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise DatasetError(f"{where}: bbox must be four numbers")
        x, y, width, height = finite(box, where)
        if width < 0 or height < 0:
            raise DatasetError(f"{where}: width or height below 0")
        self._image.append(_whole(item, "image_id", where))
        self._category.append(_whole(item, "category_id", where))
        self._box.extend((x, y, x + width, y + height))
        self._ignore.append(bool(item.get("iscrowd")) or bool(item.get("ignore")))

    def by_image(self) -> Iterator[tuple[str, tuple[int, int], tuple[Object, ...]]]:
        """File name, size and objects of each image, in the order of the file."""
        image, category = np.array(self._image, np.int64), np.array(self._category, np.int64)
        unknown = ~np.isin(image, np.array(list(self.images), np.int64))
        if unknown.any():
            number = int(np.flatnonzero(unknown)[0])
            raise DatasetError(
                f"{self.path}, annotations {number + 1}: image_id {image[number]} is not listed"
            )
        order = np.argsort(image, kind="stable")
        ordered = image[order]
        classes = {number: i for i, number in enumerate(sorted(self.categories))}
        for number, (name, size) in self.images.items():
            low, high = np.searchsorted(ordered, [number, number + 1])
            objects = [self._object(int(i), int(category[i]), classes) for i in order[low:high]]
            yield name, size, tuple(objects)

    def _object(self, i: int, category: int, classes: Mapping[int, int]) -> Object:
        ignore = bool(self._ignore[i])
        if category not in classes and not ignore:
            raise DatasetError(
                f"{self.path}, annotations {i + 1}: category_id {category} is not listed"
            )
        x1, y1, x2, y2 = self._box[4 * i : 4 * i + 4]
        return Object(classes.get(category, ANY_CLASS), x1, y1, x2, y2, ignore)


def _whole(item: Mapping[str, Any], key: str, where: str) -> int:
    value = item.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**62:
        raise DatasetError(f"{where}: {key} must be a whole number")
    return value


def _files(src: Path) -> tuple[Path, list[Path]]:
    if src.is_file():
        home = src.parent
        return (home.parent if home.name == "annotations" else home), [src]
    folder = src / "annotations" if (src / "annotations").is_dir() else src
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DatasetError(f"{src} is no json file and no folder with such")
    return src, files


def _records(root: Path, parts: list[_Annotations]) -> Iterator[Record]:
    for part in parts:
        folders = [
            root / place
            for place in (f"images/{part.split}", "images", part.split, part.path.stem, "")
        ]
        folders.append(root / part.path.stem.removeprefix("instances_"))
        for name, size, objects in part.by_image():
            paths = [inside(root, folder / name, part.path) for folder in folders]
            image = next((p for p in paths if os.path.isfile(p)), None)
            if image is None:
                raise DatasetError(f"{name[:200]}, listed in {part.path}, is missing")
            if image_size(image) != size:
                raise DatasetError(
                    f"{part.path}: {name} is listed as {size[0]} x {size[1]} px, but is "
                    f"{' x '.join(map(str, image_size(image)))} px upright"
                )
            yield Record(part.split, name, image, size, objects)


class CocoWriter:
    """Writes ``annotations/SPLIT.json`` as the photos come; a context manager.

    Args:
        folder: where ``annotations`` is made.
        names: class names; category ids count from 1, and 0 is a region of no particular class.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder, self._names = folder / "annotations", names
        self._lists: dict[str, tuple[_List, _List]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> CocoWriter:
        self._folder.mkdir()
        return self

    def add(self, record: Record) -> None:
        """Write one photo's lines."""
        if record.split not in self._lists:
            self._lists[record.split] = self._begin(record.split)
        images, objects = self._lists[record.split]
        width, height = record.size
        number = images.add({"file_name": record.name, "width": width, "height": height})
        for one in record.objects:
            width_px, height_px = one.x2 - one.x1, one.y2 - one.y1
            objects.add(
                {
                    "image_id": number,
                    "category_id": one.class_id + 1,
                    "bbox": [one.x1, one.y1, width_px, height_px],
                    "area": width_px * height_px,
                    "iscrowd": int(one.ignore),
                }
            )

    def __exit__(self, kind: object, *_: object) -> None:
        with self._stack:
            if kind is None:
                for split, (images, objects) in self._lists.items():
                    images.file.write('],\n"annotations": [')
                    objects.file.seek(0)
                    shutil.copyfileobj(objects.file, images.file)
                    images.file.write("]}\n")
                    (self._folder / f".{split}.part").unlink()

    def _begin(self, split: str) -> tuple[_List, _List]:
        images = self._stack.enter_context((self._folder / f"{split}.json").open("w"))
        # The two lists grow together, but stand one after the other in the file.
        objects = self._stack.enter_context((self._folder / f".{split}.part").open("w+"))
        categories = [{"id": i, "name": name} for i, name in enumerate(self._names, 1)]
        images.write(f'{{"categories": {json.dumps(categories)},\n"images": [')
        return _List(images), _List(objects)


class _List:
    """The items of a JSON array, numbered from 1."""

    def __init__(self, file: TextIO) -> None:
        self.file, self._count = file, 0

    def add(self, item: Mapping[str, Any]) -> int:
        self.file.write(",\n" if self._count else "\n")
        self._count += 1
        self.file.write(json.dumps({"id": self._count, **item}))
        return self._count
