"""A contact sheet of what `deal_yolo.datasets.check` found, with the boxes drawn."""

from __future__ import annotations

from pathlib import Path

from deal_yolo.datasets.check import KINDS, Report
from deal_yolo.datasets.dataset import Dataset
from deal_yolo.datasets.images import Image, read_image
from deal_yolo.datasets.labels import Labels, iter_lines, parse_line, to_labels
from deal_yolo.datasets.sheet import contact_sheet, draw, fit, write_png
from deal_yolo.errors import DatasetError

CELL = 400


def write_sheet(dataset: Dataset, report: Report, out: Path, count: int = 24) -> int:
    """Write a PNG of the photos with the worst problems, as many kinds of them as possible.

    Returns:
        The number of photos shown; with none, nothing is written.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    images = {
        _name(dataset, file): image
        for split in dataset.splits
        for image in _images(dataset, split)
        for file in (image, dataset.label_path(image))
    }
    by_kind = [[p for p in report.problems if p.kind == kind] for kind in KINDS]
    longest = max((len(problems) for problems in by_kind), default=0)
    in_turn = [problems[i] for i in range(longest) for problems in by_kind if i < len(problems)]
    cells: dict[Path, tuple[Image, str]] = {}
    for problem in in_turn:
        image = images.get(problem.file)
        if image is None or image in cells:
            continue
        if (drawn := _drawn(dataset, image)) is not None:
            cells[image] = drawn, f"{problem.kind} {image.name}"
        if len(cells) == count:
            break
    if cells:
        write_png(out, contact_sheet(list(cells.values()), CELL, 6))
    return len(cells)


def _name(dataset: Dataset, file: Path) -> str:
    return file.relative_to(dataset.root).as_posix()


def _images(dataset: Dataset, split: str) -> list[Path]:
    try:
        return dataset.images(split)
    except DatasetError:
        return []


def _drawn(dataset: Dataset, image: Path) -> Image | None:
    """The photo with such boxes as can be read, or None if it cannot be read itself."""
    try:
        pixels = read_image(image)
        lines = list(iter_lines(dataset.label_path(image)))
    except DatasetError:
        return None
    rows = []
    for _, line in lines:
        try:
            rows.append(parse_line(line))
        except ValueError:
            continue
    labels: Labels = to_labels(rows, [], pixels.shape[1], pixels.shape[0])
    return draw(*fit(pixels, labels, CELL))
