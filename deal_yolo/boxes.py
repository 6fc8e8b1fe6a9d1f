"""Box maths in NumPy. Boxes are ``(n, 4)`` arrays of left, top, right, bottom in pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating]
Floats = npt.NDArray[np.floating]

_BLOCK = 64  # rows of an overlap matrix that fit into the processor's cache


def area(boxes: Boxes) -> Floats:
    """``(n,)`` areas in square pixels; a box turned inside out has none."""
    size: Floats = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return size[:, 0] * size[:, 1]


def intersection(a: Boxes, b: Boxes) -> Floats:
    """``(n, m)`` overlap areas of every box of ``a`` with every box of ``b``."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    common: Floats = np.maximum(width, 0) * np.maximum(height, 0)
    return common


def iou(a: Boxes, b: Boxes) -> Floats:
    """``(n, m)`` intersection over union; 0 where both boxes are without area."""
    common = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def inside_share(boxes: Boxes, windows: Boxes) -> Floats:
    """``(n, m)`` share of each box's area that lies in each window; 0 for a box without area."""
    common = intersection(boxes, windows)
    own = np.broadcast_to(area(boxes)[:, None], common.shape)
    return np.divide(common, own, out=np.zeros_like(common), where=own > 0)


def clip(boxes: Boxes, width: float, height: float) -> Boxes:
    """Boxes cut at the border of an image of ``width`` by ``height`` pixels."""
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def shift(boxes: Boxes, dx: float, dy: float) -> Boxes:
    """Boxes moved by ``dx`` to the right and ``dy`` down."""
    return boxes + np.array([dx, dy, dx, dy], boxes.dtype)


def grow(boxes: Boxes, share: float, least: float = 0.0) -> Boxes:
    """Boxes with ``share`` of their size added on each side, at least ``least`` px in size."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.maximum((boxes[:, 2:] - boxes[:, :2]) * (0.5 + share), least / 2)
    return np.concatenate([centre - half, centre + half], axis=1)


def nms(
    boxes: Boxes, scores: Floats, classes: npt.NDArray[np.integer], threshold: float
) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: ``(n, 4)``.
        scores: ``(n,)``.
        classes: ``(n,)``; boxes of different classes never suppress each other.
        threshold: a box whose IoU with a better one is above this goes.

    Returns:
        The numbers of the boxes that stay, best first; ties keep the order of the input.
    """
    order: npt.NDArray[np.intp] = np.argsort(-scores, kind="stable")
    keep = np.zeros(len(boxes), bool)
    for number in np.unique(classes):
        rest = order[classes[order] == number]
        keep[rest[_survivors(boxes[rest], threshold)]] = True
    best: npt.NDArray[np.intp] = order[keep[order]]
    return best


def _survivors(boxes: Boxes, threshold: float) -> npt.NDArray[np.intp]:
    """Numbers of the boxes, best first, that no better survivor overlaps by more than this."""
    survivors, rest = [], np.arange(len(boxes))
    while len(rest):
        over = _overlap(boxes[rest[:_BLOCK]], boxes[rest], threshold)
        alive = np.ones(len(rest), bool)
        # A box overlaps itself; most overlap nothing else and need no further look.
        for row in np.flatnonzero(over.sum(axis=1) > 1):
            if alive[row]:
                alive[row + 1 :] &= ~over[row, row + 1 :]
        survivors.append(rest[:_BLOCK][alive[:_BLOCK]])
        rest = rest[_BLOCK:][alive[_BLOCK:]]
    return np.concatenate(survivors)


def _overlap(a: Boxes, b: Boxes, threshold: float) -> npt.NDArray[np.bool_]:
    """``(n, m)`` whether `iou` is above ``threshold``, without its division."""
    common = intersection(a, b)
    result: npt.NDArray[np.bool_] = common > threshold * (area(a)[:, None] + area(b) - common)
    return result


def window_grid(width: int, height: int, size: int, overlap: float) -> npt.NDArray[np.int64]:
    """``(m, 4)`` square windows of ``size`` px that cover an image, row by row.

    Neighbours share at least ``overlap`` of their side; the windows stand inside the image where
    it is large enough, and are spread evenly. An image smaller than a window gets one window,
    which then reaches past its right and lower border.

    Raises:
        ValueError: ``size`` is not positive or ``overlap`` is not in [0, 1).
    """
    if size <= 0 or not 0 <= overlap < 1:
        raise ValueError(f"window size {size} and overlap {overlap} make no grid")
    xs, ys = _starts(width, size, overlap), _starts(height, size, overlap)
    corners = np.array([(x, y) for y in ys for x in xs], dtype=np.int64)
    return np.concatenate([corners, corners + size], axis=1)


def _starts(length: int, size: int, overlap: float) -> list[int]:
    if length <= size:
        return [0]
    step = max(1, int(size * (1 - overlap)))
    count = -(-(length - size) // step) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]
