from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deal_yolo.infer.preprocess import PAD, letterbox, to_input


def test_dynamic_input_is_padded_only_to_the_stride() -> None:
    box = letterbox((3000, 4000), 640, 32)
    assert box.content == (480, 640)
    assert box.input == (480, 640)
    assert letterbox((3001, 4000), 640, 32).input == (480, 640)
    assert letterbox((3100, 4000), 640, 32).input == (512, 640)


def test_fixed_input_is_filled_whole() -> None:
    box = letterbox((1000, 4000), 640, 32, fixed=(320, 640))
    assert box.content == (160, 640)
    assert box.input == (320, 640)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([64, 320, 1280]))
def test_whole_image_maps_back_to_itself(height: int, width: int, imgsz: int) -> None:
    box = letterbox((height, width), imgsz, 16)
    content = np.array([[0, 0, box.content[1], box.content[0]]], np.float32)
    assert box.to_image(content)[0] == pytest.approx([0, 0, width, height], rel=1e-5)
    assert all(c <= i for c, i in zip(box.content, box.input, strict=True))
    assert max(box.content) <= imgsz


def test_pixels_are_rgb_in_unit_range_with_grey_beside() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[..., 0] = 255  # blue
    tensor = to_input(image, letterbox((10, 20), 32, 32))
    assert tensor.shape == (3, 32, 32)
    assert tensor[:, :16].min(axis=(1, 2)) == pytest.approx([0, 0, 1])
    assert tensor[:, 16:] == pytest.approx(PAD / 255)


def test_making_smaller_averages_so_that_small_animals_stay() -> None:
    image = np.zeros((800, 800, 3), np.uint8)
    image[100:104, 100:104] = 255
    tensor = to_input(image, letterbox((800, 800), 80, 16))
    assert tensor.sum() * 100 == pytest.approx(16 * 3, rel=0.03)
