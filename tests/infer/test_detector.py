from __future__ import annotations

import numpy as np
import pytest

from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.infer.detector import Detector
from tests.infer.scene import SquareBackend, boxes_of, detector, scene

SQUARES = [(40, 40, 32), (200, 100, 48), (500, 400, 40)]


def test_finds_squares_in_px_of_the_image() -> None:
    found = detector(320)([scene(SQUARES)])[0]
    assert len(found) == 3
    order = np.argsort(found.xyxy[:, 0])
    assert np.abs(found.xyxy[order] - boxes_of(SQUARES)).max() <= 2  # one px of the input


def test_images_of_one_shape_share_a_run_and_keep_their_order() -> None:
    backend = SquareBackend()
    images = [scene(SQUARES[:n], width=w) for n, w in ((1, 640), (2, 600), (3, 640))]
    found = Detector(backend, 640)(images)
    assert [len(f) for f in found] == [1, 2, 2 + (images[2].shape[1] > 540)]
    assert sorted(shape[0] for shape in backend.shapes) == [1, 2]


def test_runs_are_no_larger_than_max_batch() -> None:
    backend = SquareBackend()
    Detector(backend, 64, max_batch=2)([scene([], 64, 64)] * 5)
    assert [shape[0] for shape in backend.shapes] == [2, 2, 1]


def test_fixed_batch_is_filled_up_and_the_filling_dropped() -> None:
    backend = SquareBackend((64, 64), 4)
    found = Detector(backend)([scene([(10, 10, 20)], 64, 64)] * 5)
    assert [len(f) for f in found] == [1] * 5
    assert [shape for shape in backend.shapes] == [(4, 3, 64, 64)] * 2


def test_fixed_input_refuses_another_size() -> None:
    fixed = detector(input_size=(64, 64))
    assert fixed.with_imgsz(64).imgsz == 64
    with pytest.raises(WeightsError, match="take 64 px only, not 320"):
        fixed.with_imgsz(320)


def test_size_must_fit_the_stride() -> None:
    with pytest.raises(ConfigError, match="multiple of 8"):
        detector(100)


def test_with_imgsz_leaves_the_first_as_it_is() -> None:
    first = detector(320)
    assert (first.with_imgsz(64).imgsz, first.with_imgsz(None).imgsz, first.imgsz) == (64, 64, 320)


def test_no_images_no_results() -> None:
    assert detector()([]) == []
    assert detector().look([]) == []


def test_look_tells_the_time_and_no_windows() -> None:
    look = detector(320).look([scene(SQUARES)])[0]
    assert look.seconds > 0
    assert look.windows.shape == (0, 4)
