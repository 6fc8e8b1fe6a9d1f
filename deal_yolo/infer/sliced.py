"""Uniform windows over every image: thorough and slow, the measure for the second look."""

from __future__ import annotations

import time
from collections.abc import Sequence

from deal_yolo.boxes import window_grid
from deal_yolo.config import SliceConfig
from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Detector, Look
from deal_yolo.infer.postprocess import suppress
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.windows import look_at, seeing


class Sliced:
    """A detector run on overlapping windows that cover the image.

    Args:
        detector: looks at the windows.
        config: how they are laid.
    """

    def __init__(self, detector: Detector, config: SliceConfig | None = None) -> None:
        self.config = config or SliceConfig()
        self.detector = seeing(detector, self.config.window_imgsz)

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        return [look.detections for look in self.look(images)]

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the windows used and the time taken."""
        return [self._look_at_one(image) for image in images]

    def _look_at_one(self, image: Image) -> Look:
        start = time.perf_counter()
        c, size = self.config, (image.shape[0], image.shape[1])
        # A small image is seen as large as it can be, but not enlarged.
        side = min(c.window, max(*size, self.detector.imgsz))
        windows = window_grid(size[1], size[0], side, c.overlap)
        jobs = [(image, window) for window in windows]
        parts = look_at(self.detector, jobs, c.border, spare=c.overlap * side)
        found = suppress(Detections.concatenate(parts), c.nms_iou, self.detector.max_det)
        return Look(found, windows, time.perf_counter() - start)
