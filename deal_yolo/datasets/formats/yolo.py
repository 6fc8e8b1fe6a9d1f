"""YOLO text folders: with a data YAML, or as WAID and the patches of BuckTales are published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deal_yolo.datasets.dataset import DataConfig, Dataset, load_dataset
from deal_yolo.datasets.formats.record import Object, Record, Source, split_folders
from deal_yolo.datasets.images import image_size
from deal_yolo.datasets.labels import ANY_CLASS, Row, iter_lines, label_path, read_rows
from deal_yolo.errors import DatasetError

WAID = ("sheep", "cattle", "seal", "camelus", "kiang", "zebra")


def read_yolo(src: Path) -> Source:
    """A data YAML, or a folder with one or with YOLO folders and ``classes.txt``.

    Raises:
        ConfigError: the YAML is malformed.
        DatasetError: neither is there.
    """
    if src.is_file():
        return _source(load_dataset(src))
    for name in ("data.yaml", "dataset.yaml", "data.yml"):
        if (src / name).is_file():
            return _source(load_dataset(src / name))
    return _source(_dataset(src, read_classes(src)))


def read_waid(src: Path) -> Source:
    """``images/{train,valid,test}``, ``labels/...`` and ``classes.txt``.

    Raises:
        DatasetError: the folders are not there.
    """
    classes = read_classes(src)
    notes = () if classes else ("no classes.txt: the six classes as published",)
    return _source(_dataset(src, classes or WAID), notes)


def read_patches(src: Path) -> Source:
    """The detection set of BuckTales: ``{train,val,test}/{images,labels}``.

    Raises:
        DatasetError: the folders are not there.
    """
    classes = read_classes(src)
    notes = () if classes else ("no classes.txt: one class, blackbuck",)
    return _source(_dataset(src, classes or ("blackbuck",)), notes)


def read_classes(src: Path) -> tuple[str, ...]:
    """The names in ``classes.txt``, one a line; none where there is no such file.

    Raises:
        DatasetError: the file cannot be read.
    """
    return tuple(line.strip() for _, line in iter_lines(src / "classes.txt"))


def _dataset(root: Path, names: tuple[str, ...]) -> Dataset:
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder")
    if not names:
        raise DatasetError(f"{root} has no data.yaml and no classes.txt with the class names")
    inner = root / "images"
    found = {s: p for s, p in split_folders(root).items() if (p / "images").is_dir()}
    places = {s: f"{p.name}/images" for s, p in found.items()}
    if inner.is_dir():
        places |= {s: f"images/{p.name}" for s, p in split_folders(inner).items()}
        places = places or {"train": "images"}
    if not places:
        raise DatasetError(f"{root} has neither images/SPLIT nor SPLIT/images")
    config = DataConfig(names=dict(enumerate(names)), **places)  # type: ignore[arg-type]
    return Dataset(root.absolute(), config, root / "classes.txt")


def _source(dataset: Dataset, notes: tuple[str, ...] = ()) -> Source:
    return Source(dataset.names, _records(dataset), notes)


def _records(dataset: Dataset) -> Iterator[Record]:
    for split in dataset.splits:
        entry = str(getattr(dataset.config, split)).removeprefix("../")
        base = dataset.root / entry
        for image in dataset.images(split):
            below = image.relative_to(base if base in image.parents else dataset.root)
            name = below.as_posix().removeprefix("images/")
            size = image_size(image)
            file = dataset.label_path(image)
            rows = read_rows(file, classes=len(dataset.names))
            objects = [_object(row, size, False) for row in rows]
            regions = read_rows(label_path(image, dataset.root, "ignore"), ANY_CLASS)
            objects += [_object(row, size, True) for row in regions]
            yield Record(split, name, image, size, tuple(objects))


def _object(row: Row, size: tuple[int, int], ignore: bool) -> Object:
    width, height = size
    return Object(
        row.class_id,
        (row.cx - row.w / 2) * width,
        (row.cy - row.h / 2) * height,
        (row.cx + row.w / 2) * width,
        (row.cy + row.h / 2) * height,
        ignore,
    )
