from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deal_yolo.boxes import area, iou, nms


def some_boxes(rng: np.random.Generator, count: int, room: float) -> np.ndarray:
    corner = rng.uniform(0, room, (count, 2))
    return np.hstack([corner, corner + rng.uniform(1, 60, (count, 2))]).astype(np.float32)


def plain_nms(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float
) -> list[int]:
    """The definition: best first, a box goes if one kept before it overlaps it by more."""
    keep: list[int] = []
    for number in np.argsort(-scores, kind="stable"):
        rivals = [k for k in keep if classes[k] == classes[number]]
        if not (iou(boxes[[number]], boxes[rivals]) > threshold).any():
            keep.append(int(number))
    return keep


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 200),
    st.sampled_from([20.0, 200.0, 2000.0]),
    st.sampled_from([0.0, 0.3, 0.5]),
)
def test_suppression_is_the_plain_greedy_one(
    seed: int, count: int, room: float, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng, count, room)
    scores = rng.integers(0, 20, count) / 20  # with ties
    classes = rng.integers(0, 2, count)
    found = nms(boxes, scores, classes, threshold)
    assert found.tolist() == plain_nms(boxes, scores, classes, threshold)


def test_iou_of_known_boxes() -> None:
    a = np.array([(0, 0, 10, 10), (5, 5, 5, 5)], np.float32)
    b = np.array([(5, 0, 15, 10), (0, 0, 10, 10), (10, 0, 20, 10), (5, 5, 5, 5)], np.float32)
    assert iou(a, b) == pytest.approx(np.array([[1 / 3, 1, 0, 0], [0, 0, 0, 0]]))
    assert area(b).tolist() == [100, 100, 100, 0]
