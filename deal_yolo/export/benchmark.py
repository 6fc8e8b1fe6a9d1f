"""How long one run of the network takes, side by side.

The rows take turns, one run each a round, so that whatever else the machine does hits all of
them; a ratio is the median over the rounds of a row's time over the first row's time in that round.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from deal_yolo.errors import ConfigError
from deal_yolo.export.peers import export_peer, load_peer
from deal_yolo.infer.backends.base import Backend, FloatArray, load_backend
from deal_yolo.infer.postprocess import to_detections
from deal_yolo.infer.preprocess import letterbox, to_input

Run = Callable[[FloatArray], object]
Progress = Callable[[range], Iterable[int]]
BACKENDS = {".onnx": "onnxruntime", ".safetensors": "torch", ".engine": "tensorrt"}
WARM_UP = 3


@dataclass(frozen=True)
class BenchmarkConfig:
    """What to compare.

    Args:
        weights: files of any backend; ratios are to the first.
        against: peers of ultralytics by name, such as ``yolo11n``.
        imgsz: side in px of the input; None is that of the first weights.
        batch: images in a run.
        threads: CPU threads of each backend; None leaves it to the backend.
        rounds: runs of each row.
    """

    weights: tuple[Path, ...]
    against: tuple[str, ...] = ()
    imgsz: int | None = None
    batch: int = 1
    threads: int | None = None
    rounds: int = 30

    def __post_init__(self) -> None:
        if not self.weights:
            raise ConfigError("give at least one weights file")
        if self.batch < 1 or self.rounds < 1:
            raise ConfigError("batch and rounds must be positive")


@dataclass(frozen=True)
class Row:
    """The times of one network.

    Args:
        name: the file's or the peer's.
        backend: what ran it.
        median_ms: median time of a run.
        min_ms: least time of a run.
        ratio: to the first row, see the module.
    """

    name: str
    backend: str
    median_ms: float
    min_ms: float
    ratio: float


@dataclass(frozen=True)
class Benchmark:
    """All rows, and on what they ran.

    Args:
        device: the processor.
        threads: CPU threads; None where it was left to the backends.
        imgsz: side in px of the input.
        batch: images in a run.
        preprocess_ms: median time to make the input from a frame of 1920 x 1080 px.
        postprocess_ms: median time from the first row's output to boxes, for one image.
        rows: in the order of the weights, then the peers.
    """

    device: str
    threads: int | None
    imgsz: int
    batch: int
    preprocess_ms: float
    postprocess_ms: float
    rows: tuple[Row, ...]


def benchmark(config: BenchmarkConfig, progress: Progress = iter) -> Benchmark:
    """Measure.

    Args:
        config: what to compare.
        progress: told of the rounds.

    Raises:
        WeightsError: a weights file is missing or damaged, or takes another size or batch.
        ConfigError: a peer is unknown.
    """
    backends = [load_backend(path, config.threads) for path in config.weights]
    imgsz = config.imgsz or backends[0].metadata.imgsz
    for path, backend in zip(config.weights, backends, strict=True):
        _refuse_other_shape(path, backend, imgsz, config.batch)
    images = np.random.default_rng(0).random((config.batch, 3, imgsz, imgsz), np.float32)
    kinds = [BACKENDS[path.suffix] for path in config.weights]
    with TemporaryDirectory() as folder:
        runs: list[Run] = list(backends)
        for name in config.against:
            file = export_peer(
                name, Path(folder), len(backends[0].metadata.names), imgsz, config.batch
            )
            runs.append(load_peer(file, config.threads))
        times = interleave(runs, images, progress(range(config.rounds)))
    names = [path.name for path in config.weights] + list(config.against)
    kinds += [f"{BACKENDS['.onnx']} (ultralytics export)"] * len(config.against)
    before, after = _around(backends[0], images, imgsz)
    rows = tuple(map(_row, names, kinds, times, [times[0]] * len(times)))
    return Benchmark(
        platform.processor() or platform.machine(),
        config.threads,
        imgsz,
        config.batch,
        before,
        after,
        rows,
    )


def interleave(runs: Sequence[Run], images: FloatArray, rounds: Iterable[int]) -> list[list[float]]:
    """Times in ms of each network in each round, the networks taking turns."""
    for run in runs:
        for _ in range(WARM_UP):
            run(images)
    times: list[list[float]] = [[] for _ in runs]
    for _ in rounds:
        for run, own in zip(runs, times, strict=True):
            own.append(_time(lambda run=run: run(images)))  # type: ignore[misc]
    return times


def _time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def _row(name: str, backend: str, times: list[float], first: list[float]) -> Row:
    ratio = statistics.median(own / base for own, base in zip(times, first, strict=True))
    return Row(name, backend, statistics.median(times), min(times), ratio)


def _around(backend: Backend, images: FloatArray, imgsz: int) -> tuple[float, float]:
    """Median ms of what comes before and after the network, for one frame."""
    metadata = backend.metadata
    frame = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    box = letterbox((1080, 1920), imgsz, max(metadata.strides), backend.input_size)
    output = backend(images)[0]
    conf, iou = metadata.score_threshold, metadata.refine.nms_iou
    before = [_time(lambda: to_input(frame, box)) for _ in range(20)]
    after = [_time(lambda: to_detections(output, box, conf, iou, 1000)) for _ in range(20)]
    return statistics.median(before), statistics.median(after)


def _refuse_other_shape(path: Path, backend: Backend, imgsz: int, batch: int) -> None:
    if backend.input_size not in (None, (imgsz, imgsz)):
        raise ConfigError(f"{path} takes {backend.input_size} px only, not {imgsz}")
    if imgsz % max(backend.metadata.strides):
        raise ConfigError(f"imgsz {imgsz} must be a multiple of {max(backend.metadata.strides)}")
    if backend.batch_size not in (None, batch):
        raise ConfigError(f"{path} takes batches of {backend.batch_size} only, not {batch}")
