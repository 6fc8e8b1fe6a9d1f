"""``deal-yolo export``: weights as an ONNX file or a TensorRT engine."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deal_yolo.errors import require

if TYPE_CHECKING:
    from deal_yolo.export.quantize import Quality, QuantizeReport
    from deal_yolo.export.run import Exported


def export(
    weights: Annotated[Path, typer.Option(help="A .safetensors file.")],
    format: Annotated[
        Literal["onnx", "tensorrt"], typer.Option(help="onnx, or tensorrt for an engine.")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: beside the weights.")
    ] = None,
    imgsz: Annotated[
        int | None, typer.Option(min=1, help="Side in px of the input; default: the weights' own.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images: of a fixed file (1), or most of an engine (8)."),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option(help="Take any batch and size (onnx); an engine takes any batch.")
    ] = True,
    half: Annotated[bool, typer.Option("--half", help="Compute in FP16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="INT8, if it loses little.")] = False,
    calib: Annotated[
        str | None, typer.Option(help="Labelled data set for INT8: YAML, or a shipped name.")
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Write the INT8 file however much it loses.")
    ] = False,
    max_detections: Annotated[int, typer.Option(min=1, help="Boxes an image.")] = 1000,
    check: Annotated[
        Path | None, typer.Option(help="Folder of photos on which the boxes must be the same.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Write weights as an ONNX file or a TensorRT engine, and check its boxes on photos."""
    require("torch", "train")
    from deal_yolo.export.quantize import LossError
    from deal_yolo.export.run import ExportConfig
    from deal_yolo.export.run import export as run

    console = Console(stderr=True)
    config = ExportConfig(
        weights=weights,
        format=format,
        out=out,
        imgsz=imgsz,
        batch=batch,
        dynamic=dynamic,
        half=half,
        int8=int8,
        calib=calib,
        accept_loss=accept_loss,
        max_detections=max_detections,
        check=check,
    )
    try:
        result = run(
            config, lambda photos, what: track(list(photos), what, console=console, transient=True)
        )
    except LossError as error:
        console.print(_table(error.report))
        raise
    if json:
        values = {**dataclasses.asdict(result), "files": [str(f) for f in result.files]}
        typer.echo(json_module.dumps(values))
    else:
        _print(result)


def _print(result: Exported) -> None:
    for file in result.files:
        typer.echo(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")
    if result.check is not None:
        typer.echo(
            f"checked {result.check.boxes} boxes on {result.check.images} images: at most "
            f"{result.check.box_px:.2g} px and {result.check.score:.2g} of score apart"
        )
    if result.int8 is not None:
        Console().print(_table(result.int8))
    if result.trtexec is not None:
        typer.echo("TensorRT is not installed here. On the device, in this folder, run:")
        typer.echo(result.trtexec)


def _table(report: QuantizeReport) -> Table:
    table = Table(title="INT8 on the val photos")
    table.add_column("in INT8")
    for heading in ("convolutions", "AP50", "AP under 16 px", ""):
        table.add_column(heading, justify="right")
    table.add_row("nothing", "0", *_figures(report.before))
    for part in report.parts:
        kept = "kept in FP32" if part.kept else ""
        table.add_row(part.part, str(part.convolutions), *_figures(part.quality), kept)
    quantized = sum(part.convolutions for part in report.parts if not part.kept)
    table.add_row("the file", str(quantized), *_figures(report.after))
    return table


def _figures(quality: Quality) -> tuple[str, str]:
    small = "none" if quality.ap_small is None else f"{quality.ap_small:.1f}"
    return f"{quality.ap50:.1f}", small
