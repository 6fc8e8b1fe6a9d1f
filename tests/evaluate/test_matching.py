import numpy as np
import pytest

from deal_yolo.detections import Detections
from deal_yolo.evaluate.matching import ALL_SIZES, MAX_DETECTIONS, match
from tests.evaluate.made import found_at, labels_of

BOX = (10, 10, 30, 30)
HALF = np.array([0.5])


def test_the_surest_box_takes_the_animal_and_the_other_is_wrong() -> None:
    found = found_at([BOX, BOX], [0.4, 0.9])
    matches = match(labels_of([BOX]), found, thresholds=HALF)
    assert matches.order.tolist() == [1, 0]
    assert matches.right[0, 0].tolist() == [True, False]
    assert matches.wrong[0, 0].tolist() == [False, True]


def test_a_box_of_another_class_finds_nothing() -> None:
    matches = match(labels_of([BOX], [0]), found_at([BOX], [0.9], [1]), thresholds=HALF)
    assert matches.wrong[0, 0].tolist() == [True]


def test_a_box_takes_the_animal_it_overlaps_most() -> None:
    labels = labels_of([(0, 0, 20, 20), (4, 0, 24, 20)])
    found = found_at([(4, 0, 24, 20), (3, 0, 23, 20)], [0.9, 0.8])
    matches = match(labels, found, thresholds=HALF)
    assert matches.label[0, 0].tolist() == [1, 0]


def test_an_iou_equal_to_the_threshold_is_enough() -> None:
    matches = match(labels_of([(0, 0, 20, 20)]), found_at([(0, 0, 20, 10)], [0.9]), thresholds=HALF)
    assert matches.right.all()


@pytest.mark.parametrize("region_class, forgiven", [(-1, True), (0, True), (1, False)])
def test_an_ignore_region_forgives_boxes_of_its_class(region_class: int, forgiven: bool) -> None:
    labels = labels_of([(0, 0, 100, 100)], [region_class], [True])
    matches = match(labels, found_at([BOX, (40, 40, 60, 60)], [0.9, 0.8]), thresholds=HALF)
    assert matches.ignored[0, 0].tolist() == [forgiven] * 2
    assert matches.counted.sum() == 0


def test_an_ignore_region_does_not_take_a_box_from_an_animal() -> None:
    labels = labels_of([(0, 0, 100, 100), BOX], [-1, 0], [True, False])
    matches = match(labels, found_at([BOX], [0.9]), thresholds=HALF)
    assert matches.right.all()


def test_boxes_and_animals_of_another_size_do_not_count() -> None:
    labels = labels_of([BOX, (50, 50, 150, 150)])
    found = found_at([BOX, (50, 50, 150, 150), (200, 200, 300, 300)], [0.9, 0.8, 0.7])
    matches = match(labels, found, (ALL_SIZES, (0, 32)), HALF)
    assert matches.counted.tolist() == [[True, True], [True, False]]
    assert matches.right[:, 0].tolist() == [[True, True, False], [True, False, False]]
    assert matches.wrong[:, 0].tolist() == [[False, False, True], [False, False, False]]


def test_the_best_thousand_boxes_of_a_photo_count() -> None:
    n = MAX_DETECTIONS + 50
    found = found_at([BOX] * n, np.linspace(0.2, 0.9, n).tolist())
    matches = match(labels_of([BOX]), found)
    assert len(matches.order) == MAX_DETECTIONS
    assert matches.order[0] == n - 1
    assert matches.score.min() > found.score[:50].max()


def test_a_score_below_a_thousandth_does_not_count() -> None:
    assert len(match(labels_of([BOX]), found_at([BOX], [0.0009])).order) == 0


def test_a_photo_without_anything() -> None:
    matches = match(labels_of([]), Detections.empty())
    assert matches.right.shape == (1, 10, 0)
    assert matches.counted.shape == (1, 0)
