"""The published second look (arXiv 2503.04698): each unsure box is cropped and seen again.

It replaces boxes but adds none, so it finds no animal that the first look did not report. Its
settings are in ``configs/refine/paper.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import iou
from deal_yolo.config import RefineConfig
from deal_yolo.detections import Detections
from deal_yolo.infer.cover import Size, candidates, context
from deal_yolo.infer.detector import Windows


def plan(first: Detections, size: Size, config: RefineConfig) -> Windows:
    """A crop for each unsure box, those of highest score first."""
    return context(first.xyxy[_cropped(first, config)], size, config)


def fuse(
    first: Detections, windows: Windows, parts: Sequence[Detections], config: RefineConfig
) -> Detections:
    """The first look, with a box replaced where its crop shows it with a higher score.

    Of a crop's boxes of the same class and with an IoU of at least `RefineConfig.match_iou`, the
    one with the highest ``0.5 score + 0.5 IoU`` counts.
    """
    numbers = _cropped(first, config)[: len(windows)]
    rest = np.setdiff1d(np.arange(len(first)), numbers)
    pairs = zip(numbers, parts, strict=True)
    again = [_better(first.select([n]), part, config.match_iou) for n, part in pairs]
    return Detections.concatenate([first.select(rest), *again])


def _cropped(first: Detections, config: RefineConfig) -> npt.NDArray[np.intp]:
    unsure = candidates(first, config)
    best_first = np.argsort(-first.score[unsure], kind="stable")
    return unsure[best_first[: config.max_windows]]


def _better(box: Detections, part: Detections, match_iou: float) -> Detections:
    overlap = iou(box.xyxy, part.xyxy)[0]
    fits = (overlap >= match_iou) & (part.class_id == box.class_id)
    if not fits.any():
        return box
    best = int(np.argmax(np.where(fits, (part.score + overlap) / 2, -1)))
    if part.score[best] <= box.score[0]:
        return box
    return part.select([best]).replace(stage=np.array([2]))
