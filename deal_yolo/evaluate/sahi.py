"""The SAHI library over our detector: the same weights and windows, its slicing and merging."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from deal_yolo.config import SliceConfig
from deal_yolo.detections import Detections
from deal_yolo.errors import require
from deal_yolo.infer.detector import Detector, Look
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.windows import seeing


class Sahi:
    """A strategy like `Sliced`, but the library cuts the photo and joins what was found.

    Boxes are joined by suppression at the same IoU, which SAHI chooses by itself at such low
    scores; its further look at the whole photo is left out, as `Sliced` has none.

    Args:
        detector: looks at the windows.
        config: how they are laid; ``border`` has no counterpart.

    Raises:
        MissingExtraError: SAHI is not installed.
    """

    def __init__(self, detector: Detector, config: SliceConfig | None = None) -> None:
        self.config = config or SliceConfig()
        self.detector = seeing(detector, self.config.window_imgsz)
        self._predict = require("sahi.predict", "dev").get_sliced_prediction
        self._model = _adapter(self.detector)

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        return [look.detections for look in self.look(images)]

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the windows used and the time taken."""
        return [self._look_at_one(image) for image in images]

    def _look_at_one(self, image: Image) -> Look:
        c = self.config
        start = time.perf_counter()
        result = self._predict(
            image,
            self._model,
            slice_height=c.window,
            slice_width=c.window,
            overlap_height_ratio=c.overlap,
            overlap_width_ratio=c.overlap,
            perform_standard_pred=False,
            postprocess_type="NMS",
            postprocess_match_metric="IOU",
            postprocess_match_threshold=c.nms_iou,
            verbose=0,
            batch_size=self.detector.max_batch,
        )
        seconds = time.perf_counter() - start
        found = _detections(result.object_prediction_list)
        best = np.argsort(-found.score, kind="stable")[: self.detector.max_det]
        return Look(found.select(best), self._windows(image), seconds)

    def _windows(self, image: Image) -> Any:
        bboxes = require("sahi.slicing", "dev").get_slice_bboxes
        c, (height, width) = self.config, image.shape[:2]
        return np.array(
            bboxes(height, width, c.window, c.window, False, c.overlap, c.overlap), np.int64
        )


def _detections(objects: Sequence[Any]) -> Detections:
    if not objects:
        return Detections.empty()
    return Detections(
        np.array([o.bbox.to_xyxy() for o in objects]),
        np.array([o.score.value for o in objects]),
        np.array([o.category.id for o in objects]),
    )


def _adapter(detector: Detector) -> Any:
    """A SAHI ``DetectionModel`` that runs our detector; SAHI passes its pixels on as they are."""
    base = require("sahi.models.base", "dev").DetectionModel
    prediction = require("sahi.prediction", "dev").ObjectPrediction

    class Adapter(base):  # type: ignore[misc, valid-type]
        def load_model(self) -> None:
            self.model = detector

        def perform_batch_inference(self, images: list[Image]) -> None:
            self._original_predictions = detector(images)

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            names = detector.metadata.names
            self._object_prediction_list_per_image = [
                [
                    prediction(
                        bbox=box,
                        category_id=number,
                        category_name=names[number],
                        score=score,
                        shift_amount=shift,
                        full_shape=shape,
                    )
                    for box, number, score in zip(
                        found.xyxy.tolist(),
                        found.class_id.tolist(),
                        found.score.tolist(),
                        strict=True,
                    )
                ]
                for found, shift, shape in zip(
                    self._original_predictions, shift_amount_list, full_shape_list, strict=True
                )
            ]

    return Adapter(confidence_threshold=detector.conf, device="cpu")
