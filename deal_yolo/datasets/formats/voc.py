"""Pascal VOC xml, one file a photo."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from deal_yolo.datasets.dataset import inside
from deal_yolo.datasets.formats.record import SPLIT_NAMES, Object, Record, Source, finite
from deal_yolo.datasets.images import SUFFIXES, image_size
from deal_yolo.datasets.labels import iter_lines
from deal_yolo.errors import DatasetError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(src: Path) -> Source:
    """``Annotations/*.xml``, ``JPEGImages/`` and, if there, ``ImageSets/Main/SPLIT.txt``.

    Without ``Annotations`` the xml files are looked for in ``src`` and below, the photos beside
    them. Corners are taken as borders in px from 0, as today's tools write them (the first VOC
    counted pixels from 1). An object marked ``difficult`` is ignored, as in VOC's own scoring.

    Raises:
        DatasetError: there are no xml files, or one is malformed.
    """
    folder = src / "Annotations" if (src / "Annotations").is_dir() else src
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DatasetError(f"{src} has no xml files")
    names = sorted({name for file in files for name in _names(file)})
    if not names:
        raise DatasetError(f"the xml files in {src} have no objects")
    note = "corners taken as px from 0, as CVAT and LabelImg write them"
    return Source(tuple(names), _records(src, files, names), (note,))


def parse_xml(file: Path) -> ElementTree.Element:
    """The ``annotation`` element of a file.

    Raises:
        DatasetError: it cannot be read, is not such a file, or declares entities.
    """
    try:
        data = file.read_bytes()
        # Entities are of no use here, and a way to make a small file fill the memory.
        if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
            raise DatasetError(f"{file}: a document type is declared, which is not read")
        root = ElementTree.fromstring(data)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"cannot read {file}: {error}") from error
    if root.tag != "annotation":
        raise DatasetError(f"{file}: <{root.tag[:40]}> instead of <annotation>")
    return root


def parse_object(item: ElementTree.Element, names: list[str], where: str) -> Object:
    """One ``object`` element.

    Raises:
        DatasetError: it is malformed; ``where`` is named.
    """
    texts = [item.findtext(f"bndbox/{corner}") for corner in CORNERS]
    x1, y1, x2, y2 = finite(("" if t is None else t.strip() for t in texts), where)
    if x2 < x1 or y2 < y1:
        raise DatasetError(f"{where}: xmax or ymax below xmin or ymin")
    name = (item.findtext("name") or "").strip()
    ignore = (item.findtext("difficult") or "0").strip() == "1"
    return Object(names.index(name), x1, y1, x2, y2, ignore)


def _names(file: Path) -> Iterator[str]:
    for number, item in enumerate(parse_xml(file).iter("object"), 1):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise DatasetError(f"{file}, object {number}: it has no name")
        yield name


def _records(src: Path, files: list[Path], names: list[str]) -> Iterator[Record]:
    splits = _splits(src)
    for file in files:
        if splits and file.stem not in splits:
            raise DatasetError(f"{file} is in none of the lists in ImageSets/Main")
        root = parse_xml(file)
        image = _image(src, file, (root.findtext("filename") or "").strip())
        size = image_size(image)
        given = [root.findtext(f"size/{side}") for side in ("width", "height")]
        if all(given) and tuple(finite(given, str(file))) not in {size, (0, 0)}:
            raise DatasetError(f"{file}: size {given[0]} x {given[1]}, but {image} is {size}")
        objects = tuple(
            parse_object(item, names, f"{file}, object {number}")
            for number, item in enumerate(root.iter("object"), 1)
        )
        yield Record(splits.get(file.stem, "train"), image.name, image, size, objects)


def _image(src: Path, file: Path, name: str) -> Path:
    candidates = [Path(name)] if name else []
    candidates += [Path(file.stem + suffix) for suffix in sorted(SUFFIXES)]
    for candidate in candidates:
        for folder in (src / "JPEGImages", src / "images", file.parent):
            path = inside(src, folder / candidate, str(file))
            if os.path.isfile(path):
                return path
    raise DatasetError(f"the photo of {file} is missing")


def _splits(src: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, split in SPLIT_NAMES.items():
        for _, line in iter_lines(src / "ImageSets" / "Main" / f"{name}.txt"):
            stem = line.split()[0]
            if found.setdefault(stem, split) != split:
                raise DatasetError(f"'{stem}' is in the lists of {found[stem]} and of {split}")
    return found
