from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deal_yolo.config import RefineConfig, SliceConfig, configs_folder, load
from deal_yolo.detections import Detections
from deal_yolo.infer import Sliced, TwoStage, build_strategy, refine
from deal_yolo.infer.refine import Sight
from tests.infer.scene import SquareBackend, boxes_of, detector, scene

# Seen at 320 px an animal of 10 px is 2.5 px: a score of 0.16. In a window it is sure.
PAPER = configs_folder() / "refine" / "paper.yaml"
CONFIG = RefineConfig(
    first_imgsz=None, window=128, window_imgsz=128, least_context=32, context=0.2, high=0.5
)
SMALL = [(100, 100, 12), (120, 130, 12), (900, 600, 12)]
LARGE = [(500, 300, 60)]


def image(squares: list[tuple[int, int, int]] = SMALL + LARGE) -> np.ndarray:
    return scene(squares, 1280, 960)


def same(a: Detections, b: Detections) -> bool:
    names = ("xyxy", "score", "class_id", "stage")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)


def test_second_look_makes_small_animals_sure_with_sharper_boxes() -> None:
    one_look = detector(320)([image()])[0]
    assert (one_look.score >= 0.5).sum() == 1
    look = TwoStage(detector(320), CONFIG).look([image()])[0]
    found = look.detections
    assert len(look.windows) == 2  # the two neighbours share one; the large one needs none
    assert sorted(found.stage.tolist()) == [1, 2, 2, 2]
    again = found.select(found.stage == 2)
    weight = CONFIG.first_weight
    assert (again.score < 0.75).all() and (again.score >= 0.75 * (1 - weight)).all()
    order = np.argsort(again.xyxy[:, 0])
    assert again.xyxy[order] == pytest.approx(boxes_of(SMALL))
    assert look.seconds > 0


def test_all_sure_means_no_second_look() -> None:
    look = TwoStage(detector(320), CONFIG).look([image(LARGE)])[0]
    assert len(look.windows) == 0


def test_no_second_look_where_the_first_saw_as_many_pixels() -> None:
    look = TwoStage(detector(128), CONFIG).look([scene([(20, 20, 6)], 128, 96)])[0]
    assert look.detections.score[0] < 0.5
    assert len(look.windows) == 0


def test_no_second_look_that_shows_little_more() -> None:
    squares = [(20, 20, 6)]
    strategy = TwoStage(detector(160), replace(CONFIG, least_zoom=1.3))
    assert len(strategy.look([scene(squares, 192, 96)])[0].windows) == 0  # 1.2 times larger
    assert len(strategy.look([scene(squares, 256, 96)])[0].windows) == 1  # 1.6 times


def test_the_first_look_is_no_finer_than_a_window() -> None:
    backend = SquareBackend()
    strategy = TwoStage(type(detector())(backend, 320), replace(CONFIG, window_imgsz=64))
    images = [scene([], 96, 64), scene([], 1280, 960), scene([], 90, 60)]
    strategy(images)
    assert sorted(backend.shapes) == [(1, 3, 240, 320), (2, 3, 32, 48)]


def test_results_do_not_depend_on_the_batch_or_its_order() -> None:
    small = scene(SMALL[:2], 200, 160)
    images = [image(), image(SMALL[:1]), small, scene([], 1280, 960), image(LARGE)]
    strategy = TwoStage(detector(320), CONFIG)
    alone = [strategy([i])[0] for i in images]
    together = strategy(images)
    backwards = strategy(images[::-1])[::-1]
    for a, b, c in zip(alone, together, backwards, strict=True):
        assert same(a, b)
        assert same(a, c)


def test_windows_of_several_images_share_runs() -> None:
    backend = SquareBackend()
    TwoStage(type(detector())(backend, 320, max_batch=8), CONFIG)([image(SMALL[:1])] * 3)
    assert [shape[0] for shape in backend.shapes] == [3, 3]


def test_an_animal_cut_by_a_window_is_reported_once() -> None:
    # The square beside the candidate reaches out of the only window.
    squares = [(400, 400, 12), (455, 380, 40)]
    found = TwoStage(detector(320), CONFIG)([image(squares)])[0]
    assert len(found) == 2
    wide = found.xyxy[np.argmax(found.xyxy[:, 2] - found.xyxy[:, 0])]
    assert np.abs(wide - boxes_of(squares)[1]).max() <= 4


def test_max_windows_binds_and_the_rest_keeps_its_first_score() -> None:
    look = TwoStage(detector(320), replace(CONFIG, max_windows=1)).look([image()])[0]
    assert len(look.windows) == 1
    assert sorted(look.detections.stage.tolist()) == [1, 1, 2, 2]


