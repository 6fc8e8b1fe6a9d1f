"""The photos and labels of a split, and which photo a name means."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from deal_yolo.datasets.dataset import Dataset
from deal_yolo.datasets.labels import Labels
from deal_yolo.datasets.leaks import source_of, source_pattern
from deal_yolo.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Split:
    """A split of a data set, in the order of its photos.

    Args:
        dataset: what it belongs to.
        name: such as ``test``.
        images: its photos.
        labels: of each photo, in its px.
    """

    dataset: Dataset
    name: str
    images: list[Path]
    labels: list[Labels]

    @property
    def objects(self) -> int:
        """How many objects are labelled, ignored ones left out."""
        return sum(int((~labels.ignore).sum()) for labels in self.labels)

    @cached_property
    def files(self) -> list[str]:
        """Each photo's path below the data set's folder, with slashes."""
        return [image.relative_to(self.dataset.root).as_posix() for image in self.images]

    def number(self, file: str) -> int | None:
        """Which photo a name means: by its path, else its file name, else that without suffix.

        Returns:
            None where it means none, or several.
        """
        path = PurePosixPath(file.replace("\\", "/"))
        for name in (path.as_posix(), path.name, path.stem):
            numbers = self._numbers.get(name, [])
            if len(numbers) == 1:
                return numbers[0]
        return None

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        numbers: dict[str, list[int]] = defaultdict(list)
        for number, file in enumerate(self.files):
            path = PurePosixPath(file)
            for name in {file, path.name, path.stem}:
                numbers[name].append(number)
        return numbers


def load_split(dataset: Dataset, name: str) -> Split:
    """Read the labels of a split.

    Raises:
        DatasetError: there is no such split, it is broken, or no object in it is labelled.
    """
    images = dataset.images(name)
    split = Split(dataset, name, images, [dataset.labels(image) for image in images])
    if not split.objects:
        raise DatasetError(
            f"split '{name}' of {dataset.yaml} has no labels ({len(images)} photos): "
            "there is nothing to score against"
        )
    return split


@dataclass(frozen=True)
class Units:
    """What the bootstrap draws: photos that belong together are drawn together.

    Args:
        kind: ``photo``, ``source`` (the photo or video that windows or frames are of) or
            ``flight``.
        keys: of each photo, the name of its unit.
    """

    kind: str
    keys: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(set(self.keys))


def sampling_units(split: Split, flight: str | None = None, least: int = 2) -> Units:
    """The flight of each photo, or what it is a part of by its name, or itself.

    Args:
        split: the photos.
        flight: ``folder``, or a regular expression whose first group is the flight in a file's
            name; None takes the ``flight`` of the data YAML.
        least: fewer flights than this are refused.

    Raises:
        ConfigError: the expression is malformed.
        DatasetError: it does not match a name, or there are too few flights.
    """
    flight = flight or split.dataset.config.flight
    if flight is None:
        files = tuple(split.files)
        sources = tuple(source_of(Path(file)) or file for file in files)
        parts = 1 < len(set(sources)) < len(files)
        return Units("source", sources) if parts else Units("photo", files)
    if flight == "folder":
        keys = [PurePosixPath(file).parent.as_posix() for file in split.files]
    else:
        pattern = source_pattern(flight)
        keys = [str(source_of(image, pattern) or "") for image in split.images]
    if "" in keys:
        raise DatasetError(f"'{flight}' finds no flight in '{split.files[keys.index('')]}'")
    units = Units("flight", tuple(keys))
    if units.count < least:
        raise DatasetError(
            f"all photos of split '{split.name}' are of one flight ({keys[0]}): no interval can be "
            "drawn from that, leave the flight out to draw photos"
        )
    return units


def load_splits(dataset: Dataset, name: str, calibration: str | None) -> list[Split]:
    """The split to score on and, if one is named, the split to calibrate on.

    Raises:
        DatasetError: they are the same, or one cannot be read; see `load_split`.
    """
    if name == calibration:
        raise DatasetError(f"cannot calibrate on '{name}', the split that is scored: use another")
    return [load_split(dataset, n) for n in (name, calibration) if n]
