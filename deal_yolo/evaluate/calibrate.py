"""Fit on labelled photos what travels with the weights: the second look's rule, the score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deal_yolo.config import RefineConfig
from deal_yolo.datasets.images import read_image
from deal_yolo.detections import Detections
from deal_yolo.evaluate.protocol import Protocol, best_f1_threshold, score
from deal_yolo.evaluate.resample import resample
from deal_yolo.evaluate.split import Split
from deal_yolo.infer.detector import Detector
from deal_yolo.infer.refine import Sight, TwoStage

Progress = Callable[[Iterable[Path]], Iterable[Path]]

# Tried for the side of a window, in px of the photo for one of the model's input: coarse first,
# finer as long as that finds more.
ZOOMS = (4.0, 3.0, 2.5, 2.0, 1.5, 1.0)
GAINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 5.0)
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
# The AP50 that is given up for fewer windows.
WORTH = 0.01


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Args:
        refine: settings of the second look, fitted.
        score_threshold: score of best F1 of the two looks.
        ap50: of the two looks on the photos they were fitted on.
        ap50_whole: of the first look alone.
        windows: mean number of windows a photo.
    """

    refine: RefineConfig
    score_threshold: float
    ap50: float
    ap50_whole: float
    windows: float


@dataclass(frozen=True)
class _Trial:
    """What some settings gave: the looks, not yet joined, and AP50."""

    strategy: TwoStage
    sights: list[Sight]
    ap50: float

    @property
    def windows(self) -> float:
        return float(np.mean([len(sight.windows) for sight in self.sights]))


def calibrate(
    detector: Detector,
    refine: RefineConfig,
    split: Split,
    progress: Progress = iter,
    fit_window: bool = True,
) -> Fitted:
    """Fit on a split that was not trained on, usually ``val``.

    Several sides and least gains of a window are tried, and no second look at all. Of those whose
    AP50 is within `WORTH` of the best, the one with the fewest windows is taken, so that a second
    look worse than one look is never fitted. The weight of the first look is fitted last. Of
    the published rule only the score is fitted.

    Args:
        detector: makes both looks.
        refine: settings of the second look; `RefineConfig.window`, ``least_gain``,
            ``max_windows`` (0, or as it is) and ``first_weight`` are chosen.
        split: photos and labels.
        progress: wraps the photos to show how far the work is.
        fit_window: choose the side of a window too. Not wanted where animals have another size in
            these photos than in those to come.

    Raises:
        DatasetError: a photo cannot be read.
    """

    def ap50(found: list[Detections]) -> float:
        protocol = Protocol(split.dataset.names, score_threshold=0.5)
        return score(split.labels, found, protocol, resample(len(found), draws=0)).AP50.value

    unhurried = replace(refine, budget_ms=None)
    trials: list[_Trial] = []
    for config in _sides(unhurried, detector) if fit_window else [unhurried]:
        strategy = TwoStage(detector, config)
        sights = [
            sight for image in progress(split.images) for sight in strategy.see([read_image(image)])
        ]
        more = [_limited(detector, sights, c, ap50) for c in _limits(config)]
        if trials and max(t.ap50 for t in more) < max(t.ap50 for t in trials):
            break
        trials += more
    enough = max(t.ap50 for t in trials) - WORTH
    chosen = min((t for t in trials if t.ap50 >= enough), key=lambda t: (t.windows, -t.ap50))
    fitted = chosen.strategy.config
    if refine.rule == "cover":
        fitted = fit_first_weight(chosen.strategy, chosen.sights, ap50)
    found = [chosen.strategy.join(sight, fitted) for sight in chosen.sights]
    return Fitted(
        refine=replace(fitted, budget_ms=refine.budget_ms),
        score_threshold=round(best_f1_threshold(split.labels, found), 3),
        ap50=ap50(found),
        ap50_whole=ap50([sight.first for sight in chosen.sights]),
        windows=chosen.windows,
    )


def fit_first_weight(
    strategy: TwoStage,
    sights: Sequence[Sight],
    quality: Callable[[list[Detections]], float],
    weights: Sequence[float] = WEIGHTS,
) -> RefineConfig:
    """The settings with `RefineConfig.first_weight` chosen; only the joining is tried anew.

    Args:
        strategy: the second look whose factor is wanted.
        sights: what it saw in the images of the split.
        quality: of the results for these images, in their order; the more the better, as AP50.
        weights: to be tried; of equally good ones the middle one counts.
    """
    tried = []
    for weight in weights:
        config = replace(strategy.config, first_weight=weight)
        tried.append(quality([strategy.join(sight, config) for sight in sights]))
    best = np.flatnonzero(np.isclose(tried, max(tried), rtol=0, atol=1e-6))
    return replace(strategy.config, first_weight=float(weights[best[len(best) // 2]]))


def _sides(refine: RefineConfig, detector: Detector) -> list[RefineConfig]:
    """The settings with each side of a window to be tried, coarse ones first."""
    if refine.rule == "paper":
        return [refine]
    imgsz = TwoStage(detector, refine).second.imgsz
    return [replace(refine, window=round(imgsz * zoom)) for zoom in ZOOMS]


def _limits(refine: RefineConfig) -> list[RefineConfig]:
    """The settings with each limit on the windows to be tried."""
    if refine.rule == "paper":
        return [refine]
    return [*(replace(refine, least_gain=g) for g in GAINS), replace(refine, max_windows=0)]


def _limited(
    detector: Detector,
    sights: Sequence[Sight],
    config: RefineConfig,
    quality: Callable[[list[Detections]], float],
) -> _Trial:
    """What tighter limits would have given: the windows left are the first of those looked at."""
    strategy = TwoStage(detector, config)
    left = []
    for sight in sights:
        n = len(strategy.plan(sight.first, sight.size))
        left.append(replace(sight, windows=sight.windows[:n], parts=sight.parts[:n]))
    return _Trial(strategy, left, quality([strategy.join(sight, config) for sight in left]))


def fitted_into(training: dict[str, object], fitted: Fitted, split: Split) -> dict[str, object]:
    """A training summary that also says what was fitted, and on what."""
    figures = {"AP50": round(fitted.ap50, 4), "AP50_whole": round(fitted.ap50_whole, 4)}
    where = {"data": split.dataset.yaml.name, "split": split.name, "photos": len(split.images)}
    return {**training, "calibration": {**where, **figures}}
