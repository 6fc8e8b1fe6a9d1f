"""Find what is wrong with a data set before it spoils a training run or a figure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deal_yolo.boxes import iou
from deal_yolo.datasets.dataset import Dataset
from deal_yolo.datasets.images import SUFFIXES
from deal_yolo.datasets.labels import ANY_CLASS, Row, iter_lines, label_path, parse_line, to_labels
from deal_yolo.datasets.leaks import near_duplicates, source_of
from deal_yolo.datasets.seen import Progress, Seen, look_at_all
from deal_yolo.datasets.tile import MANIFEST, read_manifest
from deal_yolo.errors import DatasetError

Level = Literal["error", "warning"]

# What each kind of problem is, and whether a data set that has it may be used.
KINDS: dict[str, tuple[Level, str]] = {
    "split-missing": ("error", "the YAML names a split that cannot be read"),
    "image-unreadable": ("error", "the photo is empty, cut short or not a photo"),
    "label-malformed": ("error", "a line of a label file cannot be read"),
    "class-unknown": ("error", "a class number that the YAML does not name"),
    "box-outside": ("error", "a box reaches out of its photo by more than a pixel"),
    "box-empty": ("error", "a box has no area"),
    "leak-source": ("error", "parts of one photo or video stand in several splits"),
    "leak-duplicate": ("error", "photos that look the same stand in different splits"),
    "leak-file": ("error", "one file stands in several splits"),
    "image-rotated": ("warning", "EXIF turns the photo: tools that ignore it see boxes elsewhere"),
    "image-without-label": ("warning", "a photo has no label file: it counts as empty"),
    "label-without-image": ("warning", "a label file has no photo in any split"),
    "box-huge": ("warning", "a box covers more than half of its photo"),
    "box-duplicate": ("warning", "two boxes of one class are in the same place"),
    "class-absent": ("warning", "a class has no object in a split"),
    "near-duplicate": ("warning", "photos of one split look the same"),
}
OUTSIDE_PX = 1.0
HUGE = 0.5
SAME_IOU = 0.9


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        kind: a key of `KINDS`.
        split: where; empty if it concerns no single one.
        file: the photo, label file or YAML, relative to the root where it is below it.
        detail: what exactly.
    """

    kind: str
    split: str
    file: str
    detail: str

    @property
    def level(self) -> Level:
        """Error or warning."""
        return KINDS[self.kind][0]


@dataclass(frozen=True)
class Report:
    """What was looked at, and what is wrong with it; errors come first."""

    images: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> int:
        """Number of problems that must be put right."""
        return sum(p.level == "error" for p in self.problems)

    @property
    def warnings(self) -> int:
        """Number of problems to look at."""
        return len(self.problems) - self.errors


@dataclass(frozen=True)
class _Photo:
    split: str
    path: Path
    seen: Seen


