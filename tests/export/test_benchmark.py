import numpy as np
import pytest

from deal_yolo.errors import ConfigError
from deal_yolo.export.benchmark import WARM_UP, BenchmarkConfig, benchmark, interleave
from deal_yolo.export.onnx import export_onnx
from deal_yolo.export.peers import export_peer, load_peer
from tests.export.weights import save_lively


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("b")
    weights = save_lively("deal-yolo", folder / "w.safetensors", 64)
    fixed = export_onnx(weights, folder / "fixed.onnx", dynamic=False, max_detections=50)
    return export_onnx(weights, folder / "w.onnx", max_detections=50), weights, fixed


def test_networks_take_turns():
    order = []
    runs = [lambda x, n=n: order.append(n) for n in "ab"]
    times = interleave(runs, np.zeros((1, 3, 8, 8), np.float32), range(3))
    assert "".join(order) == "a" * WARM_UP + "b" * WARM_UP + "ababab"
    assert [len(t) for t in times] == [3, 3]


def test_ratios_are_to_the_first_row_round_by_round(files, monkeypatch):
    clock = iter([1.0, 3.0, 2.0, 5.0, 10.0, 20.0] + [1.0] * 40)  # the last round is a slow one
    monkeypatch.setattr("deal_yolo.export.benchmark._time", lambda function: next(clock))
    result = benchmark(BenchmarkConfig(files[:2], threads=1, rounds=3))
    first, second = result.rows
    assert (first.name, first.backend, first.ratio) == ("w.onnx", "onnxruntime", 1.0)
    assert (second.backend, second.median_ms, second.min_ms) == ("torch", 5.0, 3.0)
    assert second.ratio == 2.5
    assert (result.imgsz, result.batch, result.threads) == (64, 1, 1)


@pytest.mark.parametrize(
    ("number", "settings"), [(2, {"imgsz": 96}), (2, {"batch": 2}), (0, {"imgsz": 100})]
)
def test_a_shape_that_a_file_does_not_take_is_refused(files, number, settings):
    with pytest.raises(ConfigError):
        benchmark(BenchmarkConfig((files[number],), rounds=1, **settings))


@pytest.mark.parametrize("name", ["resnet50", "yolov8n.pt", "../yolov8n", "yolo99n"])
def test_an_unknown_peer_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="yolo|resnet"):
        export_peer(name, tmp_path, 4, 64, 1)
    assert not list(tmp_path.iterdir())


def test_a_peer_has_our_classes_size_and_batch(tmp_path):
    file = export_peer("yolov8n", tmp_path, 4, 64, 2)
    assert file.parent == tmp_path
    (output,) = load_peer(file, 1)(np.zeros((2, 3, 64, 64), np.float32))
    assert output.shape == (2, 8, 84)
