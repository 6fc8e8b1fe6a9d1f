from pathlib import Path

import pytest

from deal_yolo.datasets.check import check_dataset
from deal_yolo.datasets.dataset import Dataset, load_dataset
from deal_yolo.datasets.leaks import source_pattern
from deal_yolo.datasets.split import (
    key_by_column,
    key_by_folder,
    key_by_stem,
    propose,
    write_split,
)
from deal_yolo.errors import ConfigError, DatasetError, OutputError
from tests.datasets.made import make

FLIGHTS = 10


@pytest.fixture
def herd(tmp_path: Path) -> Dataset:
    photos = {
        f"f{flight}/f{flight}_{i}": [(i % 2, 10, 10, 30, 30)]
        for flight in range(FLIGHTS)
        for i in range(4)
    }
    return make(tmp_path / "herd", {"train": photos})


def test_flights_stay_together_and_shares_are_met(herd: Dataset, tmp_path: Path) -> None:
    images = herd.images("train")
    keys = key_by_stem(images, source_pattern(r"^(f\d+)_"))
    proposal = propose(herd, keys, (0.6, 0.2, 0.2))
    sides = {split: {keys[i] for i in found} for split, found in proposal.splits.items()}
    assert {split: len(found) for split, found in sides.items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    assert len(set.union(*sides.values())) == FLIGHTS
    made = load_dataset(write_split(herd, proposal, tmp_path / "split"))
    assert sum(len(made.images(s)) for s in made.splits) == len(images)
    assert check_dataset(made, source_pattern(r"^(f\d+)_")).errors == 0
    assert len(made.labels(made.images("val")[0])) == 1


def test_groups_that_look_the_same_are_joined(herd: Dataset) -> None:
    images = herd.images("train")
    (herd.root / "images/train/f9/f9_0.png").write_bytes(
        (herd.root / "images/train/f0/f0_0.png").read_bytes()
    )
    proposal = propose(herd, key_by_folder(images))
    (side,) = {s for s, found in proposal.splits.items() for i in found if i.parent.name == "f0"}
    assert {i.parent.name for i in proposal.splits[side]} >= {"f0", "f9"}
    assert (proposal.keys, proposal.joined) == (FLIGHTS, 1)


def test_every_split_gets_a_group_however_few_there_are(tmp_path: Path) -> None:
    herd = make(tmp_path, {"train": {f"{k}/{i}": [] for k in "abc" for i in range(k == "a" or 9)}})
    proposal = propose(herd, key_by_folder(herd.images("train")))
    assert [len(found) > 0 for found in proposal.splits.values()] == [True] * 3


def test_too_few_groups(herd: Dataset) -> None:
    keys = dict.fromkeys(herd.images("train"), "one")
    with pytest.raises(DatasetError, match="cannot fill 3 splits"):
        propose(herd, keys)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.5, -0.5, 0)])
def test_wrong_shares(herd: Dataset, shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        propose(herd, key_by_folder(herd.images("train")), shares)


def test_keys_from_a_table(herd: Dataset, tmp_path: Path) -> None:
    images = herd.images("train")
    table = tmp_path / "flights.csv"
    table.write_text("image,day\n" + "".join(f"x/{i.name},{i.name[1]}\n" for i in images))
    assert key_by_column(images, table, "day")[images[-1]] == str(FLIGHTS - 1)
    with pytest.raises(DatasetError, match="columns 'image' and 'hour'"):
        key_by_column(images, table, "hour")
    table.write_text("image,day\nf0_0.png,1\n")
    with pytest.raises(DatasetError, match="no 'day' for f0_1.png"):
        key_by_column(images, table, "day")
    with pytest.raises(DatasetError, match="cannot read"):
        key_by_column(images, tmp_path / "none.csv", "day")


def test_a_name_that_the_expression_does_not_match(herd: Dataset) -> None:
    with pytest.raises(DatasetError, match="does not match 'f0_0'"):
        key_by_stem(herd.images("train"), source_pattern("(x)"))


def test_a_folder_in_use_is_not_touched(herd: Dataset, tmp_path: Path) -> None:
    proposal = propose(herd, key_by_folder(herd.images("train")))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        write_split(herd, proposal, tmp_path / "used")
