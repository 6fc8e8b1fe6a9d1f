from pathlib import Path

import pytest

from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.evaluate.split import Split, load_split
from tests.evaluate.made import save_dataset
from tests.infer.graph import save_graph


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return save_dataset(tmp_path / "data")


@pytest.fixture
def split(data: Path) -> Split:
    return load_split(load_dataset(data), "test")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "squares.onnx")
