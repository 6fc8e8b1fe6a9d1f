from __future__ import annotations

import numpy as np
import pytest

from deal_yolo.detections import Detections
from deal_yolo.infer.postprocess import one_box_each, to_detections
from deal_yolo.infer.preprocess import letterbox

BOX = letterbox((50, 100), 64, 32)  # content 32 x 64


def output(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_boxes_come_in_px_of_the_image_best_first() -> None:
    rows = output((0, 0, 32, 16, 0.3, 0.1), (32, 16, 64, 32, 0.2, 0.9))
    found = to_detections(rows, BOX, 0.25, 0.5, 10)
    assert found.class_id.tolist() == [1, 0]
    assert found.score == pytest.approx([0.9, 0.3])
    assert found.xyxy[0] == pytest.approx([50, 25, 100, 50])


def test_low_scores_duplicates_and_padding_go() -> None:
    rows = output(
        (0, 0, 10, 10, 0.9, 0),
        (1, 0, 11, 10, 0.8, 0),  # the same again
        (1, 0, 11, 10, 0, 0.7),  # of another class: stays
        (20, 0, 30, 10, 0.1, 0),  # too low
        (0, 33, 10, 40, 0.9, 0),  # in the padding
    )
    found = to_detections(rows, letterbox((32, 64), 64, 64), 0.25, 0.5, 10)
    assert found.score == pytest.approx([0.9, 0.7])


def test_at_most_so_many() -> None:
    rows = output(*((i * 10, 0, i * 10 + 5, 5, 0.5 + i / 100, 0) for i in range(6)))
    assert to_detections(rows, BOX, 0.1, 0.5, 2).score == pytest.approx([0.55, 0.54])


def test_nothing_found_is_empty() -> None:
    assert len(to_detections(np.zeros((0, 6), np.float32), BOX, 0.1, 0.5, 10)) == 0


def test_a_count_takes_each_animal_once_whatever_its_class() -> None:
    boxes = np.array([(0, 0, 20, 20), (1, 0, 21, 20), (8, 8, 16, 16)])  # a pup before its mother
    found = Detections(boxes, np.array([0.5, 0.6, 0.4]), np.array([0, 1, 2]))
    assert one_box_each(found).class_id.tolist() == [1, 2]
    assert len(one_box_each(Detections.empty())) == 0
