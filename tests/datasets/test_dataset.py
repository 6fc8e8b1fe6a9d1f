from pathlib import Path

import numpy as np
import pytest

from deal_yolo.config import configs_folder
from deal_yolo.datasets.dataset import TileConfig, load_dataset, read_data_config
from deal_yolo.errors import ConfigError, DatasetError
from tests.datasets.made import make, noise, write_photo


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEAL_YOLO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_photos_and_labels(tmp_path: Path) -> None:
    dataset = make(tmp_path, {"train": {"b": [(1, 20, 10, 60, 50)], "a": []}})
    a, b = dataset.images("train")
    assert (a.name, b.name) == ("a.png", "b.png")
    assert dataset.names == ("cow", "calf")
    np.testing.assert_allclose(dataset.labels(b).xyxy, [[20, 10, 60, 50]], atol=1e-3)
    assert len(dataset.labels(a)) == 0


def test_ignored_regions_stand_apart(tmp_path: Path) -> None:
    dataset = make(tmp_path, {"train": {"a": [(0, 0, 0, 10, 10)]}})
    (tmp_path / "ignore/train").mkdir(parents=True)
    (tmp_path / "ignore/train/a.txt").write_text("-1 0.5 0.5 1 1\n")
    labels = dataset.labels(dataset.images("train")[0])
    assert labels.class_id.tolist() == [0, -1]
    assert labels.ignore.tolist() == [False, True]


@pytest.mark.parametrize("place", ["variable/herd", "variable", "beside", "current"])
def test_where_a_relative_root_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    root = {
        "variable/herd": tmp_path / "store" / "herd",
        "variable": tmp_path / "store",
        "beside": tmp_path / "yamls" / "herd",
        "current": tmp_path / "data" / "herd",
    }[place]
    make(root, {"train": {"a": []}})
    if place.startswith("variable"):
        monkeypatch.setenv("DEAL_YOLO_DATA", str(tmp_path / "store"))
    yaml = tmp_path / "yamls" / "herd.yaml"
    yaml.parent.mkdir(exist_ok=True)
    yaml.write_text("path: herd\ntrain: images/train\nnames: [cow, calf]\n")
    dataset = load_dataset(yaml)
    assert dataset.root == root
    assert len(dataset.images("train")) == 1


def test_a_path_that_begins_with_a_dot_is_not_taken_for_another_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("other", "own"):
        make(tmp_path / name, {"train": {name: []}})
    (tmp_path / "configs").mkdir()
    yaml = tmp_path / "configs" / "own.yaml"
    yaml.write_text("path: ../own\ntrain: images/train\nnames: {0: cow, 1: calf}\n")
    monkeypatch.setenv("DEAL_YOLO_DATA", str(tmp_path / "other"))
    assert [image.stem for image in load_dataset(yaml).images("train")] == ["own"]


def test_missing_data_say_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("path: herd\ntrain: images\nnames: [cow]\n")
    with pytest.raises(DatasetError, match="set DEAL_YOLO_DATA to their folder, or 'path'"):
        load_dataset(tmp_path / "a.yaml")


def test_a_split_that_the_yaml_lacks(tmp_path: Path) -> None:
    dataset = make(tmp_path, {"train": {"a": []}})
    with pytest.raises(DatasetError, match="no split 'test'.*use one of train"):
        dataset.images("test")
    with pytest.raises(DatasetError, match="no split 'names'"):
        dataset.images("names")


def test_an_empty_split(tmp_path: Path) -> None:
    dataset = make(tmp_path, {"train": {"a": []}})
    dataset.images("train")[0].unlink()
    with pytest.raises(DatasetError, match="has no photos"):
        dataset.images("train")


@pytest.mark.parametrize("entry", ["../elsewhere", "/etc", "images/../../elsewhere"])
def test_a_split_outside_the_root_is_refused(tmp_path: Path, entry: str) -> None:
    root = tmp_path / "herd"
    make(root, {"train": {"a": []}})
    (tmp_path / "elsewhere").mkdir()
    yaml = root / "b.yaml"
    yaml.write_text(f"train: images/train\nval: {entry}\nnames: [cow]\n")
    with pytest.raises(DatasetError, match="outside"):
        load_dataset(yaml).images("val")


