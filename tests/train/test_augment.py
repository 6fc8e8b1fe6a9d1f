"""A recipe's augmentation reaches ultralytics' loader, in place of what it would fight with."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deal_yolo.errors import ConfigError
from deal_yolo.train.engine import DealTrainer, overrides
from deal_yolo.train.run import Request, prepare
from deal_yolo.train.settings import TrainConfig
from tests.datasets.made import make

pytestmark = pytest.mark.filterwarnings("default")

CONFIG = TrainConfig(epochs=1, imgsz=64, batch=2, precision="fp32", augment="augment-aerial")


@pytest.fixture
def yaml(tmp_path: Path) -> str:
    photos = {f"p{i}": [(0, 4, 8, 24, 14)] for i in range(4)}
    herd = make(tmp_path / "data", {"train": photos, "val": {"v": [(0, 4, 8, 24, 14)]}}, (64, 64))
    for image in herd.images("train"):
        picture = np.full((64, 64, 3), 20, np.uint8)
        picture[8:14, 4:24] = 250
        cv2.imwrite(str(image), picture)
    return str(herd.yaml)


def trainer(yaml: str, out: Path, config: TrainConfig = CONFIG) -> DealTrainer:
    return DealTrainer(overrides=overrides(prepare(Request("deal-yolo", yaml, out, config)), False))


def test_settings_that_fight_are_off_and_boxes_follow_the_turns(yaml: str, tmp_path: Path) -> None:
    made = trainer(yaml, tmp_path / "run")
    assert made.args.fliplr == made.args.hsv_v == made.args.scale == 0
    made.setup_model()
    dataset = made.build_dataset(made.data["train"], "train", batch=2)
    dataset.close_mosaic(hyp=made.args)
    sides, levels = set(), []
    for _ in range(30):
        item = dataset[0]
        assert item["img"].shape == (3, 64, 64)
        cx, cy, w, h = (item["bboxes"][0] * 64).tolist()
        sides.add(w > h)
        levels.append(item["img"].float().mean(0)[round(cy), round(cx)].item())
    assert sides == {True, False}  # quarter turns
    assert np.median(levels) > 150  # the box is where the bright patch is


def test_a_wrong_augmentation_is_refused_before_training(yaml: str, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, imgsz=64, augment="none")
    with pytest.raises(ConfigError, match="no train configuration 'none'"):
        trainer(yaml, tmp_path / "run", config)
