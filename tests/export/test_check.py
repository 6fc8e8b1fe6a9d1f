from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from deal_yolo.errors import CheckError
from deal_yolo.export.check import check_backends, check_onnx, compare
from deal_yolo.export.onnx import export_onnx
from deal_yolo.metadata import Metadata
from tests.export.weights import save_lively


def rows(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.random((n, 1)), axis=0)[::-1]
    return np.hstack([rng.random((n, 4)) * 600, scores]).astype(np.float32)


def test_equal_rows_are_nothing_apart_whatever_their_order():
    a = rows(50)
    assert compare(a, a) == (49, 0, 0)
    swapped = a[[1, 0, *range(2, 50)]]
    assert compare(a, swapped)[1:] == (0, 0)


def test_a_moved_box_a_changed_score_and_a_missing_box_are_found():
    a = rows(50)
    moved, rescored = a.copy(), a.copy()
    moved[3, 2] += 2
    rescored[3, 4] -= 0.05
    assert compare(a, moved)[1] == pytest.approx(2, abs=1e-4)
    assert compare(a, rescored)[2] == pytest.approx(0.05, abs=1e-4)
    missing = np.vstack([a[1:], a[-1:]])
    assert compare(a, missing)[1] > 1
    assert compare(missing, a)[1] > 1


def test_boxes_below_the_least_score_need_not_agree():
    a, b = rows(50), rows(50)
    b[30:, 0] += 5
    assert compare(a, b)[1] == 5
    assert compare(a, b, float(a[29, 4]))[1] == 0


def test_a_swap_at_the_end_of_the_list_is_no_difference():
    a = rows(50)
    b = a.copy()
    b[-1] = [0, 0, 9, 9, a[-1, 4]]
    assert compare(a, b)[1:] == (0, 0)


@dataclass
class Told:
    """A backend that gives the rows it was told."""

    rows: np.ndarray
    metadata: Metadata
    input_size: tuple[int, int] | None = None
    batch_size: int | None = None

    def __call__(self, batch):
        return np.repeat(self.rows[None], len(batch), axis=0)


def told(values, keep=50, threshold=0.9):
    return Told(
        values, Metadata(("seal",), 64, (4, 8), {}, score_threshold=threshold, max_detections=keep)
    )


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    return path


def test_every_photo_is_seen_whole_and_at_native_size(photo):
    a = rows(50)
    report = check_backends(told(a), told(a), [photo, photo])
    assert (report.images, report.boxes, report.box_px, report.score) == (4, 196, 0, 0)


def test_a_box_off_by_a_pixel_is_refused(photo):
    a, b = rows(50), rows(50)
    b[0, 0] += 1
    with pytest.raises(CheckError, match=r"photo\.png: a box is off by 1 px"):
        check_backends(told(a), told(b), [photo])


def test_more_objects_than_boxes_are_refused(photo):
    a = rows(50)
    a[:, 4] += 1
    with pytest.raises(CheckError, match="more than 50 boxes .* --max-detections"):
        check_backends(told(a), told(a), [photo])


def test_an_exported_file_passes_and_another_models_file_does_not(tmp_path, photo):
    first = save_lively("deal-yolo", tmp_path / "a.safetensors", 64)
    other = save_lively("deal-yolo", tmp_path / "b.safetensors", 64, seed=1)
    # Untrained weights see objects everywhere, so all anchors are kept.
    out = export_onnx(first, tmp_path / "a.onnx", max_detections=400)
    report = check_onnx(out, first, [photo])
    assert report.boxes > 100
    assert report.box_px < 0.01
    assert report.score < 1e-3
    with pytest.raises(CheckError, match="off by"):
        check_onnx(out, other, [photo])
