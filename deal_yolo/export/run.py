"""One export from start to end: the ONNX file, the engine where asked for, and the check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from deal_yolo.config import find_config
from deal_yolo.datasets.images import list_images
from deal_yolo.errors import ConfigError, OutputError, SourceError
from deal_yolo.export.check import CheckReport, check_backends
from deal_yolo.export.gate import Progress, quantize_gated
from deal_yolo.export.onnx import export_onnx
from deal_yolo.export.quantize import QuantizeReport
from deal_yolo.export.tensorrt import (
    MOST_DETECTIONS,
    EngineConfig,
    build_engine,
    tensorrt_is_installed,
    trtexec_line,
    write_sidecar,
)
from deal_yolo.infer.backends.base import load_backend
from deal_yolo.infer.backends.tensorrt import sidecar


@dataclass(frozen=True)
class ExportConfig:
    """What to export.

    Args:
        weights: a ``.safetensors`` file.
        format: ``"onnx"`` or ``"tensorrt"``.
        out: the file to write; None is beside the weights, by their name.
        imgsz: side in px of the input; None is that of the weights.
        batch: images of a fixed file, or most images of a dynamic engine; None is 1 or 8.
        dynamic: any batch; in an ONNX file also any size.
        half: compute in FP16.
        int8: compute most convolutions in INT8.
        calib: labelled data set that INT8 is measured on: a YAML file or a shipped name.
        accept_loss: write the INT8 file even if it loses too much.
        max_detections: boxes an image.
        check: folder of photos on which to compare with the weights.
    """

    weights: Path
    format: Literal["onnx", "tensorrt"] = "onnx"
    out: Path | None = None
    imgsz: int | None = None
    batch: int | None = None
    dynamic: bool = True
    half: bool = False
    int8: bool = False
    calib: str | None = None
    accept_loss: bool = False
    max_detections: int = 1000
    check: Path | None = None

    def __post_init__(self) -> None:
        if self.weights.suffix != ".safetensors":
            raise ConfigError(f"{self.weights}: only .safetensors weights can be exported")
        if self.out is not None and self.out.suffix != self.suffix:
            raise ConfigError(f"{self.out}: a file of format {self.format} ends in {self.suffix}")
        if self.format == "onnx" and self.dynamic and self.batch is not None:
            raise ConfigError("a dynamic ONNX file takes any batch: leave out --batch or --dynamic")
        if self.int8 != (self.calib is not None):
            raise ConfigError("--int8 and --calib go together: INT8 is measured on labelled photos")
        if self.int8 and (self.half or self.check or not self.dynamic):
            raise ConfigError("--int8 goes without --half, --check and --no-dynamic")
        if self.format == "tensorrt" and self.max_detections > MOST_DETECTIONS:
            raise ConfigError(f"TensorRT gives at most {MOST_DETECTIONS} detections an image")

    @property
    def suffix(self) -> str:
        """Ending of the file to write."""
        return ".onnx" if self.format == "onnx" else ".engine"

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.out or self.weights.with_suffix(self.suffix)


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Args:
        files: the files written.
        check: the comparison with the weights, where asked for.
        int8: what INT8 costs, where asked for.
        trtexec: the line that builds the engine, where that could not be done here.
    """

    files: tuple[Path, ...]
    check: CheckReport | None
    int8: QuantizeReport | None
    trtexec: str | None


def export(config: ExportConfig, progress: Progress = lambda photos, _: photos) -> Exported:
    """Write the file or files, and check them.

    Args:
        config: what to export.
        progress: told of the photos as they are checked or scored.

    Raises:
        WeightsError: the weights are damaged.
        LossError: INT8 loses too much.
        ConfigError: settings contradict each other.
        SourceError: the folder to check on holds no photos.
        OutputError: the folder to write to does not exist.
        CheckError: the boxes are not those of the weights.
    """
    # Before the work, so that a wrong path does not cost minutes.
    photos = _photos(config.check) if config.check else []
    if config.calib is not None:
        find_config("data", config.calib)
    if not config.target.parent.is_dir():
        raise OutputError(f"no folder {config.target.parent}: make it first")
    onnx = config.target.with_suffix(".onnx")
    quantized = None
    if config.calib is None:
        _onnx(config, onnx)
    else:
        with TemporaryDirectory() as folder:
            plain = _onnx(config, Path(folder) / onnx.name)
            quantized = quantize_gated(plain, onnx, config.calib, config.accept_loss, progress)
    files, line = ((onnx,), None) if config.format == "onnx" else _engine(config, onnx)
    report = None
    if photos:
        wanted = load_backend(config.weights)
        least = wanted.metadata.score_threshold / 2 if config.half else 0.0
        shown = list(progress(photos, "checking"))
        report = check_backends(wanted, load_backend(files[0]), shown, least)
    return Exported(files, report, quantized, line)


def _photos(folder: Path) -> list[Path]:
    photos = list_images(folder) if folder.is_dir() else []
    if not photos:
        raise SourceError(f"{folder} is not a folder with photos")
    return photos


def _onnx(config: ExportConfig, out: Path) -> Path:
    """The ONNX file; that of an engine takes any batch, but one size."""
    dynamic: bool | Literal["batch"] = config.dynamic
    if config.format == "tensorrt" and dynamic:
        dynamic = "batch"
    return export_onnx(
        config.weights,
        out,
        imgsz=config.imgsz,
        batch=config.batch or 1,
        dynamic=dynamic,
        half=config.half,
        max_detections=config.max_detections,
    )


def _engine(config: ExportConfig, onnx: Path) -> tuple[tuple[Path, ...], str | None]:
    """The engine, or where it cannot be built its ONNX file and the line that builds it."""
    metadata = load_backend(onnx).metadata
    write_sidecar(config.target, metadata)
    beside = sidecar(config.target)
    settings = EngineConfig(config.batch or (8 if config.dynamic else 1))
    if tensorrt_is_installed():
        return (build_engine(onnx, config.target, settings), beside, onnx), None
    names = Path(onnx.name), Path(config.target.name)
    line = trtexec_line(*names, metadata.imgsz, settings, fixed=not config.dynamic)
    return (onnx, beside), line
