"""Fit on labelled photos what travels with the weights: the second look's rule, the score."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from deal_yolo.config import RefineConfig
from deal_yolo.datasets.images import read_image
from deal_yolo.detections import Detections
from deal_yolo.evaluate.protocol import Protocol, best_f1_threshold, score
from deal_yolo.evaluate.resample import resample
from deal_yolo.evaluate.split import Split
from deal_yolo.infer.detector import Detector
from deal_yolo.infer.refine import Sight, TwoStage, fit_unconfirmed

Progress = Callable[[Iterable[Path]], Iterable[Path]]


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Args:
        refine: settings of the second look, with the factor for unconfirmed boxes.
        score_threshold: score of best F1 of the two looks.
        ap50: of the two looks on the photos they were fitted on.
        ap50_whole: of the first look alone.
    """

    refine: RefineConfig
    score_threshold: float
    ap50: float
    ap50_whole: float


def calibrate(
    detector: Detector, refine: RefineConfig, split: Split, progress: Progress = iter
) -> Fitted:
    """Fit on a split that was not trained on, usually ``val``.

    Args:
        detector: makes both looks.
        refine: settings of the second look; their factor for unconfirmed boxes is chosen.
        split: photos and labels.
        progress: wraps the photos to show how far the work is.

    Raises:
        DatasetError: a photo cannot be read.
    """
    strategy = TwoStage(detector, refine)
    sights: list[Sight] = []
    for image in progress(split.images):
        sights += strategy.see([read_image(image)])

    def ap50(found: list[Detections]) -> float:
        protocol = Protocol(split.dataset.names, score_threshold=0.5)
        return score(split.labels, found, protocol, resample(len(found), draws=0)).AP50.value

    refine = fit_unconfirmed(strategy, sights, ap50)
    found = [strategy.join(sight, refine) for sight in sights]
    return Fitted(
        refine=refine,
        score_threshold=round(best_f1_threshold(split.labels, found), 3),
        ap50=ap50(found),
        ap50_whole=ap50([sight.first for sight in sights]),
    )


def fitted_into(training: dict[str, object], fitted: Fitted, split: Split) -> dict[str, object]:
    """A training summary that also says what was fitted, and on what."""
    figures = {"AP50": round(fitted.ap50, 4), "AP50_whole": round(fitted.ap50_whole, 4)}
    where = {"data": split.dataset.yaml.name, "split": split.name, "photos": len(split.images)}
    return {**training, "calibration": {**where, **figures}}
