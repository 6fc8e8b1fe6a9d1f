"""One table: strategies scored alike on the photos of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deal_yolo.evaluate.predictions import Predictions
from deal_yolo.evaluate.protocol import (
    Calibration,
    Protocol,
    best_f1_threshold,
    score,
    size_edges,
)
from deal_yolo.evaluate.resample import COVERAGE, resample
from deal_yolo.evaluate.scores import Scores, difference_json, differences
from deal_yolo.evaluate.split import Split, Units, sampling_units


@dataclass(frozen=True)
class Options:
    """How to score.

    Args:
        bins: size bins, ``aitod``, ``coco`` or inner bounds in px such as ``16,32``.
        score_threshold: least score for precision, recall and counts; None takes the score of best
            F1 on the calibration split, else the one that travels with the weights.
        draws: resamples for the intervals; 0 leaves them out.
        seed: of the resamples.
        flight: how a photo's flight is found, see `sampling_units`.
    """

    bins: str = "aitod"
    score_threshold: float | None = None
    draws: int = 1000
    seed: int = 0
    flight: str | None = None

    def __post_init__(self) -> None:
        size_edges(self.bins)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Strategies scored on one split.

    Args:
        split: what was scored on.
        scores: of each strategy.
        predictions: of each strategy.
        threshold_from: where each strategy's score threshold comes from.
        draws: resamples behind the intervals.
        units: what was drawn in them.
    """

    split: Split
    scores: dict[str, Scores]
    predictions: Mapping[str, Predictions]
    threshold_from: dict[str, str]
    draws: int
    units: Units

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures should know, each once."""
        given = [note for p in self.predictions.values() for note in p.notes]
        if "this split" in self.threshold_from.values():
            given.append(
                "precision, recall and counts are at the best F1 of these photos themselves, which "
                "flatters them: give --calibrate val or --score-threshold"
            )
        calibrated = [s.count_corrected for s in self.scores.values()]
        if any(calibrated):
            given.append(
                "corrected counts suppose that animals are seen, and boxes are right, as often as "
                "in the calibration photos; their intervals hold for photos of the same kind"
            )
        return tuple(dict.fromkeys(given))

    def seconds(self, name: str) -> float | None:
        """Mean seconds a photo of a strategy, reading it left out; None if unknown."""
        values = self.predictions[name].seconds
        return float(np.mean(values)) if values else None

    def windows(self, name: str) -> float | None:
        """Mean windows a photo beside the whole; None if unknown."""
        values = self.predictions[name].windows
        return float(np.mean(values)) if values else None

    def as_json(self) -> dict[str, Any]:
        """The contract of ``deal-yolo eval --json``, and more."""
        weights = {str(p.info.get("weights", "")) for p in self.predictions.values()}
        return {
            "weights": ", ".join(sorted(weights - {""})),
            "split": self.split.name,
            "images": len(self.split.images),
            "objects": self.split.objects,
            "strategies": {
                name: {
                    **scores.as_json(),
                    "score_threshold_from": self.threshold_from[name],
                    "seconds_per_image": self.seconds(name),
                    "windows_per_image": self.windows(name),
                }
                for name, scores in self.scores.items()
            },
            "differences": {
                pair: {name: difference_json(figure) for name, figure in figures.items()}
                for pair, figures in differences(self.scores).items()
            },
            "bootstrap": {
                "unit": self.units.kind,
                "units": self.units.count,
                "draws": self.draws,
                "coverage": COVERAGE,
            },
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class CalibrationSplit:
    """Labelled photos of another split with what each strategy found there."""

    split: Split
    predictions: Mapping[str, Predictions]

    def of(self, name: str, options: Options) -> Calibration:
        """What one strategy found there."""
        units = sampling_units(self.split, options.flight, least=1)
        keys = units.keys if units.count > 1 else None
        return Calibration(self.split.labels, self.predictions[name].found, keys)


def evaluate(
    split: Split,
    predictions: Mapping[str, Predictions],
    options: Options,
    calibration: CalibrationSplit | None = None,
) -> Evaluation:
    """Score the predictions of strategies, or of other tools, on the same photos.

    Args:
        split: photos and labels.
        predictions: of each strategy.
        options: how to score.
        calibration: gives each strategy its score threshold and the rates of its corrected count.
    """
    units = sampling_units(split, options.flight)
    resamples = resample(units.keys, options.draws, options.seed)
    scores, sources = {}, {}
    for name, made in predictions.items():
        known = None
        if calibration is not None:
            known = calibration.of(name, options)
        threshold, sources[name] = _threshold(split, made, options, calibration, known)
        protocol = Protocol(split.dataset.names, threshold, options.bins)
        scores[name] = score(split.labels, made.found, protocol, resamples, known)
    return Evaluation(split, scores, predictions, sources, options.draws, units)


def _threshold(
    split: Split,
    made: Predictions,
    options: Options,
    calibration: CalibrationSplit | None,
    known: Calibration | None,
) -> tuple[float, str]:
    """The score threshold of a strategy and where it comes from."""
    if options.score_threshold is not None:
        return options.score_threshold, "option"
    if calibration is not None and known is not None:
        return best_f1_threshold(known.labels, known.found), calibration.split.name
    carried = made.info.get("score_threshold")
    if isinstance(carried, int | float):
        return float(carried), "weights"
    return best_f1_threshold(split.labels, made.found), "this split"
