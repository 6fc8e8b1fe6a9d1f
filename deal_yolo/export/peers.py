"""Peers to compare with: ultralytics' own models, untrained, in ultralytics' own export.

Speed does not depend on the weights, so nothing is downloaded: the model is built from the YAML
file inside the package.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort

from deal_yolo.errors import ConfigError, require
from deal_yolo.infer.backends.base import FloatArray
from deal_yolo.infer.backends.onnx import session_options


def export_peer(name: str, folder: Path, nc: int, imgsz: int, batch: int) -> Path:
    """Export a peer as its makers do, to ONNX with all dimensions fixed.

    Args:
        name: such as ``yolov8n``, ``yolo11n``, ``yolo26n``.
        folder: where to write the file.
        nc: number of classes.
        imgsz: side in px of the input.
        batch: images in a run.

    Raises:
        ConfigError: ultralytics has no such model.
        MissingExtraError: ultralytics is not installed.
    """
    ultralytics = require("ultralytics", "train")
    require("onnx", "train")
    from ultralytics.nn.tasks import DetectionModel

    if not re.fullmatch(r"yolo(v\d+|\d+)[nsmlx]", name):
        raise ConfigError(f"no peer '{name}': give names such as yolov8n, yolo11n, yolo26n")
    try:
        wrapper = ultralytics.YOLO(f"{name}.yaml", task="detect")
    except FileNotFoundError as error:
        raise ConfigError(f"ultralytics {ultralytics.__version__} has no '{name}'") from error
    settings = wrapper.model.args
    wrapper.model = DetectionModel(f"{name}.yaml", nc=nc, verbose=False)
    wrapper.model.args, wrapper.model.task = settings, "detect"
    wrapper.model.names = {i: str(i) for i in range(nc)}
    wrapper.model.pt_path = str(folder / f"{name}.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own affair
        return Path(wrapper.export(format="onnx", imgsz=imgsz, batch=batch, device="cpu"))


def load_peer(file: Path, threads: int | None) -> Callable[[FloatArray], Any]:
    """Open a peer's file in ONNX Runtime, with the settings that our own files get."""
    session = ort.InferenceSession(
        str(file), session_options(threads), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})