def check_dataset(
    dataset: Dataset,
    source: re.Pattern[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at every photo and label file of a data set.

    Args:
        dataset: what to check.
        source: finds in a file's name, as its first group, the photo or video it is a part of;
            None knows the usual forms of names (see `deal_yolo.datasets.leaks.PARTS`).
        progress: called with photos done and photos in all.

    Raises:
        MissingExtraError: imagehash is not installed.
    """
    problems: list[Problem] = []
    places: list[tuple[str, Path]] = []
    for split in dataset.splits:
        try:
            places += [(split, image) for image in dataset.images(split)]
        except DatasetError as error:
            problems.append(Problem("split-missing", split, str(dataset.yaml), str(error)))
    seen = look_at_all([path for _, path in places], progress)
    photos = [_Photo(*place, one) for place, one in zip(places, seen, strict=True)]
    counts: Counter[tuple[str, int]] = Counter()
    empty = _known_empty(dataset)
    for photo in photos:
        problems += _photo_problems(dataset, photo)
        found = _label_problems(dataset, photo, counts)
        problems += [p for p in found if p.kind != "image-without-label" or photo.path not in empty]
    problems += _absent(dataset, sorted({p.split for p in photos}), counts)
    problems += _stray_labels(dataset, photos)
    problems += _leaks(dataset, photos, source)
    order = {kind: number for number, kind in enumerate(KINDS)}
    problems.sort(key=lambda p: (order[p.kind], p.split, p.file, p.detail))
    return Report(len(photos), tuple(problems))


def shown(dataset: Dataset, path: Path) -> str:
    """A path as it is named in problems: relative to the root where it is below it."""
    below = path.is_relative_to(dataset.root)
    return path.relative_to(dataset.root).as_posix() if below else str(path)


def _known_empty(dataset: Dataset) -> set[Path]:
    """Windows without objects in a folder that the tiler made; they have no label file."""
    if not (dataset.root / MANIFEST).is_file():
        return set()
    return {dataset.root / w.window for w in read_manifest(dataset.root) if not w.objects}


def _photo_problems(dataset: Dataset, photo: _Photo) -> Iterator[Problem]:
    name = shown(dataset, photo.path)
    if photo.seen.fault:
        yield Problem("image-unreadable", photo.split, name, photo.seen.fault)
    if photo.seen.orientation != 1:
        detail = f"EXIF orientation {photo.seen.orientation}"
        yield Problem("image-rotated", photo.split, name, detail)


def _label_problems(
    dataset: Dataset, photo: _Photo, counts: Counter[tuple[str, int]]
) -> list[Problem]:
    file = dataset.label_path(photo.path)
    name = shown(dataset, file)
    regions = label_path(photo.path, dataset.root, "ignore")
    faulty = [
        Problem("label-malformed", photo.split, shown(dataset, regions), f"line {number}: {fault}")
        for number, row, fault in _lines(regions, ANY_CLASS)
        if row is None
    ]
    if not file.exists():
        image = shown(dataset, photo.path)
        return [*faulty, Problem("image-without-label", photo.split, image, f"{name} is missing")]
    found = faulty
    rows: list[tuple[int, Row]] = []
    for number, row, fault in _lines(file):
        if row is None:
            found.append(Problem("label-malformed", photo.split, name, f"line {number}: {fault}"))
            continue
        rows.append((number, row))
        counts[photo.split, row.class_id] += 1
        if row.class_id >= len(dataset.names):
            detail = f"line {number}: class {row.class_id} of {len(dataset.names)}"
            found.append(Problem("class-unknown", photo.split, name, detail))
    if not photo.seen.fault:
        found += [
            Problem(kind, photo.split, name, detail)
            for kind, detail in _box_problems(rows, *photo.seen.size)
        ]
    return found


def _lines(file: Path, least_class: int = 0) -> Iterator[tuple[int, Row | None, str]]:
    try:
        for number, line in iter_lines(file):
            try:
                yield number, parse_line(line, least_class), ""
            except ValueError as error:
                yield number, None, str(error)
    except DatasetError as error:
        yield 1, None, str(error)


def _box_problems(
    rows: Sequence[tuple[int, Row]], width: int, height: int
) -> Iterator[tuple[str, str]]:
    for number, row in rows:
        x1, x2 = (row.cx - row.w / 2) * width, (row.cx + row.w / 2) * width
        y1, y2 = (row.cy - row.h / 2) * height, (row.cy + row.h / 2) * height
        place = f"line {number}: {x1:.0f},{y1:.0f} to {x2:.0f},{y2:.0f} px of {width} x {height}"
        if row.w <= 0 or row.h <= 0:
            yield "box-empty", place
        elif max(-x1, -y1, x2 - width, y2 - height) > OUTSIDE_PX:
            yield "box-outside", place
        elif row.w * row.h > HUGE:
            yield "box-huge", place
    labels = to_labels([row for _, row in rows], [], width, height)
    for a in range(len(rows)):
        same = iou(labels.xyxy[a : a + 1], labels.xyxy[a + 1 :])[0] >= SAME_IOU
        same &= labels.class_id[a + 1 :] == labels.class_id[a]
        for b in (np.flatnonzero(same) + a + 1).tolist():
            yield "box-duplicate", f"lines {rows[a][0]} and {rows[b][0]}"


def _absent(
    dataset: Dataset, splits: Sequence[str], counts: Counter[tuple[str, int]]
) -> Iterator[Problem]:
    for split in splits:
        for number, name in enumerate(dataset.names):
            if not counts[split, number]:
                yield Problem("class-absent", split, str(dataset.yaml), f"class {number} {name}")


def _stray_labels(dataset: Dataset, photos: Sequence[_Photo]) -> Iterator[Problem]:
    expected = {dataset.label_path(p.path) for p in photos}
    images = {p.path.with_suffix("") for p in photos}
    for folder in sorted({file.parent for file in expected}):
        # Beside the photos stand other text files too; in a folder of labels nothing else does.
        own = "labels" in folder.relative_to(dataset.root).parts
        for file in sorted(folder.glob("*.txt")):
            if own and file not in expected and file.with_suffix("") not in images:
                yield Problem("label-without-image", "", shown(dataset, file), _nearby(file))


def _nearby(file: Path) -> str:
    place = Path(*("images" if p == "labels" else p for p in file.parts))
    there = [s for s in sorted(SUFFIXES) if place.with_suffix(s).exists()]
    return "its photo is in no split" if there else "it has no photo"


def _leaks(
    dataset: Dataset, photos: Sequence[_Photo], source: re.Pattern[str] | None
) -> Iterator[Problem]:
    places: dict[Path, list[str]] = defaultdict(list)
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    example: dict[tuple[str, str], Path] = {}
    for photo in photos:
        places[photo.path].append(photo.split)
        if name := source_of(photo.path, source):
            parts[name][photo.split] += 1
            example.setdefault((name, photo.split), photo.path)
    for path, splits in places.items():
        if len(splits) > 1:
            yield Problem("leak-file", splits[1], shown(dataset, path), "in " + ", ".join(splits))
    for name, count in parts.items():
        if len(count) > 1:
            split = list(count)[-1]
            where = ", ".join(f"{n} in {s}" for s, n in count.items())
            file = shown(dataset, example[name, split])
            yield Problem("leak-source", split, file, f"parts of '{name}': {where}")
    reported: set[tuple[str, int]] = set()
    for i, j in near_duplicates([p.seen for p in photos]):
        a, b = photos[i], photos[j]
        kind = "near-duplicate" if a.split == b.split else "leak-duplicate"
        # Of a long run of like frames one pair a frame is enough to say so.
        if a.path != b.path and (kind, j) not in reported:
            reported.add((kind, j))
            detail = f"looks like {shown(dataset, a.path)} in {a.split}"
            yield Problem(kind, b.split, shown(dataset, b.path), detail)
