"""Sheets of the worst mistakes: misses, false alarms and double counts, cut from the photos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import area, iou
from deal_yolo.datasets.images import Image, read_image
from deal_yolo.datasets.labels import Labels
from deal_yolo.detections import Detections
from deal_yolo.errors import OutputError
from deal_yolo.evaluate.evaluation import Evaluation
from deal_yolo.evaluate.matching import IOU_THRESHOLDS, match
from deal_yolo.evaluate.split import Split

KINDS = ("misses", "false alarms", "double counts")
_SIDE, _COLUMNS, _HEAD, _FOOT, _LEAST_VIEW = 180, 10, 40, 34, 96
_LABELLED, _BOXED, _FAULT = (80, 200, 80), (230, 160, 60), (60, 60, 240)
# A box that overlaps an animal this much is about it, be it ever so badly placed.
_SAME_ANIMAL = 0.1

_UNSAFE = r"[^A-Za-z0-9.=-]+"

Box = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Mistake:
    """One animal missed, or one box too many.

    Args:
        kind: one of `KINDS`.
        photo: number of the photo.
        box: left, top, right, bottom in px of the photo.
        score: of the box; for a miss the best score of any box on the animal, 0 if there is none.
        class_id: of the animal missed, or of the box.
        there: class of the labelled animal that a box too many overlaps most, if any.
    """

    kind: str
    photo: int
    box: Box
    score: float
    class_id: int
    there: int | None = None


def worst(
    labels: Sequence[Labels], found: Sequence[Detections], threshold: float, most: int = 50
) -> dict[str, list[Mistake]]:
    """The worst mistakes of each kind at IoU 0.5, those the model was surest of first.

    A miss is the worse the lower the model's best score there, then the larger the animal; a box
    too many is the worse the higher its score. It is a double count where it lies on an animal
    that another box has found, else a false alarm.

    Args:
        labels: of each photo.
        found: of each photo.
        threshold: least score of a box.
        most: how many of each kind.
    """
    mistakes: list[Mistake] = []
    for photo, pair in enumerate(zip(labels, found, strict=True)):
        mistakes += _misses(photo, *pair, threshold) + _too_many(photo, *pair, threshold)
    result = {}
    for kind in KINDS:
        mine = [m for m in mistakes if m.kind == kind]
        if kind == "misses":
            mine.sort(key=lambda m: (m.score, -float(area(m.box[None])[0])))
        else:
            mine.sort(key=lambda m: -m.score)
        result[kind] = mine[:most]
    return result


def _misses(photo: int, labels: Labels, found: Detections, threshold: float) -> list[Mistake]:
    sure = found.select(found.score >= threshold)
    matches = match(labels, sure, thresholds=IOU_THRESHOLDS[:1])
    missed = ~labels.ignore
    missed[matches.label[0, 0][matches.right[0, 0]]] = False
    there = np.where(iou(found.xyxy, labels.xyxy) >= _SAME_ANIMAL, found.score[:, None], 0)
    best = there.max(axis=0, initial=0.0)
    return [
        Mistake("misses", photo, labels.xyxy[i], float(best[i]), int(labels.class_id[i]))
        for i in np.flatnonzero(missed)
    ]


def _too_many(photo: int, labels: Labels, found: Detections, threshold: float) -> list[Mistake]:
    sure = found.select(found.score >= threshold)
    matches = match(labels, sure, thresholds=IOU_THRESHOLDS[:1])
    wrong = sure.select(matches.order[matches.wrong[0, 0]])
    seen = labels.select(matches.label[0, 0][matches.right[0, 0]])
    twice = iou(wrong.xyxy, seen.xyxy).max(axis=1, initial=0.0) >= _SAME_ANIMAL
    animals = labels.select(~labels.ignore)
    mistakes = []
    for i, overlap in enumerate(iou(wrong.xyxy, animals.xyxy)):
        kind = "double counts" if twice[i] else "false alarms"
        on_one = overlap.max(initial=0.0) >= _SAME_ANIMAL
        there = int(animals.class_id[overlap.argmax()]) if on_one else None
        score, number = float(wrong.score[i]), int(wrong.class_id[i])
        mistakes.append(Mistake(kind, photo, wrong.xyxy[i], score, number, there))
    return mistakes


def write_galleries(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write one PNG sheet for each strategy.

    Raises:
        OutputError: a sheet cannot be written.
        DatasetError: a photo cannot be read.
    """
    made = []
    for name, scores in evaluation.scores.items():
        found = [
            d.select(d.score >= scores.score_threshold) for d in evaluation.predictions[name].found
        ]
        mistakes = worst(
            evaluation.split.labels, evaluation.predictions[name].found, scores.score_threshold
        )
        made.append(folder / f"{re.sub(_UNSAFE, '-', name)}.png")
        write_sheet(made[-1], draw_sheet(evaluation.split, found, mistakes))
    return made


