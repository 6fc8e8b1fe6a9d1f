"""The second look: at native pixels, only where the first look is unsure.

`TwoStage` joins pure functions that can be read one by one: `candidates` says what is unsure,
`cover` lays few windows over it, the most promising first, and `fuse` joins both looks. All boxes
are in px of the photo.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import Boxes, Floats, grow, inside_share, iou
from deal_yolo.config import RefineConfig
from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Detector, Look, Windows
from deal_yolo.infer.postprocess import suppress
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.windows import NO_WINDOWS, look_at, seeing, without_cut

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sight:
    """All that two looks saw in one image, before they are joined.

    Args:
        size: height and width of the image.
        first: what the first look found.
        windows: ``(m, 4)`` windows of the second look.
        second: what the second look found, objects cut by a window's border left out.
        seconds: this image's share of the time taken.
    """

    size: Size
    first: Detections
    windows: Windows
    second: Detections
    seconds: float


class TwoStage:
    """A detector that looks at the whole image first, then again where it was unsure.

    Args:
        detector: makes both looks.
        config: None takes the settings that travel with the weights.
    """

    def __init__(self, detector: Detector, config: RefineConfig | None = None) -> None:
        self.config = config or detector.metadata.refine
        self.first = seeing(detector, self.config.first_imgsz)
        self.second = seeing(detector, self.config.window_imgsz)

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        return [look.detections for look in self.look(images)]

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the windows used and the time taken."""
        sights = self.see(images)
        return [Look(self.join(s), s.windows, s.seconds) for s in sights]

    def see(self, images: Sequence[Image]) -> list[Sight]:
        """Both looks at each image, not yet joined; the windows of all share the runs."""
        start = time.perf_counter()
        first = self.first(images)
        sizes = [(i.shape[0], i.shape[1]) for i in images]
        windows = [self.plan(f, size) for f, size in zip(first, sizes, strict=True)]
        jobs = [(i, w) for i, many in zip(images, windows, strict=True) for w in many]
        parts = iter(look_at(self.second, jobs))
        second = [
            Detections.concatenate(
                [without_cut(next(parts), w, size, self.config.border) for w in many]
            )
            for many, size in zip(windows, sizes, strict=True)
        ]
        seconds = (time.perf_counter() - start) / max(1, len(images))
        rows = zip(sizes, first, windows, second, strict=True)
        return [Sight(*row, seconds) for row in rows]

    def plan(self, first: Detections, size: Size) -> Windows:
        """The windows to look at again in an image, the most promising first."""
        c = self.config
        if self.second.imgsz / c.window <= self.first.imgsz / max(size):
            return NO_WINDOWS  # the first look saw as many pixels
        unsure = candidates(first, c)
        regions = context(unsure.xyxy, size, c)
        return cover(regions, expected_gain(unsure.score), size, c.window, c.max_windows)

    def join(self, sight: Sight) -> Detections:
        """The result of both looks at an image."""
        joined = fuse(sight.first, sight.second, sight.windows, self.config)
        return suppress(joined, self.config.nms_iou, self.first.max_det)


def candidates(first: Detections, config: RefineConfig) -> Detections:
    """The boxes that are neither sure nor hopeless, and small enough to gain from a window."""
    unsure = (first.score >= config.low) & (first.score < config.high)
    side = (first.xyxy[:, 2:] - first.xyxy[:, :2]).max(axis=1, initial=0)
    return first.select(unsure & (side <= config.window / 2))


def expected_gain(scores: Floats) -> Floats:
    """What a second look at each candidate is worth.

    The variance ``s (1 - s)`` of whether there is an object, which the second look resolves.
    """
    return scores * (1 - scores)


