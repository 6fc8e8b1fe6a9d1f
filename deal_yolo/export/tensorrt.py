"""TensorRT engines, built where TensorRT is; elsewhere the command that builds them there."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deal_yolo.errors import DealYoloError, WeightsError
from deal_yolo.infer.backends.tensorrt import import_tensorrt, sidecar
from deal_yolo.metadata import Metadata

# TopK of TensorRT takes fewer than this.
MOST_DETECTIONS = 3839


@dataclass(frozen=True)
class EngineConfig:
    """How an engine is built.

    Args:
        batch: most images in a batch; an engine takes from 1 to as many.
        workspace_mib: device memory that the builder may use for one layer, in MiB.
        timing_cache: file that keeps the builder's measurements for the next build.
    """

    batch: int = 8
    workspace_mib: int = 1024
    timing_cache: Path | None = None


def tensorrt_is_installed() -> bool:
    """Whether engines can be built here."""
    return importlib.util.find_spec("tensorrt") is not None


def trtexec_line(
    onnx: Path, out: Path, imgsz: int, config: EngineConfig, fixed: bool = False
) -> str:
    """The shell line that builds the same engine with TensorRT's own tool on the device.

    Args:
        onnx: the file to build from.
        out: the engine.
        imgsz: side of the input in px.
        config: as for `build_engine`.
        fixed: the file takes one batch only.
    """
    batches = {} if fixed else {"min": 1, "opt": 1, "max": config.batch}
    cache = config.timing_cache or out.with_suffix(".timing")
    return shlex.join(
        [
            "trtexec",
            f"--onnx={onnx}",
            f"--saveEngine={out}",
            "--stronglyTyped",
            *(f"--{k}Shapes=images:{n}x3x{imgsz}x{imgsz}" for k, n in batches.items()),
            f"--memPoolSize=workspace:{config.workspace_mib}",
            f"--timingCacheFile={cache}",
        ]
    )


def write_sidecar(engine: Path, metadata: Metadata) -> None:
    """Write the metadata that an engine, also one that ``trtexec`` will build, is run with."""
    sidecar(engine).write_text(json.dumps(metadata.to_strings()), encoding="utf-8")


def build_engine(onnx: Path, out: Path, config: EngineConfig) -> Path:
    """Build an engine for the GPU of this machine.

    The network is strongly typed: each tensor keeps the precision that the ONNX file gives it, so
    coordinates stay FP32 in an FP16 file.

    Args:
        onnx: a file made by `deal_yolo.export.onnx.export_onnx` with ``dynamic="batch"``.
        out: the engine; its metadata goes beside it.
        config: batch, memory, timing cache.

    Raises:
        ConfigError: TensorRT is not installed or is older than version 10.
        WeightsError: it cannot read the file.
        DealYoloError: it cannot build the engine.
    """
    trt = import_tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, logger, network, onnx)
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, config.workspace_mib << 20)
    cache_file = config.timing_cache or out.with_suffix(".timing")
    old = cache_file.read_bytes() if cache_file.is_file() else b""
    cache = settings.create_timing_cache(old)
    settings.set_timing_cache(cache, ignore_mismatch=False)
    _add_profile(builder, settings, network, config.batch)
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise DealYoloError(f"TensorRT could not build {onnx}: its log above says why")
    cache_file.write_bytes(bytes(settings.get_timing_cache().serialize()))
    part = out.with_name(out.name + ".part")
    part.write_bytes(bytes(plan))
    os.replace(part, out)
    return out


def _parse(trt: Any, logger: Any, network: Any, onnx: Path) -> None:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        reason = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise WeightsError(f"TensorRT cannot read {onnx}: {' '.join(str(reason).split())}")


def _add_profile(builder: Any, settings: Any, network: Any, batch: int) -> None:
    """One profile from 1 image to ``batch``, fastest for one, if the batch is free."""
    images = network.get_input(0)
    free, *rest = tuple(images.shape)
    if free != -1:
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(images.name, (1, *rest), (1, *rest), (batch, *rest))
    settings.add_optimization_profile(profile)
