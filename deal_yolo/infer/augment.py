"""Test-time augmentation: the same image seen at several sizes and mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Detector
from deal_yolo.infer.postprocess import suppress
from deal_yolo.infer.preprocess import Image

# Share of the size, and whether mirrored: the three views that ultralytics' augment=True takes.
VIEWS = ((1.0, False), (0.83, True), (0.67, False))


class Augmented:
    """A detector that sees each image in `VIEWS`; a model of one input size sees only mirrored.

    Args:
        detector: sees each view.
    """

    def __init__(self, detector: Detector) -> None:
        self.imgsz = detector.imgsz
        self.max_batch = detector.max_batch
        self.max_det = detector.max_det
        self._nms_iou = detector.nms_iou
        self._views = [(_smaller(detector, share), mirrored) for share, mirrored in VIEWS]

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        views = [_mirrored(d, images) if flip else d(images) for d, flip in self._views]
        joined = (Detections.concatenate(parts) for parts in zip(*views, strict=True))
        return [suppress(found, self._nms_iou, self.max_det) for found in joined]


def _smaller(detector: Detector, share: float) -> Detector:
    if detector.backend.input_size is not None:
        return detector
    stride = max(detector.metadata.strides)
    return detector.with_imgsz(max(1, round(detector.imgsz * share / stride)) * stride)


def _mirrored(detector: Detector, images: Sequence[Image]) -> list[Detections]:
    found = detector([np.ascontiguousarray(image[:, ::-1]) for image in images])
    return [_mirror(d, image.shape[1]) for d, image in zip(found, images, strict=True)]


def _mirror(found: Detections, width: int) -> Detections:
    left, top, right, bottom = found.xyxy.T
    return found.replace(xyxy=np.stack([width - right, top, width - left, bottom], axis=1))
