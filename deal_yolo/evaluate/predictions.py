"""What was found in the photos of a split, kept as COCO json, ours or another tool's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from deal_yolo.datasets.files import write_atomic
from deal_yolo.detections import Detections
from deal_yolo.errors import InputError, OutputError
from deal_yolo.evaluate.split import Split


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one strategy, or another tool, found in each photo of a split.

    Args:
        found: of each photo, in its px.
        seconds: it took for each photo; empty where that is not known.
        windows: looked at in each photo beside the whole; empty where that is not known.
        info: what made them: ``strategy``, ``sha256`` of the weights, settings and the like.
        notes: what a reader of the figures should know.
    """

    found: list[Detections]
    seconds: list[float] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    info: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_predictions(path: Path, split: Split, predictions: Predictions) -> None:
    """Write COCO json: ``info``, ``images``, ``categories``, and ``annotations`` with a score.

    Raises:
        OutputError: the file cannot be written.
    """
    images: list[dict[str, Any]] = [
        {"id": number, "file_name": file} for number, file in enumerate(split.files)
    ]
    for image, seconds, windows in zip(
        images, predictions.seconds, predictions.windows, strict=False
    ):
        image.update(seconds=seconds, windows=windows)
    content = {
        "info": dict(predictions.info),
        "images": images,
        "categories": [{"id": i, "name": n} for i, n in enumerate(split.dataset.names)],
        "annotations": [
            row for number, found in enumerate(predictions.found) for row in _rows(number, found)
        ],
    }
    write_json(path, content)


def write_json(path: Path, content: object, indent: int | None = None) -> None:
    """Write a JSON file, whole or not at all; its folder is made.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; its folder is made.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_atomic(path, text)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _rows(image: int, found: Detections) -> list[dict[str, Any]]:
    corners = found.xyxy.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [
        {"image_id": image, "category_id": c, "bbox": b, "score": s}
        for b, c, s in zip(
            boxes.tolist(), found.class_id.tolist(), found.score.tolist(), strict=True
        )
    ]


def read_info(path: Path) -> dict[str, Any]:
    """What made the predictions in a file; empty where it does not say.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    content = _read(path)
    info = content.get("info") if isinstance(content, dict) else None
    return info if isinstance(info, dict) else {}


def read_predictions(path: Path, split: Split, others: Sequence[Split] = ()) -> Predictions:
    """Read the predictions for the photos of a split from COCO json of any tool.

    Either a list of results (``image_id``, ``category_id``, ``bbox`` as left, top, width, height
    in px of the photo, ``score``), or a mapping with such a list as ``annotations``, ``images``
    (``id``, ``file_name``) and, if class numbers are not the data set's, ``categories`` (``id``,
    ``name``). Without ``images``, an ``image_id`` or ``file_name`` must be the photo's name.

    Args:
        path: the file.
        split: whose photos are asked for.
        others: splits that the file may also hold predictions for.

    Raises:
        InputError: the file is not of this form, or names a photo or class that is not in the
            data set, or holds a number that is not finite or out of its range.
    """
    content = _read(path)
    if isinstance(content, dict):
        results, images = content.get("annotations"), content.get("images")
        info, categories = read_info(path), content.get("categories")
    else:
        results, images, info, categories = content, None, {}, None
    if not isinstance(results, list):
        raise InputError(f"{path} holds no list of results: COCO json is wanted")
    reader = _Reader(path, split, others, _file_names(path, images))
    classes, notes = _classes(path, results, categories, split.dataset.names)
    rows: list[list[tuple[list[float], float, int]]] = [[] for _ in split.images]
    for position, result in enumerate(results):
        number = reader.photo(position, result)
        row = reader.row(position, result, classes)
        if number is not None:
            rows[number].append(row)
    seconds, windows = _costs(images, split)
    return Predictions([_detections(r) for r in rows], seconds, windows, info, notes)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _file_names(path: Path, images: Any) -> dict[Any, str] | None:
    if images is None:
        return None
    try:
        return {image["id"]: str(image["file_name"]) for image in images}
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: every entry of 'images' needs 'id' and 'file_name'") from error


