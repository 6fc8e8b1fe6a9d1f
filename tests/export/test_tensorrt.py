import gc
import importlib.util
import shlex
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from deal_yolo.errors import ConfigError, DealYoloError, MissingExtraError, WeightsError
from deal_yolo.export.onnx import export_onnx
from deal_yolo.export.tensorrt import EngineConfig, build_engine, trtexec_line, write_sidecar
from deal_yolo.infer.backends.base import load_backend
from deal_yolo.infer.backends.tensorrt import sidecar
from deal_yolo.model.checkpoint import read_metadata
from tests.export.fake_tensorrt import Cuda, make_tensorrt
from tests.export.weights import pictures, save_lively


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    weights = save_lively("deal-yolo", folder / "w.safetensors", 64)
    return export_onnx(weights, folder / "w.onnx", dynamic="batch", max_detections=50)


@pytest.fixture
def trt(monkeypatch):
    fake = make_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return fake


@pytest.fixture
def cuda(monkeypatch):
    fake = Cuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    return fake


@pytest.fixture
def engine(trt, onnx_file, tmp_path) -> Path:
    out = build_engine(onnx_file, tmp_path / "w.engine", EngineConfig(batch=3))
    write_sidecar(out, read_metadata(onnx_file.with_suffix(".safetensors")))
    return out


def test_building_types_the_network_strongly_and_takes_one_to_batch_images(trt, engine):
    settings = trt.made.settings
    assert trt.made.flags == 1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert settings.pools == {trt.MemoryPoolType.WORKSPACE: 1024 << 20}
    (profile,) = settings.profiles
    assert profile.shapes == {"images": ((1, 3, 64, 64), (1, 3, 64, 64), (3, 3, 64, 64))}


def test_the_timing_cache_is_kept_for_the_next_build(trt, engine, onnx_file):
    assert engine.with_suffix(".timing").read_bytes() == b"t"
    build_engine(onnx_file, engine, EngineConfig())
    assert engine.with_suffix(".timing").read_bytes() == b"tt"


def test_a_file_that_tensorrt_cannot_read_is_refused(trt, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(WeightsError, match="not a model"):
        build_engine(tmp_path / "no.onnx", tmp_path / "no.engine", EngineConfig())
    assert not (tmp_path / "no.engine").exists()


def test_an_old_or_missing_tensorrt_is_named(monkeypatch, onnx_file, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt("8.6.2"))
    with pytest.raises(ConfigError, match=r"8\.6\.2 is too old"):
        build_engine(onnx_file, tmp_path / "w.engine", EngineConfig())
    monkeypatch.delitem(sys.modules, "tensorrt")
    if importlib.util.find_spec("tensorrt") is None:
        with pytest.raises(ConfigError, match="JetPack"):
            build_engine(onnx_file, tmp_path / "w.engine", EngineConfig())


def test_the_trtexec_line_asks_for_the_same_engine():
    line = trtexec_line(Path("a b.onnx"), Path("out.engine"), 640, EngineConfig(batch=4))
    words = shlex.split(line)
    assert words[0] == "trtexec"
    assert "--onnx=a b.onnx" in words
    assert "--stronglyTyped" in words
    assert "--maxShapes=images:4x3x640x640" in words
    fixed = trtexec_line(Path("a.onnx"), Path("a.engine"), 640, EngineConfig(), fixed=True)
    assert "Shapes" not in fixed


def test_an_engine_gives_the_boxes_of_its_onnx_file_at_any_batch(engine, cuda, onnx_file):
    backend = load_backend(engine)
    assert backend.metadata.names == ("pup", "cow", "bull", "other")
    assert backend.input_size == (64, 64)
    assert backend.batch_size is None
    session = ort.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    for batch in (1, 3, 5):
        images = pictures(batch, 64, 64, seed=batch).numpy()
        want = session.run(None, {"images": images})[0]
        np.testing.assert_allclose(backend(images), want, atol=1e-3)
    assert backend(np.zeros((0, 3, 64, 64), np.float32)).shape == (0, 50, 8)


def test_memory_is_taken_once_and_given_back(engine, cuda):
    backend = load_backend(engine)
    taken = cuda.log.count("malloc")
    first = backend(np.zeros((2, 3, 64, 64), np.float32))
    assert cuda.log[-3:] == ["up", "down", "synchronize"]
    kept = first.copy()
    backend(np.ones((2, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(first, kept)  # a result is not overwritten by the next run
    assert cuda.log.count("malloc") == taken == 4
    del backend
    gc.collect()
    assert not cuda.live
    assert cuda.log[-1] == "destroy"


def test_an_engine_without_its_metadata_is_refused(engine, cuda):
    sidecar(engine).unlink()
    with pytest.raises(WeightsError, match=r"w\.engine\.json beside it"):
        load_backend(engine)


def test_an_engine_of_another_machine_is_refused(engine, cuda):
    engine.write_bytes(b"other")
    with pytest.raises(WeightsError, match="build it on this machine"):
        load_backend(engine)


def test_failures_of_cuda_and_of_the_run_are_told(engine, cuda, monkeypatch):
    backend = load_backend(engine)
    backend._context.fails = True
    with pytest.raises(DealYoloError, match="could not run"):
        backend(np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(ConfigError, match="takes"):
        backend(np.zeros((1, 3, 32, 64), np.float32))
    cuda.broken = True
    with pytest.raises(DealYoloError, match="cudaErrorInsufficientDriver"):
        load_backend(engine)


def test_missing_cuda_python_is_named(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(MissingExtraError, match=r"deal-yolo\[jetson\]"):
        load_backend(engine)
