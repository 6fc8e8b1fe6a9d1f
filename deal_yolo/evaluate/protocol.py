"""The one protocol by which all strategies, backends and other tools are scored.

Every photo counts, also an empty one. No score is cut but below 0.001, and a photo's best 1,000
boxes count. AP is COCO's, as mean over the classes that occur, for all objects and by their size in
px of the photo. Precision, recall and counts are taken at one score and IoU 0.5, all classes
together. Everything is computed once for the photos as they are and once for each resample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from deal_yolo.datasets.labels import Labels
from deal_yolo.detections import Detections
from deal_yolo.errors import ConfigError
from deal_yolo.evaluate.counting import CorrectedCount, corrected_count, cut_at, tally
from deal_yolo.evaluate.matching import ALL_SIZES, IOU_THRESHOLDS, Matches, match
from deal_yolo.evaluate.precision import Ranking, average_precision, best_f1, rank
from deal_yolo.evaluate.resample import Figure, Floats, Resamples
from deal_yolo.evaluate.scores import ClassScores, Scores

# Inner bounds in px, the root of a box's area. AI-TOD (arXiv 2110.13389) starts at 2 px; as in its
# own code the first bin takes smaller objects too.
BINS: Mapping[str, tuple[float, ...]] = {"aitod": (8, 16, 32, 64), "coco": (32, 96)}


def size_edges(bins: str) -> tuple[float, ...]:
    """Inner bounds in px of a key of `BINS`, or of numbers such as ``16,32``.

    Raises:
        ConfigError: it is neither.
    """
    if bins in BINS:
        return BINS[bins]
    try:
        edges = tuple(float(edge) for edge in bins.split(","))
    except ValueError:
        edges = ()
    if not edges or any(not low < high < ALL_SIZES[1] for low, high in pairwise((0, *edges))):
        known = ", ".join(BINS)
        raise ConfigError(f"no size bins '{bins}', known are {known}, or rising px such as 16,32")
    return edges


@dataclass(frozen=True)
class Protocol:
    """What to score with.

    Args:
        names: class names.
        score_threshold: least score of a box for precision, recall and counts.
        bins: size bins, see `size_edges`.
    """

    names: tuple[str, ...]
    score_threshold: float
    bins: str = "aitod"

    @property
    def edges(self) -> tuple[float, ...]:
        """Inner bounds of the size bins, in px of the photo."""
        return size_edges(self.bins)

    @property
    def bin_names(self) -> tuple[str, ...]:
        """Names of the size bins, such as ``8-16`` and ``64+``."""
        first = 2 if self.bins == "aitod" else 0
        inner = [f"{low:g}-{high:g}" for low, high in pairwise((first, *self.edges))]
        return (*inner, f"{self.edges[-1]:g}+")


@dataclass(frozen=True)
class Calibration:
    """Labelled photos of another split, seen by the same strategy.

    Args:
        labels: of each photo.
        found: of each photo.
        units: name of the group that each photo is drawn with; None draws photos.
    """

    labels: Sequence[Labels]
    found: Sequence[Detections] = field(repr=False)
    units: Sequence[str] | None = None


def best_f1_threshold(labels: Sequence[Labels], found: Sequence[Detections]) -> float:
    """The score from which on boxes have the best F1 at IoU 0.5, all classes together.

    Args:
        labels: of each photo of the validation split, at least one.
        found: of each photo.
    """
    pairs = zip(labels, found, strict=True)
    return best_f1(rank([match(*pair, thresholds=IOU_THRESHOLDS[:1]) for pair in pairs]))


def score(
    labels: Sequence[Labels],
    found: Sequence[Detections],
    protocol: Protocol,
    resamples: Resamples,
    calibration: Calibration | None = None,
) -> Scores:
    """Score what was found in photos.

    Args:
        labels: of each photo, at least one.
        found: of each photo, in its px.
        protocol: what to score with.
        resamples: of the photos; the same for strategies that are to be compared.
        calibration: where the corrected count takes its rates from.
    """
    outer = (0.0, *protocol.edges, ALL_SIZES[1])
    ranges = (ALL_SIZES, *pairwise(outer))
    matches = [match(*pair, ranges) for pair in zip(labels, found, strict=True)]
    rankings = {
        name: rank(matches, number, resamples.unit) for number, name in enumerate(protocol.names)
    }
    weights = resamples.weights
    ap50 = [_mean_ap(rankings, weights, a, (0,)) for a in range(len(ranges))]
    ap = [_mean_ap(rankings, weights, a, range(len(IOU_THRESHOLDS))) for a in range(len(ranges))]
    cut, photos = cut_at(matches, protocol.score_threshold), resamples.of_photos
    return Scores(
        AP50=ap50[0],
        AP50_95=ap[0],
        AP_by_size=dict(zip(protocol.bin_names, ap[1:], strict=True)),
        AP50_by_size=dict(zip(protocol.bin_names, ap50[1:], strict=True)),
        precision=cut.precision(photos),
        recall=cut.recall(photos),
        count_mae=cut.count_mae(photos),
        count_bias=cut.count_bias(photos),
        score_threshold=protocol.score_threshold,
        objects_by_size={
            name: sum(int(m.counted[a].sum()) for m in matches)
            for a, name in enumerate(protocol.bin_names, 1)
        },
        classes={
            name: _class_scores(matches, number, ranking, protocol.score_threshold)
            for number, (name, ranking) in enumerate(rankings.items())
        },
        count_true=int(cut.objects.sum()),
        count_found=int((cut.right + cut.wrong).sum()),
        count_corrected=_corrected(labels, found, protocol, calibration),
    )


def _mean_ap(
    rankings: Mapping[str, Ranking], weights: Floats, area: int, thresholds: Sequence[int]
) -> Figure:
    """Mean over IoU thresholds and the classes that occur.

    A resample without one of these classes has no value: it would be a mean over others.
    """
    by_class = np.stack(
        [
            np.mean([average_precision(r, weights, area, t) for t in thresholds], axis=0)
            for r in rankings.values()
            if r.objects[area].any()
        ]
        or [np.full(len(weights), np.nan)]
    )
    return Figure(by_class.mean(axis=0))


def _class_scores(
    matches: Sequence[Matches], number: int, ranking: Ranking, threshold: float
) -> ClassScores:
    as_is = np.ones((1, ranking.objects.shape[1]))
    ap = [average_precision(ranking, as_is, 0, t).item() for t in range(len(IOU_THRESHOLDS))]
    cut, once = cut_at(matches, threshold, number), np.ones((1, len(matches)))
    return ClassScores(
        objects=int(cut.objects.sum()),
        AP50=ap[0],
        AP50_95=float(np.mean(ap)),
        precision=cut.precision(once).value,
        recall=cut.recall(once).value,
    )


def _corrected(
    labels: Sequence[Labels],
    found: Sequence[Detections],
    protocol: Protocol,
    calibration: Calibration | None,
) -> CorrectedCount | None:
    if calibration is None:
        return None
    cut, edges = protocol.score_threshold, protocol.edges
    here = tally(labels, found, cut, edges)
    there = tally(calibration.labels, calibration.found, cut, edges)
    return corrected_count(here.boxes.sum(axis=0), there, units=calibration.units)