def context(boxes: Boxes, size: Size, config: RefineConfig) -> Windows:
    """Boxes grown by their context, in whole px, inside the image and no larger than a window."""
    height, width = size
    edges = np.array([width, height, width, height])
    grown = grow(boxes, config.context, config.least_context)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = config.window / 2 - 1  # whole px outwards may add one on each side
    grown[:, :2] = np.maximum(grown[:, :2], centre - half)
    grown[:, 2:] = np.minimum(grown[:, 2:], centre + half)
    whole = np.concatenate([np.floor(grown[:, :2]), np.ceil(grown[:, 2:])], axis=1)
    inside: Windows = np.clip(whole, 0, edges).astype(np.int64)
    return inside


def cover(regions: Windows, gain: Floats, size: Size, window: int, max_windows: int) -> Windows:
    """Few square windows that hold all regions, greedily: the next takes the most gain left.

    Args:
        regions: ``(n, 4)`` inside the image, none larger than a window.
        gain: ``(n,)`` what it is worth to have a region in a window.
        size: height and width of the image.
        window: side of a window.
        max_windows: most windows; where it binds, the regions of least gain are left out.

    Returns:
        ``(m, 4)``, each different, inside the image where it is larger than a window.
    """
    windows: list[npt.NDArray[np.int64]] = []
    left = np.arange(len(regions))
    while len(left) and len(windows) < max_windows:
        chosen = _best_window(regions[left], gain[left], size, window)
        windows.append(chosen)
        left = left[~_holds(chosen, regions[left])]
    return np.array(windows, np.int64).reshape(-1, 4)


def _best_window(regions: Windows, gain: Floats, size: Size, window: int) -> Windows:
    """The window that holds the most gain, centred on the regions it holds."""
    # Some best window begins at the left of a region and at the top of a region. In x and y
    # apart, which regions would each of those hold?
    in_x = (regions[:, 0] >= regions[:, :1]) & (regions[:, 2] <= regions[:, :1] + window)
    in_y = (regions[:, 1] >= regions[:, 1:2]) & (regions[:, 3] <= regions[:, 1:2] + window)
    total = (in_x * gain) @ in_y.T.astype(gain.dtype)
    i, j = np.unravel_index(np.argmax(total), total.shape)
    held = regions[in_x[i] & in_y[j]]
    middle = (held[:, :2].min(axis=0) + held[:, 2:].max(axis=0)) // 2
    most = np.maximum(np.array([size[1], size[0]]) - window, 0)
    corner = np.clip(middle - window // 2, 0, most)
    best: Windows = np.concatenate([corner, corner + window])
    return best


def _holds(window: Windows, regions: Windows) -> npt.NDArray[np.bool_]:
    inside = np.hstack([regions[:, :2] >= window[:2], regions[:, 2:] <= window[2:]])
    result: npt.NDArray[np.bool_] = np.all(inside, axis=1)
    return result


def fuse(
    first: Detections, second: Detections, windows: Windows, config: RefineConfig
) -> Detections:
    """Both looks as one, duplicates within the second look still in.

    Where both see an object, the second look's box stands, with its score; a sure first look
    cannot be talked down, an unsure one only to `RefineConfig.unconfirmed` of its score. An
    unsure box that was looked at again and not seen keeps that lowered score, not none.
    """
    if not len(windows):
        return first
    again = inside_share(first.xyxy, windows.astype(np.float32)).max(axis=1) > 0.999
    unsure = first.score < config.high
    kept_score = np.where(again & unsure, first.score * config.unconfirmed, first.score)
    same = iou(first.xyxy, second.xyxy) >= config.match_iou
    same &= again[:, None] & (first.class_id[:, None] == second.class_id[None, :])
    seen = np.any(same, axis=1)
    lifted = second.score.copy()
    if seen.any():
        partner = np.where(same[seen], second.score, -1).argmax(axis=1)
        np.maximum.at(lifted, partner, kept_score[seen])
    rest = first.replace(score=kept_score).select(~seen)
    again_seen = second.replace(score=lifted, stage=np.full(len(second), 2))
    return Detections.concatenate([rest, again_seen])
