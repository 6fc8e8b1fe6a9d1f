"""A data set on disk: a YAML in ultralytics' form, photos, and label files beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deal_yolo.config import check_range, from_mapping, read_yaml
from deal_yolo.datasets.images import SUFFIXES, image_size, list_images
from deal_yolo.datasets.labels import Labels, iter_lines, label_path, read_rows, to_labels
from deal_yolo.errors import ConfigError, DatasetError

__all__ = ["SPLITS", "DataConfig", "Dataset", "Labels", "TileConfig", "load_dataset"]

SPLITS = ("train", "val", "test")
VARIABLE = "DEAL_YOLO_DATA"


@dataclass(frozen=True)
class TileConfig:
    """How photos are cut into windows.

    Args:
        size: side of a window as written, in px.
        scales: px of the window for each px of the photo; 0.5 sees the photo at half its size.
        overlap: least share of a window's side that it has in common with its neighbour.
        visible: a box is kept in a window that holds at least this share of its area.
        real: a window is kept if at least this share of its pixels is not black.
        background: share of the training windows without any box that is kept; other splits
            keep all of them.
        seed: decides which of these are kept.
    """

    size: int = 640
    scales: tuple[float, ...] = (1.0, 0.5)
    overlap: float = 0.2
    visible: float = 0.4
    real: float = 0.5
    background: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("size", self.size, 32, 20_000)
        check_range("overlap", self.overlap, 0, 0.9)
        for name in ("visible", "real", "background"):
            check_range(name, getattr(self, name), 0, 1)
        if not self.scales or len(set(self.scales)) != len(self.scales):
            raise ConfigError(f"scales must be one or more different numbers, not {self.scales}")
        for scale in self.scales:
            check_range("scales", scale, 0.01, 8)


@dataclass(frozen=True)
class DataConfig:
    """A data set's YAML: ultralytics' keys and, optionally, where the data come from.

    Args:
        path: root folder; see `load_dataset` for what a relative one means.
        train: folder with photos below the root, or text file with a photo a line, there or
            beside the YAML.
        val: the same for validation.
        test: the same for the final test.
        names: class names by class number, from 0 without gaps.
        nc: number of classes; must agree with ``names``.
        source: where the data were published.
        licence: under which terms.
        citation: what to cite.
        how_to_get: how to obtain the files.
        split: how the split was made, and why it does not leak.
        flight: how a photo's flight is found, for intervals: a regular expression whose first
            group names it in the file name, or ``folder``.
        tile: how the photos are cut for training; None if they are used whole.
        download: read for compatibility and never run.
        roboflow: the note that Roboflow's exports carry; not used.
    """

    names: dict[int, str]
    path: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    nc: int | None = None
    source: str | None = None
    licence: str | None = None
    citation: str | None = None
    how_to_get: str | None = None
    split: str | None = None
    flight: str | None = None
    tile: TileConfig | None = None
    download: str | None = field(default=None, repr=False)
    roboflow: dict[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.names or sorted(self.names) != list(range(len(self.names))):
            raise ConfigError("names must give a name to each class number from 0 on")
        if self.nc is not None and self.nc != len(self.names):
            raise ConfigError(f"nc is {self.nc}, but names has {len(self.names)} classes")
        if not any(getattr(self, split) for split in SPLITS):
            raise ConfigError("one of train, val and test must be given")


@dataclass(frozen=True)
class Dataset:
    """A data set whose root folder was found.

    Args:
        root: its folder; no photo or label outside it is read.
        config: its YAML.
        yaml: the file it was read from.
    """

    root: Path
    config: DataConfig
    yaml: Path

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of the class numbers."""
        return tuple(self.config.names[i] for i in range(len(self.config.names)))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the YAML names."""
        return tuple(s for s in SPLITS if getattr(self.config, s))

    def images(self, split: str) -> list[Path]:
        """The photos of a split, sorted.

        Raises:
            DatasetError: the YAML has no such split, it is missing or empty, or a path leaves the
                root.
        """
        entry = getattr(self.config, split, None) if split in SPLITS else None
        if not entry:
            known = ", ".join(self.splits)
            raise DatasetError(f"{self.yaml} has no split '{split}': add it, or use one of {known}")
        place = self._place(entry)
        if place.suffix.lower() == ".txt":
            images = sorted(self._listed(place))
        elif os.path.isdir(place):
            images = list_images(place)
        else:
            raise DatasetError(f"{place} of split '{split}' is missing: set {VARIABLE} or 'path'")
        if not images:
            raise DatasetError(f"split '{split}' of {self.yaml} has no photos in {place}")
        return images

    def labels(self, image: Path) -> Labels:
        """The objects of a photo, in its pixels; none if it has no label file.

        Raises:
            DatasetError: a line of the label file is malformed, or the photo cannot be read.
        """
        rows = read_rows(self.label_path(image), classes=len(self.names))
        regions = read_rows(label_path(image, self.root, "ignore"), least_class=-1)
        return to_labels(rows, regions, *image_size(image)) if rows or regions else Labels.empty()

    def label_path(self, image: Path) -> Path:
        """Where the label file of a photo stands, whether or not it is there."""
        return label_path(image, self.root)

    def _place(self, entry: str) -> Path:
        # Roboflow writes '../train/images' into a YAML that stands beside 'train'.
        if entry.startswith("../") and os.path.exists(self.root / entry[3:]):
            entry = entry[3:]
        beside = self.yaml.parent / entry
        below = self.root / entry
        if entry.endswith(".txt") and os.path.isfile(beside) and not os.path.exists(below):
            return inside(self.yaml.parent, beside, self.yaml)
        return inside(self.root, below, self.yaml)

    def _listed(self, file: Path) -> list[Path]:
        """The photos of a list; a line is a path from the list's folder, or else from the root."""
        if not os.path.isfile(file):
            raise DatasetError(f"{file}, named by {self.yaml}, is missing")
        found = []
        for number, line in iter_lines(file):
            where = f"{file}, line {number}"
            near, far = file.parent / line.strip(), self.root / line.strip()
            image = inside(self.root, near if os.path.isfile(near) else far, where)
            if image.suffix.lower() not in SUFFIXES:
                raise DatasetError(f"{where}: '{line.strip()[:60]}' is not a photo")
            if not os.path.isfile(image):
                raise DatasetError(f"{where}: {line.strip()[:200]} is missing")
            found.append(image)
        return list(dict.fromkeys(found))


