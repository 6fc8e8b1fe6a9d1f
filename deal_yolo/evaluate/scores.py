"""The figures of a strategy, their differences to another's, and both as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from deal_yolo.evaluate.counting import CorrectedCount
from deal_yolo.evaluate.resample import Figure


@dataclass(frozen=True)
class ClassScores:
    """One class on the photos as they are; NaN where it does not occur."""

    objects: int
    AP50: float
    AP50_95: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Scores:
    """All figures of one strategy; see `deal_yolo.evaluate.protocol`.

    Args:
        AP50: at IoU 0.5.
        AP50_95: mean over IoU 0.5 to 0.95.
        AP_by_size: AP50_95 by size bin.
        AP50_by_size: AP50 by size bin.
        precision: at the score threshold.
        recall: at the score threshold.
        count_mae: mean absolute error of the number of animals in a photo.
        count_bias: mean error; positive where too many are counted.
        score_threshold: least score of a box for precision, recall and counts.
        objects_by_size: labelled objects in each size bin.
        classes: figures by class name.
        count_true: labelled animals in all photos.
        count_found: boxes in all photos.
        count_corrected: estimate of the animals in all photos; None without calibration photos.
    """

    AP50: Figure
    AP50_95: Figure
    AP_by_size: dict[str, Figure]
    AP50_by_size: dict[str, Figure]
    precision: Figure
    recall: Figure
    count_mae: Figure
    count_bias: Figure
    score_threshold: float
    objects_by_size: dict[str, int]
    classes: dict[str, ClassScores]
    count_true: int
    count_found: int
    count_corrected: CorrectedCount | None = None

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures that have an interval, by name."""
        names = ("AP50", "AP50_95", "precision", "recall", "count_mae", "count_bias")
        return {name: getattr(self, name) for name in names}

    def as_json(self) -> dict[str, Any]:
        """Plain numbers; null where a figure is not defined."""
        intervals: dict[str, Any] = {n: _pair(f.interval) for n, f in self.figures.items()}
        for name in ("AP_by_size", "AP50_by_size"):
            intervals[name] = {b: _pair(f.interval) for b, f in getattr(self, name).items()}
        corrected = self.count_corrected
        return {
            **{n: _number(f.value) for n, f in self.figures.items()},
            "AP_by_size": {b: _number(f.value) for b, f in self.AP_by_size.items()},
            "AP50_by_size": {b: _number(f.value) for b, f in self.AP50_by_size.items()},
            "objects_by_size": self.objects_by_size,
            "score_threshold": self.score_threshold,
            "count_true": self.count_true,
            "count_found": self.count_found,
            "count_corrected": _number(corrected.estimate) if corrected else None,
            "intervals": {
                **intervals,
                "count_corrected": _pair((corrected.low, corrected.high)) if corrected else None,
            },
            "classes": {
                name: {k: _number(v) for k, v in vars(scores).items()}
                for name, scores in self.classes.items()
            },
        }


def differences(strategies: Mapping[str, Scores]) -> dict[str, dict[str, Figure]]:
    """Paired differences of every two strategies, later minus earlier, by figure.

    The scores must come from the same photos and resamples.
    """
    result = {}
    for first, second in combinations(strategies, 2):
        a, b = strategies[first].figures, strategies[second].figures
        result[f"{second} - {first}"] = {name: b[name].minus(a[name]) for name in a}
    return result


def difference_json(figure: Figure) -> dict[str, float | None]:
    """A difference as plain numbers: ``value, low, high``."""
    low, high = figure.interval
    return {"value": _number(figure.value), "low": _number(low), "high": _number(high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pair(bounds: tuple[float, float]) -> list[float | None]:
    return [_number(v) for v in bounds]
