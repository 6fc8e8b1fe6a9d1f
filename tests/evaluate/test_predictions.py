import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.detections import Detections
from deal_yolo.errors import DatasetError, InputError
from deal_yolo.evaluate.predictions import Predictions, read_predictions, write_predictions
from deal_yolo.evaluate.split import Split, load_split, load_splits
from tests.evaluate.made import flawed, random_labels


def result(**other: Any) -> dict[str, Any]:
    return {"image_id": "test0", "category_id": 0, "bbox": [4, 20, 16, 16], "score": 0.5, **other}


def save(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    return path


def test_predictions_come_back_as_they_were(tmp_path: Path, split: Split) -> None:
    rng = np.random.default_rng(0)
    found = [flawed(random_labels(rng), rng) for _ in split.images]
    found = [d.replace(class_id=d.class_id % 2) for d in found]
    made = Predictions(found, [0.1, 0.2, 0.3], [1, 2, 3], {"strategy": "whole"})
    write_predictions(tmp_path / "deep" / "kept.json", split, made)
    back = read_predictions(tmp_path / "deep" / "kept.json", split)
    assert (back.seconds, back.windows, back.info) == (made.seconds, made.windows, made.info)
    for one, other in zip(made.found, back.found, strict=True):
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.class_id, other.class_id)
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-4)


@pytest.mark.parametrize("name", ["test1", "test1.png", "images/test1.png", "/there/test1.png"])
def test_photos_are_known_by_path_name_or_stem(tmp_path: Path, split: Split, name: str) -> None:
    found = read_predictions(save(tmp_path, [result(image_id=name)]), split).found
    assert [len(d) for d in found] == [0, 1, 0]
    np.testing.assert_allclose(found[1].xyxy, [[4, 20, 20, 36]])


def test_numbered_photos_and_named_classes_in_any_order(tmp_path: Path, split: Split) -> None:
    content = {
        "images": [{"id": 7, "file_name": "test2.png"}, {"id": 8, "file_name": "test0.png"}],
        "categories": [{"id": 1, "name": "green"}, {"id": 2, "name": "red"}],
        "annotations": [result(image_id=7, category_id=1), result(image_id=8, category_id=2)],
    }
    found = read_predictions(save(tmp_path, content), split).found
    assert found[2].class_id.tolist() == [1]
    assert found[0].class_id.tolist() == [0]


def test_classes_counted_from_one_are_taken_so_and_said(tmp_path: Path, split: Split) -> None:
    rows = [result(category_id=1), result(category_id=2)]
    made = read_predictions(save(tmp_path, rows), split)
    assert made.found[0].class_id.tolist() == [0, 1]
    assert "count from 1" in made.notes[0]


def test_another_split_may_be_in_the_file_if_it_is_asked_for(tmp_path: Path, data: Path) -> None:
    test, val = load_splits(load_dataset(data), "test", "val")
    path = save(tmp_path, [result(), result(image_id="val1")])
    assert [len(d) for d in read_predictions(path, test, [test, val]).found] == [1, 0, 0]
    assert [len(d) for d in read_predictions(path, val, [test, val]).found] == [0, 1, 0]
    with pytest.raises(InputError, match=r"result 1 is for 'val1', no photo of split 'test'"):
        read_predictions(path, test)


@pytest.mark.parametrize(
    "content, message",
    [
        ([result(image_id="cat")], r"result 0 is for 'cat', no photo of split 'test'"),
        ([result(), result(category_id=5)], r"result 1 has the unknown class 5, known are 0 red"),
        ([result(category_id="cow")], r"unknown class 'cow'"),
        ([result(score=float("nan"))], r"has the score nan"),
        ([result(score=1.2)], r"has the score 1.2"),
        ([result(score=True)], r"has the score True"),
        ([result(bbox=[0, 0, float("inf"), 1])], r"not four finite numbers"),
        ([result(bbox=[0, 0, 1])], r"not four finite numbers"),
        ([result(bbox=[9, 9, -3, 2])], r"negative size"),
        ([{"image_id": "test0"}], r"result 0 lacks"),
        ([result(image_id=[1])], r"result 0 lacks"),
        (["test0"], r"result 0 lacks"),
        ({"annotations": [result(image_id=3)], "images": []}, r"'images' does not list"),
        ({"annotations": [], "images": [{"id": 1}]}, r"needs 'id' and 'file_name'"),
        ({"annotations": [], "categories": [1]}, r"needs 'id' and 'name'"),
        ({"annotations": [], "categories": 3}, r"'categories' must be a list"),
        ({"annotations": [], "categories": [{"id": 0, "name": "cow"}]}, r"set's: red, green"),
        ([result(category_id=True)], r"result 0 lacks"),
        ({"boxes": []}, r"no list of results"),
        ("text", r"no list of results"),
    ],
)
def test_wrong_predictions_are_named(
    tmp_path: Path, split: Split, content: object, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_predictions(save(tmp_path, content), split)
    assert "other.json" in str(error.value)
    assert error.value.exit_status == 2


def test_a_file_that_is_not_json_or_not_there(tmp_path: Path, split: Split) -> None:
    path = tmp_path / "other.json"
    with pytest.raises(InputError, match="cannot read"):
        read_predictions(path, split)
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_predictions(path, split)


def test_a_name_that_means_two_photos_means_none(tmp_path: Path, split: Split) -> None:
    twice = Split(
        split.dataset, "test", [*split.images, split.images[0].parent / "b/test0.png"], []
    )
    assert twice.number("test0") is None
    assert twice.number("images/test0.png") == 0


def test_a_split_without_labels_is_refused(data: Path) -> None:
    with pytest.raises(DatasetError, match="split 'train' of .* has no labels"):
        load_split(load_dataset(data), "train")


def test_calibrating_on_the_scored_split_is_refused(data: Path) -> None:
    with pytest.raises(DatasetError, match="use another"):
        load_splits(load_dataset(data), "test", "test")


def test_photos_without_boxes_are_kept(tmp_path: Path, split: Split) -> None:
    write_predictions(tmp_path / "a.json", split, Predictions([Detections.empty()] * 3))
    assert [len(d) for d in read_predictions(tmp_path / "a.json", split).found] == [0, 0, 0]
