"""A detector: preprocessing, a backend and postprocessing in one call."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deal_yolo.detections import Detections
from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.infer.backends.base import Backend, load_backend
from deal_yolo.infer.postprocess import to_detections
from deal_yolo.infer.preprocess import FloatArray, Image, Letterbox, letterbox, to_input
from deal_yolo.metadata import Metadata

Windows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Look:
    """What a strategy saw in one image, and what that cost.

    Args:
        detections: the result, in px of the image.
        windows: ``(m, 4)`` windows looked at beside the whole image, in px of the image.
        seconds: this image's share of the time the call took.
    """

    detections: Detections
    windows: Windows
    seconds: float


class Strategy(Protocol):
    """Anything that finds objects in images: `Detector`, `Sliced`, `TwoStage`."""

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each ``(h, w, 3)`` BGR image, in its px."""

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the windows used and the time taken."""


class Detector:
    """One look at whole images.

    Args:
        backend: the network.
        imgsz: length in px at which an image's longer side is seen; None is the size that the
            model was trained at, or the only one that it takes.
        conf: least score of a box.
        nms_iou: threshold of the suppression within a class.
        max_det: most boxes of an image.
        max_batch: most images that the backend is given at a time; it bounds the memory.

    Raises:
        WeightsError: the backend takes only another size.
        ConfigError: ``imgsz`` is not a multiple of the model's largest stride.
    """

    def __init__(
        self,
        backend: Backend,
        imgsz: int | None = None,
        conf: float = 0.001,
        nms_iou: float = 0.5,
        max_det: int = 1000,
        max_batch: int = 8,
    ) -> None:
        self.backend = backend
        self.conf = conf
        self.nms_iou = nms_iou
        self.max_det = max_det
        self.max_batch = backend.batch_size or max_batch
        self.imgsz = _input_side(backend, imgsz)

    @property
    def metadata(self) -> Metadata:
        """What travels with the weights."""
        return self.backend.metadata

    def with_imgsz(self, imgsz: int | None) -> Detector:
        """This detector seeing images at another size; None is the model's own size.

        Raises:
            WeightsError: the backend takes only another size.
            ConfigError: ``imgsz`` is not a multiple of the model's largest stride.
        """
        other = copy.copy(self)
        other.imgsz = _input_side(self.backend, imgsz)
        return other

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each ``(h, w, 3)`` BGR image, in its px; see `Strategy`."""
        stride = max(self.metadata.strides)
        boxes = [
            letterbox((i.shape[0], i.shape[1]), self.imgsz, stride, self.backend.input_size)
            for i in images
        ]
        found = [Detections.empty()] * len(images)
        for numbers in _batches(boxes, self.max_batch):
            batch = np.stack([to_input(images[n], boxes[n]) for n in numbers])
            for n, output in zip(numbers, self._run(batch), strict=True):
                found[n] = to_detections(output, boxes[n], self.conf, self.nms_iou, self.max_det)
        return found

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the time taken; there are no windows beside the whole image."""
        start = time.perf_counter()
        found = self(images)
        seconds = (time.perf_counter() - start) / max(1, len(images))
        return [Look(d, np.zeros((0, 4), np.int64), seconds) for d in found]

    def _run(self, batch: FloatArray) -> FloatArray:
        count, wanted = len(batch), self.backend.batch_size
        if wanted is not None and count < wanted:
            batch = np.concatenate([batch, np.repeat(batch[-1:], wanted - count, axis=0)])
        return self.backend(batch)[:count]


def load_detector(
    weights: str | Path,
    imgsz: int | None = None,
    conf: float = 0.001,
    threads: int | None = None,
    device: str = "cpu",
) -> Detector:
    """A detector from a weights file; see `load_backend` and `Detector`.

    Example:
        >>> two_stage = TwoStage(load_detector("weights/NAME.onnx"))  # doctest: +SKIP
        >>> found = two_stage([cv2.imread("photo.jpg")])[0]  # doctest: +SKIP
    """
    return Detector(load_backend(weights, threads, device), imgsz, conf)


def _input_side(backend: Backend, imgsz: int | None) -> int:
    if backend.input_size is not None:
        side = max(backend.input_size)
        if imgsz not in (None, side):
            raise WeightsError(
                f"these weights take {side} px only, not {imgsz}: export them with --dynamic"
            )
        return side
    imgsz = backend.metadata.imgsz if imgsz is None else imgsz
    stride = max(backend.metadata.strides)
    if imgsz < stride or imgsz % stride:
        raise ConfigError(f"imgsz must be a multiple of {stride}, not {imgsz}")
    return imgsz


def _batches(boxes: Sequence[Letterbox], limit: int) -> list[list[int]]:
    """Numbers of the images that can share a run: equal input size, at most ``limit``."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, box in enumerate(boxes):
        groups[box.input].append(number)
    return [g[i : i + limit] for g in groups.values() for i in range(0, len(g), limit)]
