"""One window of a photo: its pixels, and the labels that are in it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import clip, inside_share, shift
from deal_yolo.datasets.dataset import TileConfig
from deal_yolo.datasets.images import Image, WindowReader
from deal_yolo.datasets.labels import Labels

BLACK = (8, 8, 8)  # JPEG leaves a little noise in black
PADDING = 114  # the grey that ultralytics pads with
LEAST_SIDE = 2.0  # px of the window; a smaller object cannot be learnt
Area = npt.NDArray[np.int64]


def window_pixels(
    reader: WindowReader, area: Area, scale: float, config: TileConfig
) -> Image | None:
    """``(size, size, 3)`` pixels of a window, or None where the photo is mostly black.

    Args:
        reader: the photo.
        area: left, top, right, bottom in px of the photo; what reaches past it becomes grey.
        scale: px of the window for each px of the photo.
        config: gives the size, and the share of pixels that must not be black.
    """
    x1, y1 = int(area[0]), int(area[1])
    x2, y2 = min(int(area[2]), reader.width), min(int(area[3]), reader.height)
    pixels = reader.read(x1, y1, x2, y2)
    if config.real > 0 and _real_share(pixels) < config.real:
        return None
    size = config.size
    if scale != 1:
        width = min(size, max(1, round((x2 - x1) * scale)))
        height = min(size, max(1, round((y2 - y1) * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=way), np.uint8)
    height, width = pixels.shape[:2]
    if (height, width) != (size, size):
        canvas = np.full((size, size, 3), PADDING, np.uint8)
        canvas[:height, :width] = pixels
        pixels = canvas
    return pixels


def _real_share(pixels: Image) -> float:
    # Every fourth pixel each way tells as much as all of them.
    some = pixels[::4, ::4]
    black: int = cv2.countNonZero(cv2.inRange(some, (0, 0, 0), BLACK))
    return 1.0 - black / float(some.shape[0] * some.shape[1])


def window_labels(labels: Labels, area: Area, scale: float, config: TileConfig) -> Labels:
    """The labels that touch a window, in its px; where too little of one is seen, it is ignored."""
    share = inside_share(labels.xyxy, area[None].astype(np.float32))[:, 0]
    touching = share > 0
    part, share = labels.select(touching), share[touching]
    moved = shift(part.xyxy, -float(area[0]), -float(area[1])) * scale
    boxes = clip(moved, config.size, config.size)
    small = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) < LEAST_SIDE
    return Labels(boxes, part.class_id, part.ignore | (share < config.visible) | small)
