import dataclasses
from pathlib import Path

import pytest
import torch

from deal_yolo.config import configs_folder, find_config, load
from deal_yolo.errors import ConfigError
from deal_yolo.model.network import model_config
from deal_yolo.train.engine import ema_decay, mean_object_size
from deal_yolo.train.precision import autocast_dtype
from deal_yolo.train.run import with_options
from deal_yolo.train.settings import Run, TrainConfig

RECIPES = sorted(
    p.stem for p in (configs_folder() / "train").glob("*.yaml") if "augment" not in p.stem
)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_load(name: str) -> None:
    load(TrainConfig, find_config("train", name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imgsz: 650", "multiple of 32"),
        ("epochs: 0", "epochs must be between"),
        ("loss: {iou: giou}", "iou must be one of"),
        ("ultralytics: {epochs: 3}", "'epochs' is set outside"),
        ("ema_steps: 0", "ema_steps must be between"),
        ("surprise: 1", "unknown key 'surprise'"),
        ("optimizer: SOAPY", "optimizer must be one of AdamW"),
        ("batch: many", "batch must be of type int"),
    ],
)
def test_wrong_recipes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load(TrainConfig, path)
    assert str(path) in str(error.value)


def test_past_its_steps_the_moving_average_forgets_old_weights() -> None:
    average = 0.0
    for update in range(1, 101):  # ones, then zeros from the eleventh on
        kept = ema_decay(10, update)
        average = kept * average + (1 - kept) * (update <= 10)
        if update == 10:
            assert average == pytest.approx(1)
    assert average == pytest.approx(0.9**90)


def test_options_take_the_place_of_the_recipes_values() -> None:
    config = with_options(TrainConfig(epochs=7), imgsz=64, epochs=None)
    assert (config.epochs, config.imgsz) == (7, 64)
    with pytest.raises(ConfigError):
        with_options(config, imgsz=65)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = Run(
        out=tmp_path,
        model=model_config("deal-yolo-ld", 3),
        model_name="deal-yolo-ld",
        data=Path("a.yaml"),
        windows=Path("b.yaml"),
        names=("x", "y", "z"),
        config=TrainConfig(epochs=3, ultralytics={"mosaic": 0.0}),
        pretrained=Path("w.safetensors"),
    )
    run.save()
    assert Run.load(tmp_path) == run
    alone = dataclasses.replace(run, pretrained=None)
    alone.save()
    assert Run.load(tmp_path) == alone


def test_a_missing_or_damaged_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training run"):
        Run.load(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        Run.load(tmp_path)


def test_precision() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("fp32", cpu) is None
    assert autocast_dtype("bf16", cpu) is torch.bfloat16
    assert autocast_dtype("auto", cpu) in (None, torch.bfloat16)
    with pytest.raises(ConfigError, match="fp16 needs CUDA"):
        autocast_dtype("fp16", cpu)


def test_mean_object_size_is_in_px_of_the_models_input() -> None:
    # 10 x 40 px and 20 x 20 px in a photo of 100 x 200, seen at 100 px.
    record = {"shape": (100, 200), "bboxes": [[0.5, 0.5, 0.05, 0.4], [0.5, 0.5, 0.1, 0.2]]}
    assert mean_object_size([record], 100) == pytest.approx((10 + 10) / 2)
    assert mean_object_size([{"shape": (9, 9), "bboxes": []}], 64) == 12.8
