from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deal_yolo.boxes import iou
from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.export.onnx import export_onnx
from deal_yolo.infer import TwoStage, load_detector
from deal_yolo.infer.backends.base import load_backend
from deal_yolo.infer.source import read_image
from tests.export.weights import save_lively

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "weights" / "deal-yolo-seals.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lively("deal-yolo", tmp_path_factory.mktemp("torch") / "a.safetensors", 128)


def test_torch_gives_what_the_exported_file_gives(weights: Path, tmp_path: Path) -> None:
    batch = np.random.default_rng(0).random((2, 3, 96, 128), np.float32)
    of_torch = load_backend(weights, threads=1)(batch)
    onnx = export_onnx(weights, tmp_path / "a.onnx", max_detections=3000)
    of_onnx = load_backend(onnx, threads=1)(batch)
    assert of_torch.dtype == np.float32
    assert of_torch.shape == of_onnx.shape
    scores = [np.sort(output[..., 4:].max(axis=2), axis=1) for output in (of_torch, of_onnx)]
    assert np.abs(scores[0] - scores[1]).max() < 0.01


def test_damaged_weights_and_devices_are_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"text")
    with pytest.raises(WeightsError):
        load_backend(tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="cannot use the device 'tpu'"):
        load_backend(weights, device="tpu")


@pytest.mark.skipif(not SHIPPED.exists(), reason="no shipped weights")
def test_shipped_files_find_the_same_animals_in_both_forms() -> None:
    photo = read_image(ROOT / "data" / "sample" / "images" / "MA262989.jpg")
    found = [
        TwoStage(load_detector(path, threads=1))([photo])[0]
        for path in (SHIPPED, SHIPPED.with_suffix(".onnx"))
    ]
    sure = [f.select(f.score >= 0.25) for f in found]
    assert len(sure[0]) == len(sure[1]) > 5
    partner = iou(sure[0].xyxy, sure[1].xyxy).argmax(axis=1)
    assert np.abs(sure[0].xyxy - sure[1].xyxy[partner]).max() < 0.5
    assert np.abs(sure[0].score - sure[1].score[partner]).max() < 0.01
    assert (sure[0].class_id == sure[1].class_id[partner]).all()
