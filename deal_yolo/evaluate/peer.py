"""Ultralytics' own prediction as a strategy: its letterbox, network call and suppression."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.detections import Detections
from deal_yolo.errors import WeightsError, require
from deal_yolo.infer.backends.base import load_backend
from deal_yolo.infer.detector import Look
from deal_yolo.infer.preprocess import Image


class Ultralytics:
    """``yolo predict`` on whole photos, at the protocol's least score and most boxes.

    Args:
        weights: safetensors of this package, or an ONNX file that ultralytics exported. A ``.pt``
            is refused, since reading it runs whatever code it holds.
        imgsz: px at which a photo is seen; None is the model's own.

    Raises:
        WeightsError: the file is of another kind, or cannot be read.
        MissingExtraError: ultralytics is not installed.
    """

    def __init__(self, weights: Path, imgsz: int | None = None) -> None:
        require("ultralytics", "train")
        if weights.suffix not in {".safetensors", ".onnx"}:
            raise WeightsError(
                f"{weights}: ultralytics' prediction takes .safetensors or .onnx: "
                "export other weights with 'yolo export format=onnx'"
            )
        if not weights.is_file():
            raise WeightsError(f"{weights}: no such weights file")
        self.score_threshold: float | None = None
        model: Any = str(weights)
        if weights.suffix == ".safetensors":
            from deal_yolo.model.checkpoint import load_model

            model, metadata = load_model(weights)
            self.score_threshold, imgsz = metadata.score_threshold, imgsz or metadata.imgsz
        elif _is_ours(weights):
            raise WeightsError(
                f"{weights} has this package's own output, which ultralytics cannot read: "
                "give the .safetensors file that it was exported from"
            )
        self._predictor = _predictor(model, imgsz)
        names = self._predictor.model.names
        self.names: tuple[str, ...] = tuple(names[i] for i in range(len(names)))

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        return [look.detections for look in self.look(images)]

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the time taken."""
        return [self._look_at_one(image) for image in images]

    def _look_at_one(self, image: Image) -> Look:
        start = time.perf_counter()
        boxes = self._predictor(source=[image])[0].boxes.cpu().numpy()
        seconds = time.perf_counter() - start
        found = Detections(boxes.xyxy, boxes.conf, boxes.cls)
        return Look(found, np.zeros((0, 4), np.int64), seconds)


def _is_ours(weights: Path) -> bool:
    try:
        load_backend(weights)
    except WeightsError:
        return False
    return True


def _predictor(model: Any, imgsz: int | None) -> Any:
    import deal_yolo.model  # noqa: F401  # forbids ultralytics to install packages

    module = require("ultralytics.models.yolo.detect", "train")
    settings = {"conf": 0.001, "max_det": 1000, "device": "cpu", "save": False, "verbose": False}
    predictor = module.DetectionPredictor(overrides={**settings, "mode": "predict"})
    predictor.setup_model(model, verbose=False)
    predictor.args.imgsz = imgsz or getattr(predictor.model, "imgsz", None) or 640
    return predictor
