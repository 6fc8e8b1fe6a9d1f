"""Looking at windows of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import clip, shift
from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Detector, Windows
from deal_yolo.infer.preprocess import PAD, Image

Looker = Callable[[Sequence[Image]], list[Detections]]
Window = npt.NDArray[np.int64]
Job = tuple[Image, Window]
NO_WINDOWS: Windows = np.zeros((0, 4), np.int64)


def seeing(detector: Detector, imgsz: int | None) -> Detector:
    """``detector`` at another size; one whose input is fixed sees everything at that size."""
    return detector if detector.backend.input_size is not None else detector.with_imgsz(imgsz)


def cut(image: Image, window: Window) -> Image:
    """The part of an image in ``window``, padded where the window reaches past the image."""
    left, top, right, bottom = (int(v) for v in window)
    part = image[top:bottom, left:right]
    below, beside = bottom - top - part.shape[0], right - left - part.shape[1]
    if below or beside:
        grey = (PAD, PAD, PAD)
        part = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=grey)
    return part


def look_at(
    detector: Looker, jobs: Sequence[Job], border: int | None, spare: float = np.inf
) -> list[Detections]:
    """Detect in windows, several a run, also of several images.

    Args:
        detector: at the size at which it is to see a window.
        jobs: an image and a window of it in its px, for each.
        border: an object whose box ends this near to a side of the window within the image, in px
            of the image, is cut by it and left out; None leaves out nothing.
        spare: a cut box that reaches further than this into the window stays, since no
            neighbour, sharing less with this window, can have seen the object whole.

    Returns:
        For each window what was found in it, in px of its image.
    """
    found = detector([cut(image, window) for image, window in jobs])
    moved = []
    for (image, window), part in zip(jobs, found, strict=True):
        height, width = image.shape[:2]
        boxes = clip(shift(part.xyxy, float(window[0]), float(window[1])), width, height)
        part = part.replace(xyxy=boxes)
        if border is not None:
            part = part.select(~_is_cut(part, window, (height, width), border, spare))
        moved.append(part)
    return moved


def _is_cut(
    found: Detections, window: Window, size: tuple[int, int], border: int, spare: float
) -> npt.NDArray[np.bool_]:
    boxes, (height, width), (left, top, right, bottom) = found.xyxy, size, window
    wide, high = (boxes[:, 2:] - boxes[:, :2] > spare).T
    at_side = (left > 0) & (boxes[:, 0] <= left + border)
    at_side |= (right < width) & (boxes[:, 2] >= right - border)
    at_end = (top > 0) & (boxes[:, 1] <= top + border)
    at_end |= (bottom < height) & (boxes[:, 3] >= bottom - border)
    result: npt.NDArray[np.bool_] = (at_side & ~wide) | (at_end & ~high)
    return result
