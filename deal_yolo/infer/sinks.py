"""Where results go: each sink writes a frame as soon as it is done."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2

from deal_yolo.detections import Detections
from deal_yolo.errors import OutputError
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.record import Record, TextFile, read_journal
from deal_yolo.infer.source import Frame

CSV_HEADER = (
    "source", "frame", "time_s", "class_id", "class", "score", "x1", "y1", "x2", "y2", "track",
)  # fmt: skip
JOURNAL = "detections.jsonl"


@dataclass(frozen=True, eq=False)
class Result:
    """A frame, what was found in it, that as a record, and the annotated picture if wanted."""

    frame: Frame
    found: Detections
    record: Record
    picture: Image | None = None


class Sink(Protocol):
    """Takes one result after the other."""

    def write(self, result: Result) -> None:
        """Keep a result.

        Raises:
            OutputError: it cannot be written.
        """

    def close(self) -> None:
        """Finish what was written."""


class JournalSink:
    """``detections.jsonl``; written last, so that what it names is everywhere else too."""

    def __init__(self, out: Path, before: Iterable[Record] = ()) -> None:
        self._file = TextFile(out / JOURNAL, map(_json_line, before))

    def write(self, result: Result) -> None:
        """See `Sink`."""
        self._file.append(_json_line(result.record))

    def close(self) -> None:
        """See `Sink`."""
        self._file.close()


class CsvSink:
    """``detections.csv``: a row for each object."""

    def __init__(self, out: Path, before: Iterable[Record] = ()) -> None:
        header = ",".join(CSV_HEADER) + "\n"
        self._file = TextFile(out / "detections.csv", [header, *map(_csv_rows, before)])

    def write(self, result: Result) -> None:
        """See `Sink`."""
        self._file.append(_csv_rows(result.record))

    def close(self) -> None:
        """See `Sink`."""
        self._file.close()


class CocoSink:
    """``detections.coco.json``: made of the journal at the end."""

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        self._out, self._names = out, names

    def write(self, result: Result) -> None:
        """Nothing to do yet; the journal has it."""

    def close(self) -> None:
        """See `Sink`."""
        write_whole(
            self._out / "detections.coco.json",
            json.dumps(to_coco(read_journal(self._out / JOURNAL), self._names)).encode(),
        )


class YoloSink:
    """``labels/NAME.txt`` with class, centre and size as shares of the image; ``classes.txt``."""

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        self._folder = out / "labels"
        write_whole(out / "classes.txt", "".join(f"{n}\n" for n in names).encode())

    def write(self, result: Result) -> None:
        """See `Sink`."""
        path = self._folder / result.frame.name.with_suffix(".txt")
        write_whole(path, _yolo_rows(result.record).encode())

    def close(self) -> None:
        """See `Sink`."""


class ImageSink:
    """``images/NAME``: the annotated pictures."""

    def __init__(self, out: Path) -> None:
        self._folder = out / "images"

    def write(self, result: Result) -> None:
        """See `Sink`."""
        name = result.frame.name
        if name.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
            name = name.with_name(name.name + ".jpg")
        assert result.picture is not None
        quality = [] if name.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
        fine, data = cv2.imencode(name.suffix, result.picture, quality)
        if not fine:
            raise OutputError(f"{self._folder / name}: the picture cannot be encoded")
        write_whole(self._folder / name, data.tobytes())

    def close(self) -> None:
        """See `Sink`."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def to_coco(records: Iterable[Record], names: Sequence[str]) -> dict[str, Any]:
    """Records as a COCO data set; categories are numbered from 0 like the classes."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records):
        images.append(
            {
                "id": number,
                "file_name": record["name"],
                "width": record["width"],
                "height": record["height"],
                "time_s": record["time_s"],
            }
        )
        for found in record["detections"]:
            left, top, right, bottom = found["box"]
            size = (round(right - left, 2), round(bottom - top, 2))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": found["class_id"],
                    "bbox": [left, top, *size],
                    "area": round(size[0] * size[1], 2),
                    "iscrowd": 0,
                    "score": found["score"],
                    "track": found["track"],
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _json_line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _csv_rows(record: Record) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for found in record["detections"]:
        rows.writerow(
            [
                *(record["source"], record["frame"], record["time_s"]),
                *(found["class_id"], found["class"], found["score"], *found["box"]),
                "" if found["track"] is None else found["track"],
            ]
        )
    return text.getvalue()


def _yolo_rows(record: Record) -> str:
    width, height = record["width"], record["height"]
    rows = []
    for found in record["detections"]:
        left, top, right, bottom = found["box"]
        centre = f"{(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f}"
        size = f"{(right - left) / width:.6f} {(bottom - top) / height:.6f}"
        rows.append(f"{found['class_id']} {centre} {size}\n")
    return "".join(rows)