def _costs(images: Any, split: Split) -> tuple[list[float], list[int]]:
    """Seconds and windows of each photo, where the file has them for all."""
    by_file = {image["file_name"]: image for image in images or ()}
    mine = [by_file.get(file, {}) for file in split.files]
    if not all("seconds" in image and "windows" in image for image in mine):
        return [], []
    return [float(i["seconds"]) for i in mine], [int(i["windows"]) for i in mine]


def _detections(rows: list[tuple[list[float], float, int]]) -> Detections:
    if not rows:
        return Detections.empty()
    boxes, scores, classes = zip(*rows, strict=True)
    return Detections(np.array(boxes), np.array(scores), np.array(classes))


def _classes(
    path: Path, results: list[Any], categories: Any, names: Sequence[str]
) -> tuple[dict[Any, int], tuple[str, ...]]:
    """From a file's class numbers to the data set's, and what was assumed."""
    if categories is not None:
        return _named_classes(path, categories, names), ()
    used = {r["category_id"] for r in results if _is_result(r)}
    if used and used <= set(range(1, len(names) + 1)) and len(names) in used:
        note = f"{path}: class numbers count from 1 and are taken as {', '.join(names)}"
        return {number + 1: number for number in range(len(names))}, (note,)
    return {number: number for number in range(len(names))}, ()


def _named_classes(path: Path, categories: Any, names: Sequence[str]) -> dict[Any, int]:
    if not isinstance(categories, list):
        raise InputError(f"{path}: 'categories' must be a list of 'id' and 'name'")
    classes = {}
    for category in categories:
        if not isinstance(category, dict) or not {"id", "name"} <= category.keys():
            raise InputError(f"{path}: every entry of 'categories' needs 'id' and 'name'")
        if category["name"] in names:
            classes[category["id"]] = names.index(category["name"])
    if not classes:
        raise InputError(f"{path}: no category has a name of the data set's: {', '.join(names)}")
    return classes


@dataclass(frozen=True)
class _Reader:
    """Reads single results of a file, and names the first that is wrong."""

    path: Path
    split: Split
    others: Sequence[Split]
    file_names: dict[Any, str] | None

    def photo(self, position: int, result: Any) -> int | None:
        """Which photo of the split a result is for; None for one of the other splits'."""
        if not _is_result(result):
            raise self.wrong(position, "lacks a plain 'image_id' and 'category_id'")
        key = result["image_id"]
        if self.file_names is not None:
            if key not in self.file_names:
                raise self.wrong(position, f"has image_id {key!r}, which 'images' does not list")
            file = self.file_names[key]
        else:
            file = str(result.get("file_name", key))
        number = self.split.number(file)
        if number is None and all(other.number(file) is None for other in self.others):
            raise self.wrong(position, f"is for '{file}', no photo of split '{self.split.name}'")
        return number

    def row(
        self, position: int, result: dict[str, Any], classes: Mapping[Any, int]
    ) -> tuple[list[float], float, int]:
        """Corners, score and class of a result."""
        category, score, box = (result.get(k) for k in ("category_id", "score", "bbox"))
        if category not in classes:
            known = ", ".join(f"{k} {self.split.dataset.names[v]}" for k, v in classes.items())
            raise self.wrong(position, f"has the unknown class {category!r}, known are {known}")
        if not _is_number(score) or not 0 <= score <= 1:
            raise self.wrong(position, f"has the score {score}, which is not between 0 and 1")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise self.wrong(position, f"has the bbox {box}, not four finite numbers")
        x, y, width, height = box
        if width < 0 or height < 0:
            raise self.wrong(position, f"has the bbox {box} of negative size")
        return [x, y, x + width, y + height], score, classes[category]

    def wrong(self, position: int, what: str) -> InputError:
        return InputError(f"{self.path}: result {position} {what}")


def _is_result(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(value.get(key)) in (int, str) for key in ("image_id", "category_id")
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)
