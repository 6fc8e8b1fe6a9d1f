"""The objects of one photo, and the YOLO text form they are kept in.

A label file holds a line ``class cx cy w h`` an object, all but the class as shares of the photo's
width and height; a line ``class x1 y1 x2 y2 x3 y3 ...`` is a polygon, of which the enclosing box is
taken. Regions to be ignored stand in the same form under ``ignore/`` beside ``labels/``, where
training does not see them; there class -1 means a region of no particular class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deal_yolo.errors import DatasetError

ANY_CLASS = -1


@dataclass(frozen=True, eq=False)
class Labels:
    """The objects of one photo; arrays are read-only and of one length ``n``.

    Args:
        xyxy: ``(n, 4)`` corners left, top, right, bottom, in pixels of the photo.
        class_id: ``(n,)`` class numbers; -1 is an ignored region of no particular class.
        ignore: ``(n,)`` true where a box or region is neither to be found nor a mistake if found.
    """

    xyxy: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int32]
    ignore: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        arrays = {
            "xyxy": np.array(self.xyxy, np.float32).reshape(-1, 4),
            "class_id": np.array(self.class_id, np.int32).reshape(-1),
            "ignore": np.array(self.ignore, np.bool_).reshape(-1),
        }
        if len({len(a) for a in arrays.values()}) > 1:
            raise ValueError("xyxy, class_id and ignore must be of one length")
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> Labels:
        """No objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.bool_))

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Labels:
        """The objects at ``index``, a mask or numbers."""
        return Labels(self.xyxy[index], self.class_id[index], self.ignore[index])


@dataclass(frozen=True)
class Row:
    """One line of a label file: class, and the box as shares of the photo's width and height."""

    class_id: int
    cx: float
    cy: float
    w: float
    h: float


def parse_line(line: str, least_class: int = 0) -> Row:
    """The object on one line of a label file.

    Raises:
        ValueError: the line is malformed; the message says how.
    """
    fields = line.split()
    if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
        raise ValueError(f"{len(fields)} values, expected 'class cx cy w h' or a polygon")
    try:
        number, *values = (float(f) for f in fields)
    except ValueError as error:
        raise ValueError(f"not a number in '{line.strip()[:60]}'") from error
    if not all(map(math.isfinite, (number, *values))):
        raise ValueError("a value is not finite")
    if number != int(number) or not least_class <= number < 2**31:
        raise ValueError(f"class '{fields[0]}' is not a class number")
    if len(values) == 4:
        return Row(int(number), *values)
    xs, ys = values[::2], values[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return Row(int(number), (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def iter_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file that are not blank; none where there is no file.

    Raises:
        DatasetError: the file cannot be read or is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    # Not splitlines(): it also breaks at form feeds and the like, and line numbers would drift.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def read_rows(path: Path, least_class: int = 0, classes: int | None = None) -> list[Row]:
    """All objects of a label file; none where there is no file.

    Args:
        path: the file.
        least_class: least class number.
        classes: number of classes, to refuse higher numbers.

    Raises:
        DatasetError: a line is malformed; the message names file and line.
    """
    rows = []
    for number, line in iter_lines(path):
        try:
            row = parse_line(line, least_class)
            if classes is not None and row.class_id >= classes:
                raise ValueError(f"class {row.class_id}, but only {classes} have names")
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {error}") from error
        rows.append(row)
    return rows


def to_labels(rows: Iterable[Row], ignored: Iterable[Row], width: int, height: int) -> Labels:
    """Rows as pixels of a photo of ``width`` by ``height``; first objects, then ignored ones."""
    objects, regions = list(rows), list(ignored)
    both = objects + regions
    values = np.array([(r.cx, r.cy, r.w, r.h) for r in both], np.float64).reshape(-1, 4)
    centre, half = values[:, :2], values[:, 2:] / 2
    xyxy = np.concatenate([centre - half, centre + half], axis=1)
    xyxy *= np.array([width, height, width, height])
    ignore = np.arange(len(both)) >= len(objects)
    return Labels(xyxy, np.array([r.class_id for r in both], np.int32), ignore)


def to_row(class_id: int, box: npt.ArrayLike, width: int, height: int) -> Row:
    """A pixel box left, top, right, bottom of a photo of ``width`` by ``height`` as a row."""
    x1, y1, x2, y2 = (float(v) for v in np.asarray(box, np.float64))
    return Row(
        int(class_id),
        (x1 + x2) / 2 / width,
        (y1 + y2) / 2 / height,
        (x2 - x1) / width,
        (y2 - y1) / height,
    )


def format_rows(rows: Iterable[Row]) -> str:
    """The text of a label file; eight decimals keep a ten-thousandth of a pixel."""
    return "".join(f"{r.class_id} {r.cx:.8f} {r.cy:.8f} {r.w:.8f} {r.h:.8f}\n" for r in rows)


def label_path(image: Path, root: Path, folder: str = "labels") -> Path:
    """Where the label file of ``image`` stands.

    As ultralytics has it: the last folder ``images`` on the way becomes ``labels``; where there is
    none, the file stands beside the photo. For ``folder="ignore"`` a suffix keeps the latter apart.
    """
    parts = list(image.relative_to(root).parts)
    suffix = ".txt"
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = folder
    elif folder != "labels":
        suffix = f".{folder}.txt"
    return (root / Path(*parts)).with_suffix(suffix)
