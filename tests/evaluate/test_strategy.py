from pathlib import Path

import pytest

from deal_yolo.config import RefineConfig, SliceConfig
from deal_yolo.errors import ConfigError
from deal_yolo.evaluate.strategy import StrategyName, WholeConfig, parse_strategies
from deal_yolo.infer.detector import load_detector
from deal_yolo.infer.refine import TwoStage


def settings(text: str, imgsz: int | None = None) -> object:
    return StrategyName.parse(text).settings(RefineConfig(high=0.7), imgsz)


def test_settings_come_from_the_weights_then_a_file_then_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text("window: 320\n")
    assert settings("two-stage") == RefineConfig(high=0.7)
    assert settings("two-stage:max_windows=4") == RefineConfig(high=0.7, max_windows=4)
    assert settings(f"two-stage:{file}+low=0.1") == RefineConfig(window=320, low=0.1)
    assert settings(f"sliced:{file}") == SliceConfig(window=320)
    assert settings("sahi:window=640+overlap=0") == SliceConfig(window=640, overlap=0)
    assert settings("whole:imgsz=1280") == WholeConfig(1280)
    assert isinstance(settings("two-stage:default"), RefineConfig)


def test_the_image_size_means_what_it_means_to_predict() -> None:
    assert settings("whole", 1280) == WholeConfig(1280)
    assert settings("two-stage", 1280) == RefineConfig(high=0.7, first_imgsz=1280)
    assert settings("sliced", 1280) == SliceConfig(window_imgsz=1280)


@pytest.mark.parametrize(
    "text",
    ["tiled", "", "two-stage:nothing", "two-stage:windows=3", "sliced:overlap=2", "whole:imgsz=a"],
)
def test_what_is_unknown_or_wrong_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        StrategyName.parse(text)


def test_strategies_are_built_over_a_detector(weights: Path) -> None:
    detector = load_detector(weights)
    whole, two_stage = parse_strategies("whole:imgsz=128, two-stage:max_windows=3")
    assert whole.build(detector, None).imgsz == 128
    built = two_stage.build(detector, None)
    assert isinstance(built, TwoStage)
    assert built.config.max_windows == 3
    assert built.config.window == detector.metadata.refine.window


def test_the_file_name_is_safe() -> None:
    assert (
        StrategyName.parse("sliced:window=640+overlap=0").file_stem == "sliced-window=640-overlap=0"
    )
