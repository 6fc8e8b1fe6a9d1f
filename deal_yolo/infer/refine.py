"""The second look: at native pixels, only where the first look is unsure.

`TwoStage` joins what can be read one by one: `deal_yolo.infer.cover` says where to look again and
how to join both looks, `deal_yolo.infer.paper` does so by the published rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deal_yolo.config import RefineConfig
from deal_yolo.detections import Detections
from deal_yolo.infer import cover, paper
from deal_yolo.infer.augment import Augmented
from deal_yolo.infer.detector import Detector, Look, Windows
from deal_yolo.infer.postprocess import suppress
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.windows import NO_WINDOWS, Job, look_at, seeing, without_cut

FACTORS = tuple(round(0.05 * step, 2) for step in range(21))


@dataclass(frozen=True, eq=False)
class Sight:
    """All that two looks saw in one image, before they are joined; boxes in px of the image.

    Args:
        size: height and width of the image.
        first: what the first look found.
        windows: ``(m, 4)`` windows of the second look.
        parts: what it found in each of them.
        seconds: this image's share of the time taken.
    """

    size: cover.Size
    first: Detections
    windows: Windows
    parts: tuple[Detections, ...]
    seconds: float


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

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """The objects in each image, in its px; see `Strategy`."""
        return [look.detections for look in self.look(images)]

    def look(self, images: Sequence[Image]) -> list[Look]:
        """The same, with the windows used and the time taken."""
        start = time.perf_counter()
        sights = self.see(images)
        found = [self.join(sight, self.config) for sight in sights]
        seconds = (time.perf_counter() - start) / max(1, len(images))
        return [Look(f, s.windows, seconds) for f, s in zip(found, sights, strict=True)]

    def see(self, images: Sequence[Image]) -> list[Sight]:
        """Both looks at each image, not yet joined; the windows of all images share the runs."""
        start = time.perf_counter()
        sizes = [(i.shape[0], i.shape[1]) for i in images]
        first = self.first(images)
        plans = [self.plan(f, size) for f, size in zip(first, sizes, strict=True)]
        # The best window of every image, then the second best: a budget then cuts all alike.
        order = sorted((rank, n) for n, plan in enumerate(plans) for rank in range(len(plan)))
        jobs = [(images[n], plans[n][rank]) for rank, n in order]
        if self.config.budget_ms is None:
            parts = look_at(self.second, jobs)
        else:
            deadline = start + self.config.budget_ms / 1000 * len(images)
            pixels = (self.second.imgsz / self.first.imgsz) ** 2
            each = (time.perf_counter() - start) / max(1, len(images)) * pixels
            parts = _look_until(deadline, self.second, jobs, each)
        seconds = (time.perf_counter() - start) / max(1, len(images))
        grouped: list[list[Detections]] = [[] for _ in images]
        for (_, n), part in zip(order, parts, strict=False):
            grouped[n].append(part)
        return [
            self._sight(size, f, plan[: len(group)], group, seconds)
            for size, f, plan, group in zip(sizes, first, plans, grouped, strict=True)
        ]

    def plan(self, first: Detections, size: cover.Size) -> Windows:
        """The windows to look at again in an image, the most promising first."""
        if self.config.rule == "paper":
            return paper.plan(first, size, self.config)
        if self.second.imgsz / self.config.window <= self.first.imgsz / max(size):
            return NO_WINDOWS  # the first look saw as many pixels
        return cover.plan(first, size, self.config)

    def join(self, sight: Sight, config: RefineConfig) -> Detections:
        """The result of both looks at an image."""
        fuse = paper.fuse if config.rule == "paper" else cover.fuse
        joined = fuse(sight.first, sight.windows, sight.parts, config)
        return suppress(joined, config.nms_iou, self.first.max_det)

    def _sight(
        self,
        size: cover.Size,
        first: Detections,
        windows: Windows,
        parts: Sequence[Detections],
        seconds: float,
    ) -> Sight:
        border = self.config.border
        if self.config.rule == "cover":
            pairs = zip(parts, windows, strict=True)
            parts = [without_cut(part, w, size, border) for part, w in pairs]
        return Sight(size, first, windows, tuple(parts), seconds)


def fit_unconfirmed(
    strategy: TwoStage,
    sights: Sequence[Sight],
    quality: Callable[[list[Detections]], float],
    factors: Sequence[float] = FACTORS,
) -> RefineConfig:
    """The settings with `RefineConfig.unconfirmed` chosen on the validation split.

    The looks are made once (`TwoStage.see`), only their joining is tried with each factor.

    Args:
        strategy: the second look whose factor is wanted.
        sights: what it saw in the images of the split.
        quality: of the results for these images, in their order; the more the better, as AP50.
        factors: to be tried; of equally good ones the middle one counts.
    """
    tried = []
    for factor in factors:
        config = replace(strategy.config, unconfirmed=factor)
        tried.append(quality([strategy.join(sight, config) for sight in sights]))
    best = np.flatnonzero(np.isclose(tried, max(tried), rtol=0, atol=1e-6))
    return replace(strategy.config, unconfirmed=float(factors[best[len(best) // 2]]))


def _look_until(
    deadline: float, detector: Detector | Augmented, jobs: Sequence[Job], seconds_each: float
) -> list[Detections]:
    """As many of the jobs as fit before the deadline at the speed measured so far."""
    found: list[Detections] = []
    while len(found) < len(jobs):
        start = time.perf_counter()
        fitting = int((deadline - start) / seconds_each)
        if fitting < 1:
            break
        some = jobs[len(found) : len(found) + min(fitting, detector.max_batch)]
        found += look_at(detector, some)
        seconds_each = (time.perf_counter() - start) / len(some)
    return found
