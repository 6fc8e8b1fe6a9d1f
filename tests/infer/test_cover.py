from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deal_yolo.boxes import iou
from deal_yolo.config import RefineConfig
from deal_yolo.detections import Detections
from deal_yolo.infer import cover
from deal_yolo.infer.postprocess import suppress
from deal_yolo.infer.windows import NO_WINDOWS

CONFIG = RefineConfig(
    window=100, least_context=10, max_windows=1000, high=0.5, context=0.2, first_weight=0.5,
    match_iou=0.4,
)  # fmt: skip


@st.composite
def looks(draw: st.DrawFn) -> tuple[Detections, tuple[int, int]]:
    """A first look at an image of some size."""
    height, width = draw(st.integers(20, 800)), draw(st.integers(20, 800))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 40))
    side = rng.uniform(1, 80, (n, 2))
    corner = rng.uniform(0, 1, (n, 2)) * np.maximum(np.array([width, height]) - side, 0)
    high = np.minimum(corner + side, np.array([width, height]))
    boxes = np.hstack([corner, high])
    found = Detections(boxes, rng.uniform(0, 1, n), rng.integers(0, 2, n))
    return suppress(found, 0.5, 1000), (height, width)


def holds(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(n, m) whether a box lies in a window."""
    low = (boxes[:, None, :2] >= windows[None, :, :2]).all(axis=2)
    return low & (boxes[:, None, 2:] <= windows[None, :, 2:]).all(axis=2)


@given(looks())
def test_every_candidate_is_inside_a_window(look: tuple[Detections, tuple[int, int]]) -> None:
    first, size = look
    windows = cover.plan(first, size, CONFIG)
    unsure = first.xyxy[cover.candidates(first, CONFIG)]
    assert holds(windows, unsure).any(axis=1).all()
    assert len(windows) <= len(unsure)


@given(looks())
def test_windows_differ_and_stand_in_the_image(look: tuple[Detections, tuple[int, int]]) -> None:
    first, (height, width) = look
    windows = cover.plan(first, (height, width), CONFIG)
    assert len({tuple(w) for w in windows.tolist()}) == len(windows)
    assert (windows[:, 2:] - windows[:, :2] == CONFIG.window).all()
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2] <= max(width, CONFIG.window)).all()
    assert (windows[:, 3] <= max(height, CONFIG.window)).all()


@given(looks(), st.integers(0, 5))
def test_a_budget_takes_the_first_and_most_promising(
    look: tuple[Detections, tuple[int, int]], most: int
) -> None:
    first, size = look
    every = cover.plan(first, size, CONFIG)
    few = cover.plan(first, size, replace(CONFIG, max_windows=most))
    assert few.tolist() == every[:most].tolist()


@given(looks(), st.floats(0, 2))
def test_what_is_left_out_is_worth_less_than_the_least_gain(
    look: tuple[Detections, tuple[int, int]], least: float
) -> None:
    first, size = look
    every = cover.plan(first, size, CONFIG)
    few = cover.plan(first, size, replace(CONFIG, least_gain=least))
    assert few.tolist() == every[: len(few)].tolist()
    unsure = first.select(cover.candidates(first, CONFIG))
    left = unsure.select(~holds(few, unsure.xyxy).any(axis=1))
    for window in every[len(few) :]:
        held = left.score[holds(window[None], left.xyxy)[:, 0]]
        assert (held * (1 - held)).sum() < least + 1e-5


def test_the_window_with_more_to_gain_comes_first() -> None:
    # One box of 0.45 on the left, three of 0.2 on the right.
    boxes = [(10, 10, 20, 20), (500, 10, 510, 20), (520, 30, 530, 40), (540, 10, 550, 20)]
    first = Detections(np.array(boxes), np.array([0.45, 0.2, 0.2, 0.2]), np.zeros(4))
    windows = cover.plan(first, (200, 800), CONFIG)
    assert len(windows) == 2
    assert windows[0][0] > 400


def test_few_windows_where_one_is_enough() -> None:
    boxes = np.array([(x, y, x + 8, y + 8) for x in (210, 240, 270) for y in (210, 270)])
    first = Detections(boxes, np.full(6, 0.3), np.zeros(6))
    assert cover.plan(first, (600, 600), CONFIG).tolist() == [[194, 194, 294, 294]]


def test_sure_hopeless_and_large_boxes_are_not_looked_at() -> None:
    boxes = np.array([(10, 10, 20, 20), (30, 10, 40, 20), (100, 100, 190, 190)])
    first = Detections(boxes, np.array([0.6, 0.01, 0.3]), np.zeros(3))
    assert len(cover.plan(first, (600, 600), CONFIG)) == 0


def test_a_crowd_is_covered_in_reasonable_time() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 2900, (1000, 2))
    first = Detections(
        np.hstack([corner, corner + 30]), rng.uniform(0.03, 0.4, 1000), np.zeros(1000)
    )
    windows = cover.plan(first, (3000, 3000), RefineConfig(window=640, max_windows=1000))
    assert holds(windows, first.xyxy).any(axis=1).all()
    assert len(windows) <= 60  # 36 uniform ones with an overlap of a fifth would do too


@given(looks())
def test_no_second_look_changes_nothing(look: tuple[Detections, tuple[int, int]]) -> None:
    first, _ = look
    fused = cover.fuse(first, NO_WINDOWS, [], CONFIG)
    for name in ("xyxy", "score", "class_id", "stage"):
        assert (getattr(fused, name) == getattr(first, name)).all()


@given(looks(), looks())
def test_nothing_is_reported_twice_and_nothing_is_lost(
    one: tuple[Detections, tuple[int, int]], two: tuple[Detections, tuple[int, int]]
) -> None:
    first, size = one
    windows = cover.plan(first, size, CONFIG)
    parts = [two[0]] * len(windows)  # every window claims the same objects
    joined = cover.fuse(first, windows, parts, CONFIG)
    found = suppress(joined, CONFIG.nms_iou, 1000)
    for number in np.unique(found.class_id):
        own = found.xyxy[found.class_id == number]
        assert (np.triu(iou(own, own), 1) <= CONFIG.nms_iou + 1e-6).all()
    for box, score, number in zip(first.xyxy, first.score, first.class_id, strict=True):
        same = joined.class_id == number
        near = iou(box[None], joined.xyxy[same])[0] >= CONFIG.match_iou
        assert (joined.score[same][near] >= CONFIG.first_weight * score - 1e-6).any()


WINDOW = np.array([[0, 0, 100, 100]])


def one(box: tuple[float, ...], score: float, number: int = 0) -> Detections:
    return Detections(np.array([box]), np.array([score]), np.array([number]))


@pytest.mark.parametrize(
    ("first_score", "second_score", "expected"),
    [(0.3, 0.8, 0.55), (0.3, 0.1, 0.2), (0.8, 0.3, 0.55), (0.8, 0.9, 0.85)],
)
def test_the_second_box_wins_with_the_mean_score(
    first_score: float, second_score: float, expected: float
) -> None:
    first = one((10, 10, 30, 30), first_score)
    second = one((11, 11, 31, 31), second_score)
    found = cover.fuse(first, WINDOW, [second], CONFIG)
    assert found.xyxy.tolist() == [[11, 11, 31, 31]]
    assert found.score == pytest.approx([expected])
    assert found.stage.tolist() == [2]


def test_unconfirmed_keeps_a_lowered_score_and_only_where_looked_at() -> None:
    first = Detections.concatenate(
        [one((10, 10, 30, 30), 0.4), one((200, 10, 220, 30), 0.4), one((60, 60, 80, 80), 0.9)]
    )
    found = cover.fuse(first, WINDOW, [Detections.empty()], CONFIG)
    assert found.score == pytest.approx([0.2, 0.4, 0.45])
    assert found.stage.tolist() == [1, 1, 1]


def test_another_class_does_not_confirm() -> None:
    found = cover.fuse(
        one((10, 10, 30, 30), 0.4, 0), WINDOW, [one((10, 10, 30, 30), 0.7, 1)], CONFIG
    )
    assert sorted(zip(found.class_id.tolist(), found.score.round(2).tolist(), strict=True)) == [
        (0, pytest.approx(0.2)),
        (1, pytest.approx(0.35)),
    ]