def load_dataset(yaml: str | Path) -> Dataset:
    """Read a data set's YAML and find its root folder.

    The root is ``path`` if that is absolute. A relative one is looked for in this order:
    ``$DEAL_YOLO_DATA/path``, ``$DEAL_YOLO_DATA`` itself, the YAML's folder, ``data/path`` in the
    current folder; the first that holds a split is taken. One that begins with a dot is looked for
    in the YAML's folder first. Without ``path`` it is the YAML's folder.

    Raises:
        ConfigError: the YAML is malformed.
        DatasetError: there is no such folder.
    """
    file = Path(yaml)
    config = read_data_config(file)
    places = _places(config.path, file)
    for place in places:
        certain = Path(config.path or "").is_absolute() and os.path.isdir(place)
        if certain or _holds_split(place, config):
            return Dataset(Path(os.path.abspath(place)), config, file)
    looked = " nor ".join(str(p) for p in places)
    raise DatasetError(
        f"the data of {file} are not in {looked}: set {VARIABLE} to their folder, or 'path' in the "
        "YAML" + (" (its 'how_to_get' says where to find them)" if config.how_to_get else "")
    )


def read_data_config(file: Path) -> DataConfig:
    """Read a data set's YAML; class names may be a list or a mapping.

    Raises:
        ConfigError: it is malformed.
    """
    values = read_yaml(file)
    if isinstance(values.get("names"), list):
        values["names"] = dict(enumerate(values["names"]))
    return from_mapping(DataConfig, values, str(file))


def inside(root: Path, path: Path, where: object) -> Path:
    """``path`` without ``..``, if it is below ``root``.

    The check is on the names alone, so that a data set may hold links made by its owner.

    Raises:
        DatasetError: it is not; ``where`` is named.
    """
    clean = Path(os.path.abspath(path))
    if not clean.is_relative_to(os.path.abspath(root)):
        raise DatasetError(f"{where}: '{path}' is outside the data set's folder {root}")
    return clean


def _places(path: str | None, file: Path) -> list[Path]:
    if path is None:
        return [file.parent]
    if Path(path).is_absolute():
        return [Path(path)]
    beside, places = file.parent / path, []
    if base := os.environ.get(VARIABLE):
        places += [Path(base) / path, Path(base)]
    if path.startswith("."):
        return [beside, *places]
    return [*places, beside, Path("data") / path]


def _holds_split(place: Path, config: DataConfig) -> bool:
    entries = [e for e in (config.train, config.val, config.test) if e]
    # os.path, not Path: it says no, in place of raising, to names that no file can have.
    return any(os.path.exists(place / name) for e in entries for name in (e, e.removeprefix("../")))
