from pathlib import Path
from typing import Any

import pytest
import torch

from deal_yolo.errors import ConfigError
from deal_yolo.model.checkpoint import load_model
from deal_yolo.model.network import DealModel, build_model, model_config
from tests.export.weights import pictures, save_lively


def parameters(name: str) -> int:
    return sum(p.numel() for p in build_model(name, 4).parameters())


def test_ultralytics_own_yamls_are_found_by_name() -> None:
    assert parameters("yolov8n.yaml") == parameters("yolov8n") == 3_011_628
    assert parameters("yolo11n.yaml") == 2_590_620
    assert build_model("yolov8n-p2.yaml", 4).stride.tolist() == [4, 8, 16, 32]


def test_a_users_yaml_may_have_blocks_of_ultralytics(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "nc: 3\nscales: {n: [0.5, 0.25, 1024]}\n"
        "backbone: [[-1, 1, Conv, [64, 3, 2]], [-1, 2, C3k2, [128, false]]]\n"
        "head: [[-1, 1, nn.Upsample, [null, 2, nearest]], [[1, 2], 1, Detect, [nc]]]\n"
    )
    model = build_model(file)
    assert type(model.model[1]).__name__ == "C3k2"
    assert model.stride.tolist() == [2, 1]


def test_a_stock_model_is_loaded_and_exported_as_ours_are(tmp_path: Path) -> None:
    from deal_yolo.export.onnx import export_onnx
    from deal_yolo.infer.backends.base import load_backend

    weights = save_lively("yolo11n.yaml", tmp_path / "w.safetensors", imgsz=128)
    assert load_model(weights)[1].model["scale"] == "n"
    onnx = load_backend(export_onnx(weights, tmp_path / "w.onnx"))
    images = pictures(1, 128, 128).numpy()
    want, have = load_backend(weights)(images), onnx(images)
    assert want.shape == have.shape == (1, 336, 8)
    torch.testing.assert_close(torch.from_numpy(have), torch.from_numpy(want), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["yolo26n.yaml", "yolov10n.yaml", "yolo11n-seg.yaml"])
def test_other_heads_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"end-to-end head|last row must be Detect"):
        build_model(name, 4)


@pytest.mark.parametrize("module", ["torch_safe_load", "TorchVision", "nn.init", "Nonsense", 3])
def test_only_layers_are_let_in(module: Any) -> None:
    config = model_config("yolo11n.yaml", 4)
    config["backbone"][1] = [-1, 1, module, ["weights.pt"]]
    with pytest.raises(ConfigError, match=f"row 1 .*{module}"):
        DealModel(config)


def test_code_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "nc: 3\nactivation: print('run')\nbackbone: [[-1, 1, C3k2, [64]]]\n"
        "head: [[[0], 1, Detect, [nc]]]\n"
    )
    with pytest.raises(ConfigError, match="is code"):
        build_model(file)
