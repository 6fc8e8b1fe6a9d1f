"""Where to look again, and how to join both looks: pure functions over boxes in px of the photo.

`plan` chooses the windows: `candidates` says what is unsure, `context` what must be seen around
it, `cover` lays few windows over that, the most promising first. `fuse` joins both looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import Boxes, Floats, grow, iou
from deal_yolo.config import RefineConfig
from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Windows

Size = tuple[int, int]
_MOST_CORNERS = 100


def plan(first: Detections, size: Size, config: RefineConfig) -> Windows:
    """The windows to look at again in an image of height and width ``size``, best first."""
    unsure = first.select(candidates(first, config))
    regions = context(unsure.xyxy, size, config)
    gain = expected_gain(unsure.score)
    return cover(regions, gain, size, config)


def candidates(first: Detections, config: RefineConfig) -> npt.NDArray[np.intp]:
    """Numbers of the boxes that are unsure, not hopeless, and small enough for a window."""
    unsure = (first.score >= config.low) & (first.score < config.high)
    side = (first.xyxy[:, 2:] - first.xyxy[:, :2]).max(axis=1, initial=0)
    return np.flatnonzero(unsure & (side <= config.window / 2))


def expected_gain(scores: Floats) -> Floats:
    """What a second look at each candidate is worth.

    The variance ``s (1 - s)`` of whether there is an object, which the second look resolves.
    """
    return scores * (1 - scores)


def context(boxes: Boxes, size: Size, config: RefineConfig) -> Windows:
    """Boxes grown by their context, in whole px, inside the image and no larger than a window."""
    height, width = size
    grown = grow(boxes, config.context, config.least_context)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = config.window / 2 - 1  # whole px outwards may add one on each side
    low = np.floor(np.maximum(grown[:, :2], centre - half))
    high = np.ceil(np.minimum(grown[:, 2:], centre + half))
    edges = np.array([width, height, width, height])
    inside: Windows = np.clip(np.hstack([low, high]), 0, edges).astype(np.int64)
    return inside


def cover(regions: Windows, gain: Floats, size: Size, config: RefineConfig) -> Windows:
    """Few square windows that hold all regions, greedily: the next takes the most gain left.

    Args:
        regions: ``(n, 4)`` inside the image, none larger than a window.
        gain: ``(n,)`` what it is worth to have a region in a window.
        size: height and width of the image.
        config: side and most number of the windows, and the least gain of one; where these
            bind, the regions of least gain are left out.

    Returns:
        ``(m, 4)``, each different, inside the image where it is larger than a window.
    """
    windows: list[Windows] = []
    while len(regions) and len(windows) < config.max_windows:
        chosen = _best_window(regions, gain, size, config.window)
        left = ~_holds(chosen, regions)
        if gain[~left].sum() < config.least_gain:
            break
        windows.append(chosen)
        regions, gain = regions[left], gain[left]
    return np.array(windows, np.int64).reshape(-1, 4)


def _best_window(regions: Windows, gain: Floats, size: Size, window: int) -> Windows:
    """The window that holds the most gain, centred on the regions it holds."""
    # Some best window begins at the left of a region and at the top of a region. In x and y
    # apart, which regions would each of those hold? The time grows with the cube of their
    # number, so in a crowd only the most promising are asked.
    corners = regions[np.argsort(-gain, kind="stable")[:_MOST_CORNERS], :2]
    in_x = (regions[:, 0] >= corners[:, :1]) & (regions[:, 2] <= corners[:, :1] + window)
    in_y = (regions[:, 1] >= corners[:, 1:]) & (regions[:, 3] <= corners[:, 1:] + window)
    # Not `@`: the threads of NumPy's BLAS go on spinning for a while after a product, which
    # nearly doubles the time of the network's run that comes next.
    total = np.einsum("ik,jk->ij", in_x * gain, in_y.astype(gain.dtype))
    i, j = np.unravel_index(np.argmax(total), total.shape)
    held = regions[in_x[i] & in_y[j]]
    middle = (held[:, :2].min(axis=0) + held[:, 2:].max(axis=0)) // 2
    most = np.maximum(np.array([size[1], size[0]]) - window, 0)
    corner = np.clip(middle - window // 2, 0, most)
    best: Windows = np.concatenate([corner, corner + window])
    return best


def _holds(window: Windows, regions: Boxes | Windows) -> npt.NDArray[np.bool_]:
    inside = np.hstack([regions[:, :2] >= window[:2], regions[:, 2:] <= window[2:]])
    result: npt.NDArray[np.bool_] = np.all(inside, axis=1)
    return result


def fuse(
    first: Detections, windows: Windows, parts: Sequence[Detections], config: RefineConfig
) -> Detections:
    """Both looks as one, duplicates within the second look still in.

    Where both see an object, the second look's box stands. What was looked at again has the mean
    of both scores, `RefineConfig.first_weight` that of the first: two looks that agree are surer
    than one, and what one of them does not see keeps a lowered score, not none.

    Args:
        first: what the first look found.
        windows: ``(m, 4)`` windows looked at again.
        parts: what the second look found in each, objects cut by its border left out.
        config: the thresholds.
    """
    again = np.zeros(len(first), bool)
    seen = np.zeros(len(first), bool)
    weight, second = config.first_weight, []
    for window, part in zip(windows, parts, strict=True):
        here = np.flatnonzero(_holds(window, first.xyxy))
        same = iou(first.xyxy[here], part.xyxy) >= config.match_iou
        same &= first.class_id[here, None] == part.class_id
        again[here] = True
        seen[here[same.any(axis=1)]] = True
        before = np.where(same, first.score[here, None], 0).max(axis=0, initial=0)
        score = weight * before + (1 - weight) * part.score
        second.append(part.replace(score=score, stage=np.full(len(part), 2)))
    unseen = first.replace(score=np.where(again, weight * first.score, first.score)).select(~seen)
    return Detections.concatenate([unseen, *second])
