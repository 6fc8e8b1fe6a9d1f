"""How many animals there are: the error of plain counts, and counts corrected for what is missed.

Survey statisticians divide a count by the probability of detection. Here that probability, and
the share of boxes that are no animal, come from labelled photos of another split, by size of the
animal, and their uncertainty goes into the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from deal_yolo.boxes import area
from deal_yolo.datasets.labels import ANY_CLASS, Labels
from deal_yolo.detections import Detections
from deal_yolo.evaluate.matching import ALL_SIZES, Ints, Matches, match
from deal_yolo.evaluate.resample import Figure, Floats, percentiles, resample

_IOU = np.array([0.5])
# With fewer animals or boxes a size has no rate of its own and takes that of all sizes.
_LEAST = 20


@dataclass(frozen=True, eq=False)
class Cut:
    """What boxes of at least some score amount to, at IoU 0.5.

    Args:
        objects: ``(photos,)`` labelled objects.
        right: ``(photos,)`` boxes that found one.
        wrong: ``(photos,)`` boxes that found none.
    """

    objects: Floats
    right: Floats
    wrong: Floats

    @property
    def error(self) -> Floats:
        """``(photos,)`` boxes less objects."""
        return self.right + self.wrong - self.objects

    def count_mae(self, weights: Floats) -> Figure:
        """Mean absolute counting error a photo, for each of ``(r, photos)`` weights."""
        return Figure(weights @ np.abs(self.error) / weights.sum(axis=1))

    def count_bias(self, weights: Floats) -> Figure:
        """Mean counting error a photo, for each of ``(r, photos)`` weights."""
        return Figure(weights @ self.error / weights.sum(axis=1))

    def precision(self, weights: Floats) -> Figure:
        """Share of the boxes that are right, for each of ``(r, photos)`` weights."""
        return _ratio(weights @ self.right, weights @ (self.right + self.wrong))

    def recall(self, weights: Floats) -> Figure:
        """Share of the objects that were found, for each of ``(r, photos)`` weights."""
        return _ratio(weights @ self.right, weights @ self.objects)


def cut_at(matches: Sequence[Matches], threshold: float, class_id: int | None = None) -> Cut:
    """Count right and wrong boxes of at least a score, of one class or of all.

    Args:
        matches: of each photo; the first size range and IoU threshold are taken.
        threshold: least score.
        class_id: which class; None takes all.
    """
    rows = []
    for m in matches:
        kept, counted = m.score >= threshold, m.counted[0]
        if class_id is not None:
            kept, counted = kept & (m.class_id == class_id), counted & (m.label_class == class_id)
        right, wrong = m.right[0, 0] & kept, m.wrong[0, 0] & kept
        rows.append((counted.sum(), right.sum(), wrong.sum()))
    return Cut(*np.array(rows, dtype=np.float64).T)


def _ratio(part: Floats, whole: Floats) -> Figure:
    return Figure(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts by photo and size at one score; classes are not told apart.

    Args:
        objects: ``(photos, sizes)`` labelled animals, by their size.
        seen: ``(photos, sizes)`` those that a box found.
        boxes: ``(photos, sizes)`` boxes, by their own size.
        right: ``(photos, sizes)`` boxes that found an animal.
    """

    objects: Ints
    seen: Ints
    boxes: Ints
    right: Ints


@dataclass(frozen=True)
class CorrectedCount:
    """An estimate of how many animals there are, with its 95 % interval."""

    estimate: float
    low: float
    high: float


def tally(
    labels: Sequence[Labels], found: Sequence[Detections], threshold: float, edges: Sequence[float]
) -> Tally:
    """Count animals and boxes of each photo by size.

    Args:
        labels: of each photo.
        found: of each photo.
        threshold: least score of a box.
        edges: rising inner bounds of the sizes, roots of areas in px of the photo.
    """
    rows = [_tally_one(*pair, threshold, edges) for pair in zip(labels, found, strict=True)]
    return Tally(*(np.stack(parts) for parts in zip(*rows, strict=True)))


def _tally_one(
    labels: Labels, found: Detections, threshold: float, edges: Sequence[float]
) -> tuple[Ints, Ints, Ints, Ints]:
    found = found.select(found.score >= threshold)
    one_class = replace(labels, class_id=np.where(labels.ignore, ANY_CLASS, 0))
    matches = match(one_class, found.replace(class_id=np.zeros(len(found))), (ALL_SIZES,), _IOU)
    right, wrong = matches.right[0, 0], matches.wrong[0, 0]

    def by_size(boxes: npt.NDArray[np.floating]) -> Ints:
        sizes = np.searchsorted(edges, np.sqrt(area(boxes)), side="right")
        return np.bincount(sizes, minlength=len(edges) + 1)

    boxes = found.xyxy[matches.order]
    return (
        by_size(labels.xyxy[matches.counted[0]]),
        by_size(labels.xyxy[matches.label[0, 0][right]]),
        by_size(boxes[right | wrong]),
        by_size(boxes[right]),
    )


def corrected_count(
    boxes: Ints,
    calibration: Tally,
    draws: int = 2000,
    seed: int = 0,
    units: Sequence[str] | None = None,
) -> CorrectedCount:
    """How many animals a number of boxes stands for.

    For each size, ``boxes * p(right) / p(seen)`` with both rates from the calibration photos. The
    interval resamples these photos for the uncertainty of the rates, draws the right ones among
    the boxes (binomial), and adds the animals missed while so many were seen (negative binomial).

    Args:
        boxes: ``(sizes,)`` boxes in the photos to be counted.
        calibration: counts in labelled photos, at the same score.
        draws: how many times.
        seed: of the draws.
        units: name of the group that each calibration photo is drawn with; None draws photos.
    """
    rng = np.random.default_rng(seed)
    weights = resample(units or len(calibration.objects), draws, seed).of_photos
    seen = _rates(weights, calibration.seen, calibration.objects)
    right = _rates(weights, calibration.right, calibration.boxes)
    animals = rng.binomial(boxes, right[1:])
    missed = rng.negative_binomial(np.maximum(animals, 1), seen[1:])
    totals = (animals + np.where(animals > 0, missed, 0)).sum(axis=1)
    return CorrectedCount(
        float((boxes * right[0] / seen[0]).sum()), *percentiles(totals.astype(float))
    )


def _rates(weights: Floats, hits: Ints, trials: Ints) -> Floats:
    """``(r, sizes)`` shares of hits, Jeffreys' (k + 1/2) / (n + 1), so that none is 0 or 1."""
    pooled = (weights @ hits.sum(axis=1) + 0.5) / (weights @ trials.sum(axis=1) + 1)
    own = (weights @ hits + 0.5) / (weights @ trials + 1)
    return np.where(trials.sum(axis=0) >= _LEAST, own, pooled[:, None])
