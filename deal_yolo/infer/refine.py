"""The second look: at native pixels, only where the first look is unsure.

`TwoStage` joins what can be read one by one: `deal_yolo.infer.cover` says where to look again and
how to join both looks, `deal_yolo.infer.paper` does so by the published rule.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from deal_yolo.config import RefineConfig
from deal_yolo.detections import Detections
from deal_yolo.infer import cover, paper
from deal_yolo.infer.augment import Augmented
from deal_yolo.infer.detector import Detector, Look, Windows
from deal_yolo.infer.postprocess import suppress
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.windows import NO_WINDOWS, Job, look_at, seeing


@dataclass(frozen=True, eq=False)
class Sight:
    """All that two looks saw in one image, before they are joined; boxes in px of the image.

    Args:
        size: height and width of the image.
        first: what the first look found.
        windows: ``(m, 4)`` windows of the second look.
        parts: what it found in each of them.
    """

    size: cover.Size
    first: Detections
    windows: Windows
    parts: tuple[Detections, ...]


class TwoStage:
    """A detector that looks at the whole image first, then again where it was unsure.

    Args:
        detector: makes both looks.
        config: None takes the settings that travel with the weights.
    """

    def __init__(self, detector: Detector, config: RefineConfig | None = None) -> None:
        self.config = config or detector.metadata.refine
        first_imgsz = self.config.first_imgsz
        self.first = detector if first_imgsz is None else seeing(detector, first_imgsz)
        second = seeing(detector, self.config.window_imgsz)
        self.second = Augmented(second) if self.config.augment else second
        self._joining_s = 0.0  # what joining an image took last time, for the time budget

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        return [look.detections for look in self.look(images)]

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the windows used and the time taken."""
        start, count = time.perf_counter(), max(1, len(images))
        sights = self.see(images)
        seen = time.perf_counter()
        found = [self.join(sight, self.config) for sight in sights]
        end = time.perf_counter()
        self._joining_s = (end - seen) / count
        return [
            Look(f, s.windows, (end - start) / count) for f, s in zip(found, sights, strict=True)
        ]

    def see(self, images: Sequence[Image]) -> list[Sight]:
        """Both looks at each image, not yet joined; the windows of all images share the runs."""
        start = time.perf_counter()
        sizes = [(i.shape[0], i.shape[1]) for i in images]
        first = self._first_look(images, sizes)
        plans = [self.plan(f, size) for f, size in zip(first, sizes, strict=True)]
        # The best window of every image, then the second best: a budget then cuts all alike.
        order = sorted((rank, n) for n, plan in enumerate(plans) for rank in range(len(plan)))
        jobs = [(images[n], plans[n][rank]) for rank, n in order]
        if self.config.budget_ms is None:
            found = self._second_look(jobs)
        else:
            deadline = start + (self.config.budget_ms / 1000 - self._joining_s) * len(images)
            pixels = self.second.imgsz**2 / max(1, sum(self.first_side(s) ** 2 for s in sizes))
            found = self._look_until(deadline, jobs, (time.perf_counter() - start) * pixels)
        parts: list[list[Detections]] = [[] for _ in images]
        for (_, n), part in zip(order, found, strict=False):
            parts[n].append(part)
        seen = zip(sizes, first, plans, parts, strict=True)
        return [Sight(size, f, plan[: len(p)], tuple(p)) for size, f, plan, p in seen]

    def plan(self, first: Detections, size: cover.Size) -> Windows:
        """The windows to look at again in an image, the most promising first."""
        if self.config.rule == "paper":
            return paper.plan(first, size, self.config)
        zoom = self._window_scale / (self.first_side(size) / max(size))
        if zoom < self.config.least_zoom:
            return NO_WINDOWS
        return cover.plan(first, size, self.config)

    def first_side(self, size: cover.Size) -> int:
        """Length in px at which the first look sees an image's longer side.

        No finer than a window is seen: of a small photo that would be slower and, as animals
        larger than those trained on are seen worse, no better.
        """
        most = self.first.imgsz
        if self.config.rule == "paper" or self.first.backend.input_size is not None:
            return most
        stride = max(self.first.metadata.strides)
        return min(most, math.ceil(max(size) * self._window_scale / stride) * stride)

    @property
    def _window_scale(self) -> float:
        return self.second.imgsz / self.config.window

    def _first_look(self, images: Sequence[Image], sizes: Sequence[cover.Size]) -> list[Detections]:
        by_side: dict[int, list[int]] = defaultdict(list)
        for number, size in enumerate(sizes):
            by_side[self.first_side(size)].append(number)
        found = [Detections.empty()] * len(images)
        for side, numbers in by_side.items():
            looks = seeing(self.first, side)([images[n] for n in numbers])
            for n, look in zip(numbers, looks, strict=True):
                found[n] = look
        return found

    def join(self, sight: Sight, config: RefineConfig) -> Detections:
        """The result of both looks at an image."""
        fuse = paper.fuse if config.rule == "paper" else cover.fuse
        joined = fuse(sight.first, sight.windows, sight.parts, config)
        return suppress(joined, config.nms_iou, self.first.max_det)

    def _second_look(self, jobs: Sequence[Job]) -> list[Detections]:
        border = self.config.border if self.config.rule == "cover" else None
        return look_at(self.second, jobs, border)

    def _look_until(
        self, deadline: float, jobs: Sequence[Job], seconds_each: float
    ) -> list[Detections]:
        """As many of the jobs as fit before the deadline at the speed measured so far."""
        found: list[Detections] = []
        while len(found) < len(jobs):
            start = time.perf_counter()
            fitting = int((deadline - start) / seconds_each)
            if fitting < 1:
                break
            some = jobs[len(found) : len(found) + min(fitting, self.second.max_batch)]
            found += self._second_look(some)
            seconds_each = (time.perf_counter() - start) / len(some)
        return found
