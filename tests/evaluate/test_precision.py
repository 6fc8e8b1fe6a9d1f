import numpy as np
import pytest

from deal_yolo.evaluate.matching import match
from deal_yolo.evaluate.precision import average_precision, best_f1, precision_curve, rank
from deal_yolo.evaluate.resample import Figure, percentiles, resample
from tests.evaluate.made import found_at, labels_of, many

A, B, NOTHING = (0, 0, 20, 20), (50, 50, 80, 80), (200, 200, 230, 230)


def ranking_of(*photos: tuple) -> object:
    return rank([match(labels, found) for labels, found in photos], 0)


def test_ap_of_a_curve_known_by_hand() -> None:
    """Right, wrong, right: precision 1 up to recall 1/2, then 2/3."""
    ranking = ranking_of((labels_of([A, B]), found_at([A, NOTHING, B], [0.9, 0.8, 0.7])))
    ap = average_precision(ranking, np.ones((1, 1)), 0, 0)
    assert ap[0] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_ap_is_nought_without_boxes_and_undefined_without_objects() -> None:
    once = np.ones((1, 1))
    assert average_precision(ranking_of((labels_of([A]), found_at([], []))), once, 0, 0) == [0]
    nothing = ranking_of((labels_of([]), found_at([A], [0.9])))
    assert np.isnan(average_precision(nothing, once, 0, 0)).all()


def test_weights_do_what_repeated_photos_do() -> None:
    """A bootstrap by weights equals scoring the photos drawn, some of them twice."""
    labels, found = many(3, photos=6)
    matches = [match(*pair) for pair in zip(labels, found, strict=True)]
    times = np.array([2, 0, 1, 3, 0, 1])
    weighted = average_precision(rank(matches, 0), times[None].astype(float), 0, 2)
    repeated = [m for m, n in zip(matches, times, strict=True) for _ in range(n)]
    once = np.ones((1, len(repeated)))
    assert weighted[0] == pytest.approx(average_precision(rank(repeated, 0), once, 0, 2)[0])


def test_rows_of_weights_do_not_touch_each_other() -> None:
    labels, found = many(5, photos=8)
    ranking = rank([match(*pair) for pair in zip(labels, found, strict=True)], 1)
    weights = resample(8, 50, seed=1).weights
    together = average_precision(ranking, weights, 0, 0)
    alone = [average_precision(ranking, row[None], 0, 0)[0] for row in weights]
    np.testing.assert_allclose(together, alone)


def test_the_best_f1_is_found_and_no_cut_stands_between_equal_scores() -> None:
    found = found_at([A, B, NOTHING, NOTHING], [0.9, 0.6, 0.6, 0.1])
    # 0.9 alone has F1 2/3, from 0.6 on it is 4/5.
    assert best_f1(ranking_of((labels_of([A, B]), found))) == pytest.approx(0.6)
    found = found_at([A, B, *[NOTHING] * 4], [0.9, *[0.6] * 5])
    assert best_f1(ranking_of((labels_of([A, B]), found))) == pytest.approx(0.9)


def test_best_f1_of_boxes_that_are_all_wrong() -> None:
    assert best_f1(ranking_of((labels_of([A]), found_at([NOTHING], [0.9])))) == 0.25


def test_the_curve_has_a_point_for_every_box() -> None:
    ranking = ranking_of((labels_of([A, B]), found_at([A, NOTHING, B], [0.9, 0.8, 0.7])))
    recall, precision = precision_curve(ranking)
    assert recall.tolist() == [0.5, 0.5, 1]
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])


def test_resamples_begin_with_the_photos_as_they_are_and_draw_as_many() -> None:
    resamples = resample(7, 20, seed=2)
    assert resamples.weights.shape == (21, 7)
    assert (resamples.weights[0] == 1).all()
    assert (resamples.weights.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(resamples.weights, resample(7, 20, seed=2).weights)


def test_many_photos_are_drawn_in_units_of_several() -> None:
    resamples = resample(1000, 3)
    assert resamples.weights.shape == (4, 200)
    assert resamples.of_photos.shape == (4, 1000)
    assert (np.bincount(resamples.unit) == 5).all()


def test_the_interval_is_that_of_theory_for_a_mean() -> None:
    """For a mean of n values the bootstrap's spread is their standard deviation / sqrt(n)."""
    values = np.random.default_rng(0).normal(10, 2, 100)
    weights = resample(100, 4000).of_photos
    low, high = Figure(weights @ values / weights.sum(axis=1)).interval
    error = 1.96 * values.std() / 10
    assert low == pytest.approx(values.mean() - error, abs=0.05)
    assert high == pytest.approx(values.mean() + error, abs=0.05)


def test_a_difference_is_paired() -> None:
    one, other = Figure(np.array([0.5, 0.4, 0.6])), Figure(np.array([0.4, 0.3, 0.5]))
    difference = one.minus(other)
    assert difference.value == pytest.approx(0.1)
    assert difference.interval == pytest.approx((0.1, 0.1))


def test_percentiles_of_nothing() -> None:
    assert np.isnan(percentiles(np.full(3, np.nan))).all()
