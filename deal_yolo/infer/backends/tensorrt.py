"""TensorRT, without PyTorch: buffers are allocated once, copies and runs share one CUDA stream."""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.errors import ConfigError, DealYoloError, WeightsError, require
from deal_yolo.infer.backends.base import FloatArray, refuse_nonfinite
from deal_yolo.metadata import Metadata

INPUT, OUTPUT = "images", "detections"


def import_tensorrt() -> Any:
    """The ``tensorrt`` module.

    Raises:
        ConfigError: it is not installed, or is older than version 10.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "TensorRT is not installed: on a Jetson it comes with JetPack "
            "(apt install python3-libnvinfer), on a PC pip install tensorrt"
        ) from error
    if int(trt.__version__.partition(".")[0]) < 10:
        raise ConfigError(f"TensorRT {trt.__version__} is too old: 10 or later is needed")
    return trt


def sidecar(engine: Path) -> Path:
    """The file beside an engine that holds its metadata: an engine has no place for them."""
    return engine.with_name(engine.name + ".json")


class Buffer:
    """Memory for one tensor, on the host (page-locked, so copies need no detour) and the device.

    Args:
        cuda: ``cuda.bindings.runtime``.
        shape: of the largest tensor it has to hold; FP32.
    """

    def __init__(self, cuda: Any, shape: tuple[int, ...]) -> None:
        size = 4 * math.prod(shape)
        self.device: int = call(cuda, cuda.cudaMalloc, size)
        address: int = call(cuda, cuda.cudaHostAlloc, size, cuda.cudaHostAllocDefault)
        self._free = weakref.finalize(self, _free, cuda, self.device, address)
        self.host: FloatArray = _array_at(address, shape)


def _array_at(address: int, shape: tuple[int, ...]) -> FloatArray:
    memory: Any = (ctypes.c_float * math.prod(shape)).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)


def _free(cuda: Any, device: int, host: int) -> None:
    cuda.cudaFree(device)
    cuda.cudaFreeHost(host)


def call(cuda: Any, function: Callable[..., Any], *args: Any) -> Any:
    """The result of a CUDA function, which gives its status first.

    Raises:
        DealYoloError: the status is an error.
    """
    status, *results = function(*args)
    if status != cuda.cudaError_t.cudaSuccess:
        raise DealYoloError(f"CUDA failed: {function.__name__} gave {status.name}")
    return results[0] if results else None


class TensorRtBackend:
    """An engine made by ``deal-yolo export --format tensorrt``, or by the line that it prints.

    Args:
        path: the ``.engine`` file, with its metadata beside it. An engine is a program: run only
            those you built.

    Raises:
        ConfigError: TensorRT is not installed or too old.
        MissingExtraError: cuda-python is not installed.
        WeightsError: the metadata is missing, or the engine was built for another machine.
        DealYoloError: CUDA fails.
    """

    def __init__(self, path: Path) -> None:
        self.metadata = _read_metadata(path)
        self._path = path
        trt = import_tensorrt()
        self._cuda = require("cuda.bindings.runtime", "jetson")
        logger = trt.Logger(trt.Logger.WARNING)
        # Kept, because the engine does not outlive the runtime.
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise WeightsError(
                f"{path} was built for another GPU or TensorRT than {trt.__version__}: "
                "build it on this machine"
            )
        self._context = self._engine.create_execution_context()
        free, _, height, width = self._engine.get_tensor_shape(INPUT)
        self.input_size: tuple[int, int] | None = (height, width)
        self.batch_size: int | None = None if free == -1 else free
        self._most = self._engine.get_tensor_profile_shape(INPUT, 0)[2][0] if free == -1 else free
        rows, columns = tuple(self._engine.get_tensor_shape(OUTPUT))[1:]
        self._input = Buffer(self._cuda, (self._most, 3, height, width))
        self._output = Buffer(self._cuda, (self._most, rows, columns))
        self._stream = call(self._cuda, self._cuda.cudaStreamCreate)
        self._end = weakref.finalize(self, self._cuda.cudaStreamDestroy, self._stream)
        self._context.set_tensor_address(INPUT, self._input.device)
        self._context.set_tensor_address(OUTPUT, self._output.device)

    def __call__(self, batch: FloatArray) -> FloatArray:
        """See `deal_yolo.infer.backends.base.Backend`; larger batches are run in parts."""
        if batch.shape[2:] != self.input_size:
            raise ConfigError(f"this engine takes {self.input_size} px, not {batch.shape[2:]}")
        parts = [self._run(batch[i : i + self._most]) for i in range(0, len(batch), self._most)]
        return np.concatenate(parts) if parts else np.array(self._output.host[:0])

    def _run(self, batch: FloatArray) -> FloatArray:
        cuda, n = self._cuda, len(batch)
        kinds = cuda.cudaMemcpyKind
        np.copyto(self._input.host[:n], batch)
        self._context.set_input_shape(INPUT, batch.shape)
        self._copy(self._input.device, self._input.host, n, kinds.cudaMemcpyHostToDevice)
        if not self._context.execute_async_v3(self._stream):
            raise DealYoloError("TensorRT could not run the engine: its log above says why")
        self._copy(self._output.device, self._output.host, n, kinds.cudaMemcpyDeviceToHost)
        call(cuda, cuda.cudaStreamSynchronize, self._stream)
        return refuse_nonfinite(np.array(self._output.host[:n]), self._path)

    def _copy(self, device: int, host: FloatArray, n: int, kind: Any) -> None:
        """Copy the first ``n`` images' share of a buffer, in the order of the stream."""
        address, size = host.ctypes.data, host[:n].nbytes
        upwards = kind == self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        target, source = (device, address) if upwards else (address, device)
        cuda = self._cuda
        call(cuda, cuda.cudaMemcpyAsync, target, source, size, kind, self._stream)


def _read_metadata(path: Path) -> Metadata:
    beside = sidecar(path)
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path} needs {beside.name} beside it, which export writes: copy both"
        ) from error
    except ValueError as error:
        raise WeightsError(f"{beside} is damaged: export again") from error
    return Metadata.from_strings(values if isinstance(values, dict) else {}, str(beside))