def draw_sheet(
    split: Split, found: Sequence[Detections], mistakes: Mapping[str, Sequence[Mistake]]
) -> Image:
    """A block of cut-outs for each kind: labels green, boxes blue, the mistake itself red.

    Args:
        split: photos and labels.
        found: boxes to draw, of each photo.
        mistakes: by kind.

    Returns:
        ``(h, w, 3)`` BGR picture.
    """
    views: dict[int, Image] = {}
    every = [m for group in mistakes.values() for m in group]
    for photo in sorted({m.photo for m in every}):
        image = read_image(split.images[photo])  # one photo in memory at a time
        for mistake in every:
            if mistake.photo == photo:
                view = _view(mistake, image, split.labels[photo].xyxy, found[photo].xyxy)
                caption = _caption(mistake, split.dataset.names, split.images[photo].stem)
                views[id(mistake)] = np.vstack([view, caption])
    blocks = []
    for kind, group in mistakes.items():
        blocks.append(_heading(f"{kind}: {len(group)}" if group else f"{kind}: none"))
        for first in range(0, len(group), _COLUMNS):
            row = [views[id(m)] for m in group[first : first + _COLUMNS]]
            row += [np.full_like(row[0], 255)] * (_COLUMNS - len(row))
            blocks.append(np.hstack(row))
    return np.vstack(blocks)


def write_sheet(path: Path, sheet: Image) -> None:
    """Write a picture as PNG.

    Raises:
        OutputError: it cannot be written.
    """
    _, data = cv2.imencode(".png", sheet)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _view(mistake: Mistake, image: Image, labels: Box, found: Box) -> Image:
    """The mistake in the middle of what is around it."""
    size = max(_LEAST_VIEW, 2 * float((mistake.box[2:] - mistake.box[:2]).max()))
    corner = (mistake.box[:2] + mistake.box[2:]) / 2 - size / 2
    scale = _SIDE / size
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    view = cv2.warpAffine(image, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
    for boxes, colour in ((labels, _LABELLED), (found, _BOXED), (mistake.box[None], _FAULT)):
        for x1, y1, x2, y2 in ((boxes.reshape(-1, 2, 2) - corner) * scale).reshape(-1, 4).round():
            cv2.rectangle(view, (int(x1), int(y1)), (int(x2), int(y2)), colour, 1, cv2.LINE_AA)
    return np.asarray(view, np.uint8)


def _caption(mistake: Mistake, names: Sequence[str], photo: str) -> Image:
    strip = np.full((_FOOT, _SIDE, 3), 255, np.uint8)
    there = "" if mistake.there is None else f", on a {names[mistake.there]}"
    _write(strip, f"{names[mistake.class_id]} {mistake.score:.3f}{there}", 13, 0.4)
    _write(strip, photo[-28:], 27, 0.33)
    return strip


def _heading(text: str) -> Image:
    strip = np.full((_HEAD, _SIDE * _COLUMNS, 3), 235, np.uint8)
    _write(strip, text, 27, 0.7)
    return strip


def _write(image: Image, text: str, baseline: int, scale: float) -> None:
    colour = (30, 30, 30)
    cv2.putText(image, text, (4, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
