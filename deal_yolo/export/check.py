"""Proof on real photos that an exported file gives the boxes of the weights it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deal_yolo.datasets.images import read_image
from deal_yolo.errors import CheckError
from deal_yolo.infer.backends.base import Backend, load_backend
from deal_yolo.infer.preprocess import letterbox, to_input
from deal_yolo.metadata import Metadata

FloatArray = npt.NDArray[np.float32]

BOX_TOLERANCE = 0.5
SCORE_TOLERANCE = 0.01


@dataclass(frozen=True)
class CheckReport:
    """How far an exported file is from its weights.

    Args:
        images: inputs compared: each photo whole, and its middle at native size.
        boxes: boxes of the weights that were compared.
        box_px: largest difference of a box side, in px of the input.
        score: largest difference of a class score.
    """

    images: int
    boxes: int
    box_px: float
    score: float


def check_onnx(
    onnx: Path, weights: Path, photos: Sequence[Path], least_score: float = 0.0
) -> CheckReport:
    """Run photos through an ONNX file and through the weights, and compare the boxes.

    Args:
        onnx: a file made by `deal_yolo.export.onnx.export_onnx`.
        weights: the ``.safetensors`` file it was made from.
        photos: real photos; more of them prove more.
        least_score: only boxes from this score on must agree. FP16 moves a few boxes of hardly
            any score by a pixel.

    Raises:
        CheckError: a box is off by more than 0.5 px or a score by more than 0.01, or a photo has
            more objects than the file gives boxes.
        WeightsError: a file is missing or damaged.
        DatasetError: a photo cannot be read.
    """
    return check_backends(load_backend(weights), load_backend(onnx), photos, least_score)


def check_backends(
    wanted: Backend, got: Backend, photos: Sequence[Path], least_score: float = 0.0
) -> CheckReport:
    """As `check_onnx`, for any two backends: what ``got`` gives is held against ``wanted``."""
    keep = got.metadata.max_detections
    images = boxes = 0
    box_px = score = 0.0
    for photo in photos:
        for batch in model_inputs(photo, got):
            want, have = wanted(batch)[0], got(batch)[0]
            _refuse_crowd(want[:keep], keep, got.metadata.score_threshold, photo)
            rows = min(len(want), keep)  # either may give more than the other
            number, worst_box, worst_score = compare(want[:rows], have[:rows], least_score)
            images, boxes = images + 1, boxes + number
            box_px, score = max(box_px, worst_box), max(score, worst_score)
            if worst_box > BOX_TOLERANCE or worst_score > SCORE_TOLERANCE:
                raise CheckError(
                    f"{photo.name}: a box is off by {worst_box:.3g} px and {worst_score:.3g} of "
                    f"score, allowed are {BOX_TOLERANCE} px and {SCORE_TOLERANCE}"
                )
    return CheckReport(images, boxes, box_px, score)


def compare(
    want: FloatArray, have: FloatArray, least_score: float = 0.0
) -> tuple[int, float, float]:
    """Match the rows of two outputs for one image and find the worst pair.

    Rows are matched by box and scores, not by place: rounding may swap rows of almost equal
    score, and at the end of the list let in one or the other.

    Args:
        want: ``(k, 4 + nc)``.
        have: ``(k, 4 + nc)``.
        least_score: rows below it are not compared.

    Returns:
        The number of rows of ``want`` compared, the largest difference in px and in score.
    """
    cut = float(max(want[:, 4:].max(1).min(), have[:, 4:].max(1).min())) + SCORE_TOLERANCE
    cut = max(cut, least_score)
    whole = len(want) != len(have)
    differences = [
        _nearest(rows if whole else rows[rows[:, 4:].max(1) > cut], others)
        for rows, others in ((want, have), (have, want))
    ]
    both = np.concatenate(differences)
    if not len(both):
        return 0, 0.0, 0.0
    return len(differences[0]), float(both[:, 0].max()), float(both[:, 1].max())


def _nearest(rows: FloatArray, others: FloatArray) -> FloatArray:
    """``(n, 2)`` difference in px and in score of each row to the other row nearest to it."""
    result = np.zeros((len(rows), 2), np.float32)
    for i, row in enumerate(rows):
        difference = np.abs(others - row)
        box, score = difference[:, :4].max(1), difference[:, 4:].max(1)
        nearest = np.maximum(box / BOX_TOLERANCE, score / SCORE_TOLERANCE).argmin()
        result[i] = box[nearest], score[nearest]
    return result


def _refuse_crowd(want: FloatArray, keep: int, threshold: float, photo: Path) -> None:
    if len(want) == keep and want[-1, 4:].max() >= threshold:
        raise CheckError(
            f"{photo.name} has more than {keep} boxes with a score from {threshold:.3g}: export "
            f"with more --max-detections"
        )


def model_inputs(photo: Path, backend: Backend) -> Iterator[FloatArray]:
    """A photo as the model sees it: whole, and its middle at native size."""
    metadata: Metadata = backend.metadata
    size = metadata.imgsz
    image = read_image(photo)
    top, left = (max(0, (side - size) // 2) for side in image.shape[:2])
    for part in (image, image[top : top + size, left : left + size]):
        box = letterbox(
            (part.shape[0], part.shape[1]), size, max(metadata.strides), backend.input_size
        )
        yield np.repeat(to_input(part, box)[None], backend.batch_size or 1, axis=0)
