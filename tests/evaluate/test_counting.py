import numpy as np
import pytest

from deal_yolo.evaluate.counting import Tally, corrected_count, cut_at, tally
from deal_yolo.evaluate.matching import match
from tests.evaluate.made import found_at, labels_of

A, B, NOTHING = (0, 0, 10, 10), (50, 50, 90, 90), (200, 200, 230, 230)


def test_error_and_bias_of_the_count() -> None:
    photos = [
        (labels_of([A, B]), found_at([A], [0.9])),  # one too few
        (labels_of([]), found_at([A, B], [0.9, 0.9])),  # two too many
        (labels_of([]), found_at([A], [0.1])),  # right: the box is below the score
    ]
    cut = cut_at([match(*pair) for pair in photos], 0.5)
    once = np.ones((1, 3))
    assert cut.error.tolist() == [-1, 2, 0]
    assert cut.count_mae(once).value == pytest.approx(1)
    assert cut.count_bias(once).value == pytest.approx(1 / 3)
    assert cut.precision(once).value == pytest.approx(1 / 3)
    assert cut.recall(once).value == pytest.approx(1 / 2)


def test_boxes_in_ignore_regions_are_not_counted() -> None:
    labels = labels_of([(0, 0, 100, 100)], [-1], [True])
    cut = cut_at([match(labels, found_at([A, B], [0.9, 0.9]))], 0.5)
    assert cut.error.tolist() == [0]


def test_a_score_equal_to_the_threshold_counts() -> None:
    score = float(np.float32(0.3))
    cut = cut_at([match(labels_of([A]), found_at([A], [0.3]))], score)
    assert cut.right.tolist() == [1]


def test_the_tally_goes_by_size_and_not_by_class() -> None:
    labels = labels_of([A, B], [0, 1])
    found = found_at([A, B, NOTHING], [0.9, 0.9, 0.9], [1, 1, 0])
    counts = tally([labels], [found], 0.5, (16, 32))
    assert counts.objects.tolist() == [[1, 0, 1]]
    assert counts.seen.tolist() == [[1, 0, 1]]
    assert counts.boxes.tolist() == [[1, 1, 1]]
    assert counts.right.tolist() == [[1, 0, 1]]


def made_tally(rng: np.random.Generator, photos: int, seen: float, false: float) -> Tally:
    """Photos of 30 animals of one size, seen with some probability, and some false boxes."""
    objects = np.full((photos, 1), 30)
    hits = rng.binomial(30, seen, (photos, 1))
    return Tally(objects, hits, hits + rng.poisson(false, (photos, 1)), hits)


def test_the_corrected_count_is_right_on_average_and_its_interval_holds() -> None:
    rng = np.random.default_rng(0)
    estimates, inside, runs = [], 0, 200
    for seed in range(runs):
        calibration = made_tally(rng, 15, 0.7, 3)
        survey = made_tally(rng, 20, 0.7, 3)
        count = corrected_count(survey.boxes.sum(axis=0), calibration, draws=400, seed=seed)
        estimates.append(count.estimate)
        inside += count.low <= 600 <= count.high
    assert np.mean(estimates) == pytest.approx(600, rel=0.01)
    assert 0.88 <= inside / runs <= 1


def test_a_size_seen_too_rarely_takes_the_rates_of_all() -> None:
    objects = np.array([[100, 3]])
    seen = np.array([[50, 0]])
    calibration = Tally(objects, seen, np.array([[50, 0]]), seen)
    count = corrected_count(np.array([0, 10]), calibration, draws=200)
    assert count.estimate == pytest.approx(10 / 0.49, rel=0.05)


def test_nothing_found_stands_for_nothing() -> None:
    calibration = made_tally(np.random.default_rng(0), 5, 0.7, 3)
    count = corrected_count(np.array([0]), calibration, draws=50)
    assert (count.estimate, count.low, count.high) == (0, 0, 0)
