"""Propose a split that does not leak: whole flights, videos or folders go to one side."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from deal_yolo.datasets.dataset import SPLITS, Dataset
from deal_yolo.datasets.files import made_whole
from deal_yolo.datasets.labels import read_rows
from deal_yolo.datasets.leaks import groups, near_duplicates, source_of
from deal_yolo.datasets.seen import Progress, look_at_all
from deal_yolo.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Proposal:
    """A split.

    Args:
        splits: photos of each of train, val and test.
        keys: number of groups that were kept together.
        joined: groups that were put together because they hold photos that look the same.
    """

    splits: Mapping[str, tuple[Path, ...]]
    keys: int
    joined: int


def key_by_stem(images: Sequence[Path], pattern: re.Pattern[str]) -> dict[Path, str]:
    """The first group of ``pattern`` in each file's name.

    Raises:
        DatasetError: it does not match a name.
    """
    keys = {image: source_of(image, pattern) for image in images}
    for image, key in keys.items():
        if key is None:
            raise DatasetError(f"'{pattern.pattern}' does not match '{image.stem}'")
    return {image: str(key) for image, key in keys.items()}


def key_by_folder(images: Sequence[Path]) -> dict[Path, str]:
    """The folder each photo stands in."""
    return {image: image.parent.as_posix() for image in images}


def key_by_column(images: Sequence[Path], table: Path, column: str) -> dict[Path, str]:
    """A column of a CSV whose column ``image`` holds file names, with or without folders.

    Raises:
        DatasetError: the table cannot be read, lacks a column, or lacks a photo.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read {table}: {error}") from error
    if not rows or not {"image", column} <= set(rows[0]):
        raise DatasetError(f"{table} must have the columns 'image' and '{column}'")
    values = {Path(row["image"] or "").name: row[column] for row in rows}
    missing = [image.name for image in images if not values.get(image.name)]
    if missing:
        raise DatasetError(f"{table} has no '{column}' for {missing[0]}")
    return {image: values[image.name] for image in images}


def propose(
    dataset: Dataset,
    keys: Mapping[Path, str],
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    progress: Progress | None = None,
) -> Proposal:
    """Share out the photos so that those of one key, and those that look the same, stay together.

    Large groups are placed first, each where most is lacking of its photos and of the objects of
    each class, so that the splits have about the wanted shares of both.

    Raises:
        ConfigError: shares are not three that sum to 1.
        DatasetError: a label file is malformed, or there are too few groups.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"shares must be three numbers that sum to 1, not {tuple(shares)}")
    images = sorted(keys)
    number = {key: i for i, key in enumerate(dict.fromkeys(keys[image] for image in images))}
    pairs = near_duplicates(look_at_all(images, progress))
    joined = groups(
        len(number), ((number[keys[images[i]]], number[keys[images[j]]]) for i, j in pairs)
    )
    members: dict[int, list[Path]] = defaultdict(list)
    for image in images:
        members[joined[number[keys[image]]]].append(image)
    wanted = [s for s, share in zip(SPLITS, shares, strict=True) if share]
    if len(members) < len(wanted):
        raise DatasetError(
            f"{len(number)} groups, of which {len(members)} differ, cannot fill {len(wanted)} "
            "splits: choose a finer key"
        )
    placed = _place(dataset, list(members.values()), dict(zip(SPLITS, shares, strict=True)))
    splits = {split: tuple(sorted(placed[split])) for split in wanted}
    return Proposal(splits, len(number), len(number) - len(members))


def write_split(dataset: Dataset, proposal: Proposal, out: Path) -> Path:
    """Write lists of photos and a data YAML that uses them; photos stay where they are.

    Returns:
        The path of the data YAML.

    Raises:
        OutputError: ``out`` is in use, or cannot be written.
    """
    content: dict[str, object] = {"path": str(dataset.root)}
    with made_whole(out) as folder:
        for split, images in proposal.splits.items():
            lines = [image.relative_to(dataset.root).as_posix() + "\n" for image in images]
            (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
            content[split] = f"{split}.txt"
        content["names"] = dict(enumerate(dataset.names))
        for key in ("source", "licence", "citation"):
            if value := getattr(dataset.config, key):
                content[key] = value
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (folder / "data.yaml").write_text(text, encoding="utf-8")
    return out / "data.yaml"


def _place(
    dataset: Dataset, members: list[list[Path]], shares: Mapping[str, float]
) -> dict[str, list[Path]]:
    """Greedy: the largest group first, each to the split that lacks most of what it holds."""
    contents = [_content(dataset, images) for images in members]
    total: Counter[str] = Counter()
    for content in contents:
        total.update(content)
    placed: dict[str, list[Path]] = {split: [] for split in SPLITS}
    held: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    order = sorted(range(len(members)), key=lambda i: (-len(members[i]), members[i][0]))
    for rank, i in enumerate(order):
        open_splits = [s for s in SPLITS if shares[s]]
        empty = [s for s in open_splits if not placed[s]]
        if len(order) - rank <= len(empty):
            open_splits = empty
        best = max(
            open_splits,
            key=lambda s: sum(
                (shares[s] - held[s][k] / total[k]) / shares[s] * n / total[k]
                for k, n in contents[i].items()
            ),
        )
        placed[best] += members[i]
        held[best].update(contents[i])
    return placed


def _content(dataset: Dataset, images: Sequence[Path]) -> Counter[str]:
    content: Counter[str] = Counter({"photos": len(images)})
    for image in images:
        content.update(f"class {row.class_id}" for row in read_rows(dataset.label_path(image)))
    return content
