from dataclasses import replace

import numpy as np
import pytest

from deal_yolo.datasets.labels import Labels
from deal_yolo.detections import Detections
from deal_yolo.evaluate.protocol import Calibration, Protocol, best_f1_threshold, score
from deal_yolo.evaluate.resample import resample
from deal_yolo.evaluate.scores import differences
from tests.evaluate.made import NAMES, found_at, labels_of, many

PROTOCOL = Protocol(NAMES, 0.4)


def test_perfect_boxes_have_perfect_figures() -> None:
    labels, _ = many(1)
    found = [found_at(one.xyxy, [0.9] * len(one), one.class_id) for one in labels]
    scores = score(labels, found, PROTOCOL, resample(len(labels), 20))
    figures = {name: figure.value for name, figure in scores.figures.items()}
    assert figures == pytest.approx(
        {"AP50": 1, "AP50_95": 1, "precision": 1, "recall": 1, "count_mae": 0, "count_bias": 0}
    )
    assert scores.AP50.interval == pytest.approx((1, 1))
    assert sum(scores.objects_by_size.values()) == sum(len(one) for one in labels)


def test_false_boxes_in_empty_photos_cost_precision() -> None:
    """Leaving out photos without animals would hide them."""
    box = (0, 0, 20, 20)
    labels = [labels_of([box]), Labels.empty()]
    clean = [found_at([box], [0.5]), Detections.empty()]
    noisy = [clean[0], found_at([box], [0.9])]
    resamples = resample(2, 0)
    protocol = Protocol(("pup",), 0.4)
    assert score(labels, clean, protocol, resamples).AP50.value == pytest.approx(1)
    scores = score(labels, noisy, protocol, resamples)
    assert scores.AP50.value == pytest.approx(0.5)
    assert scores.precision.value == pytest.approx(0.5)
    assert scores.count_mae.value == pytest.approx(0.5)


def test_photos_where_nothing_was_found_cost_recall() -> None:
    box = (0, 0, 20, 20)
    labels = [labels_of([box])] * 4
    found = [found_at([box], [0.5])] + [Detections.empty()] * 3
    scores = score(labels, found, Protocol(("pup",), 0.4), resample(4, 0))
    assert scores.recall.value == pytest.approx(0.25)
    assert scores.AP50.value == pytest.approx(26 / 101)


def test_classes_that_do_not_occur_are_left_out_of_the_mean() -> None:
    box = (0, 0, 20, 20)
    found = [found_at([box, box], [0.9, 0.9], [0, 2])]
    scores = score([labels_of([box])], found, PROTOCOL, resample(1, 0))
    assert scores.AP50.value == pytest.approx(1)
    assert np.isnan(scores.classes["bull"].AP50)
    assert scores.as_json()["classes"]["bull"]["AP50"] is None


def test_precision_and_recall_are_those_at_the_score() -> None:
    labels, found = many(2)
    low = score(labels, found, replace(PROTOCOL, score_threshold=0.05), resample(12, 0))
    high = score(labels, found, replace(PROTOCOL, score_threshold=0.6), resample(12, 0))
    assert low.recall.value > high.recall.value
    assert low.precision.value < high.precision.value
    assert low.AP50.value == high.AP50.value


def test_the_best_f1_threshold_is_best() -> None:
    labels, found = many(4)

    def f1(threshold: float) -> float:
        scores = score(labels, found, replace(PROTOCOL, score_threshold=threshold), resample(12, 0))
        p, r = scores.precision.value, scores.recall.value
        return 2 * p * r / (p + r)

    best = best_f1_threshold(labels, found)
    assert f1(best) >= max(f1(t) for t in np.linspace(0.05, 0.9, 60)) - 1e-12


def test_bins_have_the_names_of_the_field() -> None:
    assert PROTOCOL.bin_names == ("2-8", "8-16", "16-32", "32-64", "64+")
    assert replace(PROTOCOL, bins="coco").bin_names == ("0-32", "32-96", "96+")


def test_a_strategy_does_not_differ_from_itself_and_a_worse_one_does() -> None:
    labels, found = many(6, photos=30)
    resamples = resample(30, 300)
    worse = [d.replace(xyxy=d.xyxy + 6) for d in found]
    scores = {
        "a": score(labels, found, PROTOCOL, resamples),
        "same": score(labels, found, PROTOCOL, resamples),
        "worse": score(labels, worse, PROTOCOL, resamples),
    }
    pairs = differences(scores)
    assert list(pairs) == ["same - a", "worse - a", "worse - same"]
    assert pairs["same - a"]["AP50"].interval == (0, 0)
    assert pairs["worse - a"]["AP50"].interval[1] < 0


def test_the_corrected_count_needs_calibration_and_comes_near_the_truth() -> None:
    labels, found = many(8, photos=40)
    there, seen = many(9, photos=40)
    plain = score(labels, found, PROTOCOL, resample(40, 0))
    assert plain.count_corrected is None
    assert plain.as_json()["intervals"]["count_corrected"] is None
    corrected = score(labels, found, PROTOCOL, resample(40, 0), Calibration(there, seen))
    assert corrected.count_corrected is not None
    assert corrected.count_corrected.low <= plain.count_true <= corrected.count_corrected.high
