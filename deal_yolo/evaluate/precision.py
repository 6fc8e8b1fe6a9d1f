"""Average precision of weighted photos, so that one function gives a figure and its bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deal_yolo.evaluate.matching import Bools, Ints, Matches

Floats = npt.NDArray[np.float64]
RECALLS = np.linspace(0, 1, 101)
_ROWS_AT_ONCE = 100_000  # few enough to stay in the processor's cache


@dataclass(frozen=True)
class Ranking:
    """The boxes of one class in all photos, best score first.

    Args:
        score: ``(n,)``.
        unit: ``(n,)`` number of the resampled unit (a photo, or several) a box is in.
        right: ``(a, t, n)`` boxes that found an object, see `Matches`.
        wrong: ``(a, t, n)`` boxes that found none.
        objects: ``(a, units)`` objects to be found.
    """

    score: npt.NDArray[np.float32]
    unit: Ints
    right: Bools
    wrong: Bools
    objects: Ints


def rank(
    matches: Sequence[Matches], class_id: int | None = None, unit: Ints | None = None
) -> Ranking:
    """The boxes of one class in all photos by score; ties keep the photos' order.

    Args:
        matches: of each photo, at least one.
        class_id: which class; None takes the boxes of all.
        unit: ``(photos,)`` the unit that each photo belongs to; its own number if None.
    """
    unit = np.arange(len(matches)) if unit is None else unit
    mine = [slice(None) if class_id is None else m.class_id == class_id for m in matches]
    score = np.concatenate([m.score[i] for m, i in zip(matches, mine, strict=True)])
    order = np.argsort(-score, kind="stable")
    of_box = np.repeat(unit, [len(m.score[i]) for m, i in zip(matches, mine, strict=True)])
    objects = np.zeros((len(matches[0].counted), unit.max() + 1), dtype=np.intp)
    for m, number in zip(matches, unit, strict=True):
        chosen = m.counted if class_id is None else m.counted & (m.label_class == class_id)
        objects[:, number] += chosen.sum(axis=1)
    return Ranking(
        score=score[order],
        unit=of_box[order],
        right=_joined([m.right[..., i] for m, i in zip(matches, mine, strict=True)])[..., order],
        wrong=_joined([m.wrong[..., i] for m, i in zip(matches, mine, strict=True)])[..., order],
        objects=objects,
    )


def _joined(parts: list[Bools]) -> Bools:
    return np.concatenate(parts, axis=-1)


def average_precision(ranking: Ranking, weights: Floats, area: int, threshold: int) -> Floats:
    """COCO's 101-point interpolated average precision, once for every row of weights.

    The precision envelope changes only at right boxes, so only those are followed.

    Args:
        ranking: boxes of one class.
        weights: ``(r, units)`` how many times each unit counts.
        area: which size range.
        threshold: which IoU threshold.

    Returns:
        ``(r,)`` values; NaN where the weighted units hold no object.
    """
    right, wrong = ranking.right[area, threshold], ranking.wrong[area, threshold]
    at = np.flatnonzero(right)
    objects = weights @ ranking.objects[area]
    if not len(at):
        return np.where(objects > 0, 0.0, np.nan)
    # Boxes after the last right one lower no interpolated precision.
    false = np.flatnonzero(wrong[: at[-1]])
    between = np.zeros((len(at), weights.shape[1]))
    np.add.at(between, (np.searchsorted(at, false), ranking.unit[false]), 1)
    rows = max(1, _ROWS_AT_ONCE // len(at))
    return np.concatenate(
        [
            _interpolated(weights[i : i + rows], ranking.unit[at], between, objects[i : i + rows])
            for i in range(0, len(weights), rows)
        ]
    )


def _interpolated(weights: Floats, unit: Ints, between: Floats, objects: Floats) -> Floats:
    """``(r,)`` AP from the units of the ``k`` right boxes and the wrong ones before each."""
    true = np.cumsum(weights[:, unit].T, axis=0)
    false = np.cumsum(between @ weights.T, axis=0)
    precision = true / (true + false + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(RECALLS, true / np.maximum(objects, 1), side="right")
    steps = np.diff(reached, axis=0, prepend=0)
    return np.where(objects > 0, (envelope * steps).sum(axis=0) / len(RECALLS), np.nan)


def precision_curve(ranking: Ranking, area: int = 0, threshold: int = 0) -> tuple[Floats, Floats]:
    """Recall and precision after every box that counts, best score first; for plots.

    Returns:
        Two ``(n,)`` arrays; empty where there is no object or no box.
    """
    right, wrong = ranking.right[area, threshold], ranking.wrong[area, threshold]
    right = right[right | wrong]
    objects = ranking.objects[area].sum()
    if not objects or not len(right):
        return np.zeros(0), np.zeros(0)
    true = np.cumsum(right)
    return true / objects, true / np.arange(1, len(right) + 1)


def best_f1(ranking: Ranking, area: int = 0, threshold: int = 0) -> float:
    """Score from which on the boxes have the best F1.

    Returns:
        The score of the last box that is kept; 0.25 where no box is right.
    """
    right, wrong = ranking.right[area, threshold], ranking.wrong[area, threshold]
    true, false = np.cumsum(right), np.cumsum(wrong)
    if not right.any():
        return 0.25
    f1 = 2 * true / (true + false + ranking.objects[area].sum())
    # A cut cannot stand between boxes of equal score.
    f1[:-1][ranking.score[:-1] == ranking.score[1:]] = 0
    return float(ranking.score[int(np.argmax(f1))])
