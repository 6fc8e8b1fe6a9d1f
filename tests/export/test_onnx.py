import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.export.check import compare
from deal_yolo.export.onnx import export_onnx
from deal_yolo.metadata import Metadata
from deal_yolo.model.checkpoint import load_model, read_metadata, save_model, sha256
from deal_yolo.model.network import EndToEnd
from tests.export.weights import NAMES, pictures, save_lively

MODELS = ("deal-yolo", "deal-yolo-ld", "deal-yolo-edge", "yolov8n")


@pytest.fixture(scope="session", params=MODELS)
def weights(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return save_lively(request.param, folder / f"{request.param}.safetensors", 128)


def run(path: Path, images: torch.Tensor) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["detections"], {"images": images.numpy()})[0]


def reference(path: Path, images: torch.Tensor, keep: int = 1000) -> np.ndarray:
    model, _ = load_model(path)
    with torch.no_grad():
        return EndToEnd(model, keep)(images).numpy()


def assert_same_boxes(got: np.ndarray, want: np.ndarray) -> None:
    for one, other in zip(got, want, strict=True):
        assert (np.diff(one[:, 4:].max(1)) <= 0).all()  # best first
        compared, box_px, score = compare(other, one)
        assert compared > 10
        assert box_px < 0.05
        assert score < 1e-3


def test_a_dynamic_file_takes_any_batch_and_size_and_gives_the_models_boxes(weights, tmp_path):
    out = export_onnx(weights, tmp_path / "a.onnx")
    for shape in ((1, 96, 96), (3, 64, 96)):
        images = pictures(*shape, seed=7)
        got, want = run(out, images), reference(weights, images)
        assert got.dtype == np.float32
        assert got.shape == want.shape
        assert len(got[0]) < 1000  # fewer anchors than K: all of them
        assert_same_boxes(got, want)


def test_a_fixed_file_has_its_shape_written_down(weights, tmp_path):
    out = export_onnx(
        weights, tmp_path / "a.onnx", imgsz=96, batch=2, dynamic=False, max_detections=120
    )
    graph = onnx.load(out).graph
    shapes = [
        [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]
    assert shapes == [[2, 3, 96, 96], [2, 120, 4 + len(NAMES)]]
    images = pictures(2, 96, 96, seed=7)
    assert_same_boxes(run(out, images), reference(weights, images, 120))


def test_metadata_travels_in_the_file(weights, tmp_path):
    out = export_onnx(weights, tmp_path / "a.onnx", max_detections=300)
    values = {p.key: p.value for p in onnx.load(out).metadata_props}
    got, want = Metadata.from_strings(values, "a.onnx"), read_metadata(weights)
    assert got.names == NAMES
    assert got.refine == want.refine
    assert got.sha256 == sha256(weights)
    assert got.max_detections == 300
    assert json.loads(values["deal_yolo"])["strides"] == list(want.strides)


@pytest.mark.parametrize("settings", [{"imgsz": 100}, {"batch": 0}, {"max_detections": 0}])
def test_an_impossible_setting_is_refused(weights, tmp_path, settings):
    with pytest.raises(ConfigError):
        export_onnx(weights, tmp_path / "a.onnx", **settings)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(weights, tmp_path):
    model, metadata = load_model(weights)
    model.model[0].conv.weight.data[0] = float("nan")
    save_model(model, metadata, tmp_path / "nan.safetensors")
    with pytest.raises(WeightsError, match=r"model\.0\.conv\.weight"):
        export_onnx(tmp_path / "nan.safetensors", tmp_path / "a.onnx")


def tensorrt_operators() -> set[str]:
    lines = Path(__file__).with_name("tensorrt_operators.txt").read_text().splitlines()
    return {name for line in lines if not line.startswith("#") for name in line.split()}


@pytest.mark.parametrize("settings", [{}, {"dynamic": "batch", "half": True}, {"dynamic": False}])
def test_tensorrt_lists_every_operator(weights, tmp_path, settings):
    graph = onnx.load(export_onnx(weights, tmp_path / "a.onnx", **settings))
    assert {node.op_type for node in graph.graph.node} <= tensorrt_operators()
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx"}
    assert graph.opset_import[0].version >= 17
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input)}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    for node in inferred.node:
        if node.op_type in {"Clip", "Floor"}:
            assert kinds.get(node.input[0]) in floats, node.name


def test_a_file_of_one_size_takes_any_batch(weights, tmp_path):
    out = export_onnx(weights, tmp_path / "a.onnx", imgsz=96, dynamic="batch", max_detections=120)
    images = pictures(3, 96, 96, seed=7)
    assert_same_boxes(run(out, images), reference(weights, images, 120))
