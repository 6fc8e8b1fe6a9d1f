"""The journal of a run: one JSON line a frame, from which a run can go on after any stop.

All other text results are made of the journal's records, so that what a resumed run writes is
what an unbroken one would have written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.detections import UNTRACKED, Detections
from deal_yolo.errors import OutputError
from deal_yolo.infer.source import Frame

Record = dict[str, Any]


def make_record(frame: Frame, found: Detections, names: Sequence[str]) -> Record:
    """What the journal keeps of a frame: px of the source image, seconds since its start."""
    height, width = frame.image.shape[:2]
    objects = [
        {
            "class_id": int(number),
            "class": names[number],
            "score": round(float(score), 4),
            "box": [round(float(v), 2) for v in box],
            "track": None if track == UNTRACKED else int(track),
            "stage": int(stage),
        }
        for box, score, number, track, stage in zip(
            found.xyxy, found.score, found.class_id, found.track, found.stage, strict=True
        )
    ]
    return {
        "source": frame.source,
        "name": str(frame.name),
        "frame": frame.index,
        "time_s": round(frame.time_s, 6),
        "width": width,
        "height": height,
        "still": frame.still,
        "detections": objects,
    }


def from_record(record: Record) -> Detections:
    """The objects of a record."""
    found = record["detections"]
    tracks = [UNTRACKED if f["track"] is None else f["track"] for f in found]
    return Detections(
        xyxy=np.array([f["box"] for f in found], np.float32),
        score=np.array([f["score"] for f in found], np.float32),
        class_id=np.array([f["class_id"] for f in found], np.int32),
        track=np.array(tracks, np.int32),
        stage=np.array([f["stage"] for f in found], np.int32),
    )


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal; a last line that was cut by a crash is left out.

    Raises:
        OutputError: it cannot be read, or is not a journal.
    """
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if not line.endswith("\n"):
                    return
                record = json.loads(line)
                if not isinstance(record, dict) or "detections" not in record:
                    raise ValueError("not a record")
                yield record
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise OutputError(f"{path}: line {number} is damaged, run without --resume") from error


class TextFile:
    """A text file that grows by whole entries, each handed to the system at once.

    Args:
        path: the file; its folder is made.
        start: text that it begins with; what the file held before goes.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, start: Iterable[str] = ()) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A crash while an old file is made anew must not cost what it held.
            fresh = path.with_name(path.name + ".part")
            with fresh.open("w", encoding="utf-8", newline="") as file:
                file.writelines(start)
            os.replace(fresh, path)
            self._file = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def append(self, text: str) -> None:
        """Write and flush ``text``.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:  # what a full disk left unwritten is tried again here
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