class Clock:
    """A time that passes only where it is told to, in place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def slow_two_stage(clock: Clock, config: RefineConfig) -> TwoStage:
    """Each image that the network sees takes 30 ms, joining the looks at an image 45 ms."""

    class SlowBackend(SquareBackend):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            clock.now += 0.03 * len(batch)
            return super().__call__(batch)

    class SlowJoining(TwoStage):
        def join(self, sight: Sight, config: RefineConfig) -> Detections:
            clock.now += 0.045
            return super().join(sight, config)

    slow: Any = type(detector())(SlowBackend(), 320, max_batch=2)
    return SlowJoining(slow, config)


def test_a_time_budget_is_kept_at_the_speeds_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(refine, "time", clock)
    squares = [(x, y, 12) for x in range(50, 1200, 190) for y in range(50, 900, 190)]
    config = replace(CONFIG, max_windows=100)
    free = slow_two_stage(clock, config).look([image(squares)])[0]
    assert len(free.windows) > 20
    strategy = slow_two_stage(clock, replace(config, budget_ms=310))
    # 30 ms of the first look and nine windows, as the time for joining is not known at first.
    looks = [strategy.look([image(squares)])[0] for _ in range(3)]
    assert [len(look.windows) for look in looks] == [9, 7, 7]
    assert [look.seconds for look in looks] == pytest.approx([0.345, 0.285, 0.285])
    assert looks[0].windows.tolist() == free.windows[:9].tolist()


def test_a_budget_that_the_first_look_uses_up_leaves_one_look() -> None:
    strategy = TwoStage(detector(320), replace(CONFIG, budget_ms=0))
    assert same(strategy([image()])[0], detector(320)([image()])[0])


def test_fixed_input_sees_windows_at_its_only_size() -> None:
    fixed = TwoStage(detector(input_size=(320, 320)), CONFIG)
    assert fixed.second.imgsz == 320
    assert (fixed([image()])[0].stage == 2).sum() == 3


def test_shipped_default_is_the_default() -> None:
    assert load(RefineConfig, configs_folder() / "refine" / "default.yaml") == RefineConfig()


def test_published_rule_replaces_unsure_boxes_and_adds_none() -> None:
    rule = replace(load(RefineConfig, PAPER), first_imgsz=None)
    assert (rule.rule, rule.low, rule.high, rule.match_iou, rule.nms_iou) == (
        *("paper", 0.25, 0.5, 0.25, 0.45),
    )
    squares = [(100, 100, 24), (400, 300, 12)]  # 0.375 and 0.19 at the first look
    look = TwoStage(detector(320), rule).look([image(squares)])[0]
    assert len(look.windows) == 1
    left, top, right, bottom = look.windows[0].tolist()
    assert 30 <= right - left <= 44  # the box, and a fifth of it on each side
    assert 30 <= bottom - top <= 44
    found = look.detections
    assert sorted(found.stage.tolist()) == [1, 2]
    assert found.score.max() == pytest.approx(1.0)
    assert found.score.min() < 0.25  # the fainter one was not looked at


def test_published_rule_never_lowers_a_score() -> None:
    rule = replace(load(RefineConfig, PAPER), first_imgsz=None)
    blind = SquareBackend()
    strategy = TwoStage(type(detector())(blind, 320), replace(rule, window_imgsz=8, augment=False))
    before = detector(320)([image([(100, 100, 24)])])[0]
    after = strategy([image([(100, 100, 24)])])[0]
    assert same(before, after)


def test_augmented_views_agree_on_one_box() -> None:
    plain = TwoStage(detector(320), CONFIG)([image()])[0]
    augmented = TwoStage(detector(320), replace(CONFIG, augment=True))([image()])[0]
    assert len(plain) == len(augmented)
    assert np.abs(np.sort(plain.xyxy, axis=0) - np.sort(augmented.xyxy, axis=0)).max() <= 3


def test_sliced_finds_each_square_once_wherever_windows_meet() -> None:
    rng = np.random.default_rng(3)
    cells = [(x, y) for x in range(0, 1240, 60) for y in range(0, 920, 60)]
    squares = [
        (x + int(rng.integers(0, 30)), y + int(rng.integers(0, 30)), 18)
        for x, y in (cells[i] for i in rng.permutation(len(cells))[:150])
    ]
    strategy = build_strategy("sliced", detector(128))
    assert isinstance(strategy, Sliced)
    strategy = Sliced(detector(), replace(strategy.config, window=128, window_imgsz=128))
    look = strategy.look([image(squares)])[0]
    found = look.detections.xyxy
    order = np.lexsort((found[:, 1], found[:, 0]))
    expected = boxes_of(sorted(squares))
    assert len(found) == len(expected)
    assert found[order] == pytest.approx(expected)
    assert len(look.windows) == 13 * 10


def test_sliced_keeps_what_is_larger_than_the_overlap() -> None:
    squares = [(100, 20, 60)]
    strategy = Sliced(detector(), SliceConfig(window=128, window_imgsz=128, overlap=0.2))
    assert len(strategy([scene(squares, 230, 128)])[0]) >= 1


def test_a_photo_smaller_than_a_window() -> None:
    squares = [(20, 20, 12)]
    strategy = Sliced(detector(), replace(build_strategy("sliced", detector()).config, window=128,
                                          window_imgsz=128))  # type: ignore[attr-defined]  # fmt: skip
    found = strategy([scene(squares, 90, 60)])[0]
    assert found.xyxy == pytest.approx(boxes_of(squares))


def test_an_image_smaller_than_a_window_is_not_made_smaller() -> None:
    """Seen at 64 px as it is, not as the corner of a padded window of 1,024 px."""
    picture = scene([(20, 30, 12)], 64, 64)
    look = Sliced(detector(64), SliceConfig(window=1024, window_imgsz=64)).look([picture])[0]
    assert look.windows.tolist() == [[0, 0, 64, 64]]
    assert look.detections.xyxy == pytest.approx(boxes_of([(20, 30, 12)]))
    assert look.detections.score == pytest.approx(0.75)
