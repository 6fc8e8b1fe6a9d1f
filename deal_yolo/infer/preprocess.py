"""From a photo to the model's input: resize with the aspect ratio kept, then pad."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import Boxes, clip

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

# The grey that ultralytics pads with in training.
PAD = 114


@dataclass(frozen=True)
class Letterbox:
    """How an image lies in the model's input: at the top left, the rest is padding.

    Args:
        image: height and width of the image in its own px.
        content: height and width that the image takes up in the input.
        input: height and width of the input.
    """

    image: tuple[int, int]
    content: tuple[int, int]
    input: tuple[int, int]

    def to_image(self, boxes: Boxes) -> Boxes:
        """Boxes in px of the input as boxes in px of the image, cut at its border."""
        sy, sx = (i / c for i, c in zip(self.image, self.content, strict=True))
        height, width = self.image
        return clip(boxes * np.array([sx, sy, sx, sy], boxes.dtype), width, height)


def letterbox(
    image: tuple[int, int], imgsz: int, stride: int, fixed: tuple[int, int] | None = None
) -> Letterbox:
    """Where an image goes in the model's input.

    Args:
        image: height and width in px.
        imgsz: length in px that the image's longer side gets.
        stride: the input's sides are multiples of it.
        fixed: the only input size the model takes; it then counts instead of ``imgsz``.
    """
    height, width = image
    limit = fixed or (imgsz, imgsz)
    scale = min(limit[0] / height, limit[1] / width)
    content = (max(1, round(height * scale)), max(1, round(width * scale)))
    if fixed is not None:
        return Letterbox(image, content, fixed)
    padded = (-(-content[0] // stride) * stride, -(-content[1] // stride) * stride)
    return Letterbox(image, content, padded)


def to_input(image: Image, box: Letterbox) -> FloatArray:
    """``(3, h, w)`` RGB in [0, 1] from an ``(H, W, 3)`` BGR image."""
    height, width = box.content
    if image.shape[:2] != box.content:
        # Only area averaging keeps small animals when a photo is made several times smaller.
        smaller = height < image.shape[0]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=how)
    tensor = np.full((3, *box.input), PAD / 255, np.float32)
    tensor[:, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1)
    tensor[:, :height, :width] /= 255
    return tensor
