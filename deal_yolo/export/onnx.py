"""ONNX files that carry their own metadata, and the proof that they give the model's boxes."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from deal_yolo.errors import ConfigError, WeightsError, require
from deal_yolo.export.graph import export_form, halve
from deal_yolo.metadata import Metadata
from deal_yolo.model.checkpoint import load_model, sha256
from deal_yolo.model.network import DealModel

OPSET = 17
INPUT, OUTPUT = "images", "detections"


def export_onnx(
    weights: Path,
    out: Path,
    *,
    imgsz: int | None = None,
    batch: int = 1,
    dynamic: bool | Literal["batch"] = True,
    half: bool = False,
    max_detections: int = 1000,
) -> Path:
    """Write the weights as an ONNX file.

    Its input ``images`` is ``(b, 3, h, w)`` RGB in [0, 1], its output ``detections``
    ``(b, K, 4 + nc)``: left, top, right, bottom in px of the input, then class scores, best
    first. Both are FP32.

    Args:
        weights: a ``.safetensors`` file.
        out: the file to write.
        imgsz: side in px of the input; None is that of the weights. In a dynamic file only the
            size that is written into the metadata.
        batch: number of images in a fixed file.
        dynamic: any batch and any size that is a multiple of the largest stride; ``"batch"`` is
            any batch of one size.
        half: compute in FP16 but for coordinates, scores and boxes.
        max_detections: K; fewer where an image has fewer anchors.

    Raises:
        WeightsError: the weights are damaged or hold values that are not finite.
        ConfigError: the size, batch or K is impossible.
        MissingExtraError: onnx is not installed.
    """
    model, metadata = load_model(weights)
    _refuse_nonfinite(model, weights)
    imgsz = imgsz or metadata.imgsz
    if imgsz % max(metadata.strides) or imgsz <= 0:
        raise ConfigError(f"imgsz {imgsz} must be a multiple of {max(metadata.strides)}")
    if batch < 1 or max_detections < 1:
        raise ConfigError(f"batch ({batch}) and max_detections ({max_detections}) must be positive")
    metadata = dataclasses.replace(
        metadata, imgsz=imgsz, sha256=sha256(weights), max_detections=max_detections
    )
    form = export_form(model, max_detections, fixed_size=dynamic is not True)
    part = out.with_name(out.name + ".part")
    if half:
        halve(form)
    trace(form, part, (batch, 3, imgsz, imgsz), dynamic)
    finish(part, metadata, fixed_size=dynamic is not True)
    os.replace(part, out)
    return out


def trace(
    model: nn.Module,
    out: Path,
    shape: tuple[int, int, int, int],
    dynamic: bool | Literal["batch"],
) -> None:
    """Write the plain graph of an export form for an input of ``shape``."""
    require("onnx", "train")
    axes = {INPUT: {0: "batch", 2: "height", 3: "width"}, OUTPUT: {0: "batch", 1: "anchors"}}
    if dynamic == "batch":
        axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter is the one that keeps this graph as it is written; torch calls it
        # legacy, warns of its own internals, and of shapes that are numbers on purpose.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", message="Constant folding")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(shape),),
            out,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes=axes if dynamic else None,
            dynamo=False,
        )


def finish(path: Path, metadata: Metadata, fixed_size: bool) -> None:
    """Simplify the graph in a file, write down its output's shape, and put the metadata in."""
    onnx = require("onnx", "train")
    onnxslim = require("onnxslim", "train")
    graph = onnxslim.slim(onnx.load(path))
    graph.producer_name = "deal-yolo"
    shape = graph.graph.output[0].type.tensor_type.shape
    shape.dim[2].dim_value = 4 + len(metadata.names)
    if fixed_size:
        anchors = sum((metadata.imgsz // stride) ** 2 for stride in metadata.strides)
        shape.dim[1].dim_value = min(metadata.max_detections, anchors)
    onnx.helper.set_model_props(graph, metadata.to_strings())
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _refuse_nonfinite(model: DealModel, weights: Path) -> None:
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{weights}: {name} holds values that are not finite")
