"""Which box is which animal: COCO's matching rule, for every size range and IoU threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import Floats, area, inside_share, iou
from deal_yolo.datasets.labels import ANY_CLASS, Labels
from deal_yolo.detections import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MIN_SCORE = 0.001
MAX_DETECTIONS = 1000
ALL_SIZES = (0.0, 1e5)

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Matches:
    """The boxes found in one photo against its labels.

    ``n`` boxes, ``g`` labels, ``a`` size ranges, ``t`` IoU thresholds.

    Args:
        order: ``(n,)`` which of the given boxes these are, best score first.
        score: ``(n,)``.
        class_id: ``(n,)``.
        label: ``(a, t, n)`` number of the label a box was given to, -1 for none.
        ignored: ``(a, t, n)`` boxes that are neither right nor wrong.
        label_class: ``(g,)``.
        counted: ``(a, g)`` labels that are objects of the range; the others are ignored there.
    """

    order: Ints
    score: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int32]
    label: Ints
    ignored: Bools
    label_class: npt.NDArray[np.int32]
    counted: Bools

    @property
    def right(self) -> Bools:
        """``(a, t, n)`` boxes that found an object."""
        return (self.label >= 0) & ~self.ignored

    @property
    def wrong(self) -> Bools:
        """``(a, t, n)`` boxes that found none, and are not ignored."""
        return (self.label < 0) & ~self.ignored


def match(
    labels: Labels,
    found: Detections,
    ranges: Sequence[tuple[float, float]] = (ALL_SIZES,),
    thresholds: Floats = IOU_THRESHOLDS,
) -> Matches:
    """Give boxes to labels as COCO does (``pycocotools.cocoeval.evaluateImg``).

    Best score first, a box takes the free label of its class that it overlaps most, if that is
    at least the threshold; labels of the size range come before others. Labels outside the range
    are ignored, and so are boxes given to them and unmatched boxes outside the range. An ignore
    region is COCO's crowd, of its class or of every class: it forgives any number of unmatched
    boxes of which the threshold's share lies inside it.

    Args:
        labels: what is in the photo.
        found: boxes of the photo; of these the best 1,000 with a score of at least 0.001 count.
        ranges: ``a`` pairs of least and greatest root of a box's area, in px of the photo.
        thresholds: ``(t,)`` IoU thresholds.
    """
    order = np.argsort(-found.score, kind="stable")
    order = order[found.score[order] >= MIN_SCORE][:MAX_DETECTIONS]
    found = found.select(order)
    boxes, truth = found.xyxy.astype(np.float64), labels.xyxy.astype(np.float64)
    objects = ~labels.ignore
    same = found.class_id[:, None] == labels.class_id[None, :]
    overlap = iou(boxes, truth) * (same & objects)
    counted = _within(truth, ranges) & objects

    shape = (len(ranges), len(thresholds), len(boxes))
    label = np.full(shape, -1, dtype=np.intp)
    free = np.ones((len(ranges), len(thresholds), len(truth)), dtype=bool)
    for number in np.flatnonzero((overlap >= thresholds.min()).any(axis=1)):
        label[..., number] = _choose(overlap[number], free, counted[:, None, :], thresholds)
        a, t = np.nonzero(label[..., number] >= 0)
        free[a, t, label[a, t, number]] = False

    applies = same | (labels.class_id == ANY_CLASS)
    forgiven = (inside_share(boxes, truth) * (applies & labels.ignore)).max(axis=1, initial=0.0)
    spare = (forgiven >= thresholds[:, None]) | ~_within(boxes, ranges)[:, None, :]
    if len(truth):
        in_range = np.take_along_axis(
            np.broadcast_to(counted[:, None, :], free.shape), np.maximum(label, 0), axis=2
        )
    else:
        in_range = np.zeros(shape, dtype=bool)
    ignored = np.where(label >= 0, ~in_range, spare)
    return Matches(order, found.score, found.class_id, label, ignored, labels.class_id, counted)


def _within(
    boxes: npt.NDArray[np.float64], ranges: Sequence[tuple[float, float]]
) -> npt.NDArray[np.bool_]:
    size = area(boxes)
    bounds = np.square(np.array(ranges, dtype=np.float64))
    return (size >= bounds[:, :1]) & (size <= bounds[:, 1:])


def _choose(
    overlap: Floats,
    free: Bools,
    counted: Bools,
    thresholds: Floats,
) -> Ints:
    """``(a, t)`` label that a box takes, -1 for none; of equal overlaps the last, as in COCO."""
    choice = np.full(free.shape[:2], -1, dtype=np.intp)
    for group in (~counted, counted):
        value = np.where(free & group, overlap, -1.0)
        best = value.shape[-1] - 1 - value[..., ::-1].argmax(axis=-1)
        reached = np.take_along_axis(value, best[..., None], axis=-1)[..., 0] >= thresholds
        choice = np.where(reached, best, choice)
    return choice
