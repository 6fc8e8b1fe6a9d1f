from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.infer.backends.base import FloatArray, load_backend
from deal_yolo.infer.backends.onnx import OnnxBackend
from deal_yolo.infer.detector import load_detector
from tests.infer.graph import metadata, save_graph
from tests.infer.scene import scene


def test_a_dynamic_graph_takes_any_batch_and_size(tmp_path: Path) -> None:
    backend = load_backend(save_graph(tmp_path / "a.onnx"), threads=1)
    assert (backend.input_size, backend.batch_size) == (None, None)
    assert backend.metadata == metadata()
    for batch, height, width in ((1, 64, 64), (3, 32, 128)):
        output = backend(np.zeros((batch, 3, height, width), np.float32))
        assert output.shape == (batch, height * width // 64, 6)
        assert output.dtype == np.float32


@pytest.mark.parametrize("threads, alone", [(1, 0), (2, 4), (3, 3), (8, 0)])
def test_a_batch_runs_side_by_side_with_the_same_boxes_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, alone: int
) -> None:
    images = np.random.default_rng(0).random((5, 3, 32, 64), np.float32)
    fixed = load_backend(save_graph(tmp_path / "fixed.onnx", (5, 3, 32, 64)), threads)
    backend = load_backend(save_graph(tmp_path / "a.onnx"), threads)
    assert isinstance(backend, OnnxBackend)
    runs: list[tuple[bool, int]] = []
    run = OnnxBackend._run

    def noted(self: OnnxBackend, session: object, batch: FloatArray) -> FloatArray:
        runs.append((session is self._session, len(batch)))
        return run(self, session, batch)

    monkeypatch.setattr(OnnxBackend, "_run", noted)
    want = fixed(images)
    assert runs == [(True, 5)]
    assert not np.array_equal(want[0], want[1])
    assert np.array_equal(backend(images), want)
    assert sorted(runs[1:]) == [(False, 1)] * alone + [(True, 1)] * (5 - alone)


def test_nan_in_a_batch_is_refused(tmp_path: Path) -> None:
    backend = load_backend(save_graph(tmp_path / "a.onnx"), threads=2)
    images = np.zeros((4, 3, 32, 64), np.float32)
    images[1] = np.nan
    with pytest.raises(WeightsError, match=r"a\.onnx"):
        backend(images)


def test_a_fixed_graph_says_so(tmp_path: Path) -> None:
    backend = load_backend(save_graph(tmp_path / "a.onnx", (2, 3, 64, 96)))
    assert (backend.input_size, backend.batch_size) == ((64, 96), 2)
    fixed_batch = load_backend(save_graph(tmp_path / "b.onnx", (1, 3, "h", "w")))
    assert (fixed_batch.input_size, fixed_batch.batch_size) == (None, 1)


def test_boxes_and_scores_are_those_of_the_graph(tmp_path: Path) -> None:
    found = load_detector(save_graph(tmp_path / "a.onnx"), conf=0.9)([scene([(16, 24, 8)], 64, 64)])
    assert found[0].xyxy.tolist() == [[12, 20, 28, 36]]
    assert found[0].score == pytest.approx(250 / 255, abs=1e-3)
    assert found[0].class_id.tolist() == [0]


def test_other_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="unknown kind of weights '.pt', known are"):
        load_backend(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="no such weights file"):
        load_backend(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"text")
    with pytest.raises(WeightsError, match="not a usable ONNX file"):
        load_backend(tmp_path / "a.onnx")
    path = save_graph(tmp_path / "b.onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="no deal_yolo metadata"):
        load_backend(path)


def test_a_file_with_nan_is_refused_where_it_would_find_nothing(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "a.onnx")
    model = onnx.load(path)
    damaged = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    values = np.full(tuple(damaged.dims), np.nan, np.float32)
    damaged.CopyFrom(onnx.numpy_helper.from_array(values, damaged.name))
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="not finite: export it again"):
        load_backend(path)(np.zeros((1, 3, 64, 64), np.float32))


def test_a_class_count_that_does_not_fit_its_names_is_refused(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "a.onnx", meta=metadata(("a", "b", "c")))
    with pytest.raises(WeightsError, match="2 class scores but names 3 classes"):
        load_backend(path)


def test_a_graph_of_another_form_is_refused(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="not a graph made by 'deal-yolo export'"):
        load_backend(path)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no device 'tpu'"):
        load_backend(save_graph(tmp_path / "a.onnx"), device="tpu")