@pytest.mark.parametrize("line", ["../secret.png", "/etc/passwd.png", "images/../../secret.png"])
def test_a_listed_photo_outside_the_root_is_refused(tmp_path: Path, line: str) -> None:
    root = tmp_path / "herd"
    make(root, {"train": {"a": []}})
    write_photo(tmp_path / "secret.png", noise(9, 9))
    (root / "train.txt").write_text(f"images/train/a.png\n{line}\n")
    (root / "data.yaml").write_text("train: train.txt\nnames: [cow]\n")
    with pytest.raises(DatasetError, match=r"train.txt, line 2: .*outside"):
        load_dataset(root / "data.yaml").images("train")


def test_a_listed_photo_that_is_missing_is_named(tmp_path: Path) -> None:
    make(tmp_path, {"train": {"a": []}})
    (tmp_path / "train.txt").write_text("./images/train/a.png\nimages/train/b.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cow]\n")
    with pytest.raises(DatasetError, match=r"line 2: .*b.png is missing"):
        load_dataset(tmp_path / "data.yaml").images("train")


@pytest.mark.parametrize("name", ["9" * 400, "a\\0b"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    make(tmp_path, {"train": {"a": []}})
    (tmp_path / "train.txt").write_text(f"{name}.png\n".replace("\\0", "\0"))
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cow]\n")
    with pytest.raises(DatasetError, match="train.txt, line 1: .* is missing"):
        load_dataset(tmp_path / "data.yaml").images("train")
    (tmp_path / "long.yaml").write_text(f"path: {'y' * 400}\ntrain: {'x' * 400}\nnames: [cow]\n")
    with pytest.raises(DatasetError, match="set DEAL_YOLO_DATA"):
        load_dataset(tmp_path / "long.yaml")


def test_roboflows_paths_are_read(tmp_path: Path) -> None:
    write_photo(tmp_path / "train/images/a.jpg", noise(20, 20))
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cow']\n"
        "roboflow: {workspace: w, version: 1}\n"
    )
    dataset = load_dataset(tmp_path / "data.yaml")
    assert [p.name for p in dataset.images("train")] == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("train: a\nnames: [cow]\nnmaes: 1", "unknown key 'nmaes'"),
        ("train: a", "'names' is missing"),
        ("names: [cow]", "one of train, val and test"),
        ("train: a\nnames: {0: cow, 2: calf}", "from 0 on"),
        ("train: a\nnames: []", "from 0 on"),
        ("train: a\nnames: [1, 2]", "must be of type str"),
        ("train: a\nnames: {a: cow}", "must be of type int"),
        ("train: a\nnc: 3\nnames: [cow]", "nc is 3"),
        ("train: [a, b]\nnames: [cow]", "must be of type str"),
        ("train: a\nnames: [cow]\ntile: {size: 3}", "size must be between"),
        ("train: a\nnames: [cow]\ntile: {scales: [1, 1]}", "different numbers"),
        ("- a", "key: value"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_yaml_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"a.yaml.*{why}"):
        read_data_config(tmp_path / "a.yaml")


def test_a_class_that_is_not_named(tmp_path: Path) -> None:
    dataset = make(tmp_path, {"train": {"a": [(7, 0, 0, 9, 9)]}})
    with pytest.raises(DatasetError, match=r"a.txt, line 1: class 7, but only 2 have names"):
        dataset.labels(dataset.images("train")[0])


@pytest.mark.parametrize("file", sorted((configs_folder() / "data").glob("*.yaml")), ids=str)
def test_shipped_yamls_say_where_the_data_come_from(file: Path) -> None:
    config = read_data_config(file)
    assert config.source and config.licence and config.split


def test_the_elephant_seal_windows_are_as_documented() -> None:
    config = read_data_config(configs_folder() / "data" / "elephant-seals.yaml")
    assert config.tile == TileConfig()
    assert list(config.names.values()) == ["pup", "cow", "bull", "other"]
