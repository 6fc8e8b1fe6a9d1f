"""``deal-yolo train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deal_yolo.config import find_config, load
from deal_yolo.errors import require

CHECKED = 16  # validation windows that the exported file is checked on


def train(
    model: Annotated[str, typer.Option(help="Name such as deal-yolo, or a YAML.")] = "deal-yolo",
    data: Annotated[str, typer.Option(help="Data YAML, or the name of a shipped one.")] = "",
    recipe: Annotated[str, typer.Option(help="Name of configs/train, or a YAML.")] = "default",
    epochs: Annotated[int | None, typer.Option(help="Passes over the windows.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side in px of a window as seen.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows a step.")] = None,
    device: Annotated[str, typer.Option(help="cpu, 0, or 0,1; default: the best there is.")] = "",
    optimizer: Annotated[str | None, typer.Option(help="AdamW, SGD, SOAP, Muon, ...")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Weights to start from: .safetensors or .pt.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Weights of a larger model to learn from: .safetensors.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/MODEL-DATA.")] = None,
) -> None:
    """Train a model; ends with best.safetensors and best.onnx, checked against each other."""
    require("ultralytics", "train")
    from deal_yolo.cli.quiet import quiet_ultralytics
    from deal_yolo.export.check import check_onnx
    from deal_yolo.export.onnx import export_onnx
    from deal_yolo.train import run as runs
    from deal_yolo.train.settings import Run, TrainConfig

    console = Console(stderr=True)
    folder = out or Path("runs") / f"{Path(model).stem}-{Path(data).stem or 'data'}"
    if resume:
        prepared = Run.load(folder.resolve())
    else:
        if not data:
            raise typer.BadParameter("say which data set: --data YAML")
        config = runs.with_options(
            load(TrainConfig, find_config("train", recipe)),
            epochs=epochs,
            imgsz=imgsz,
            batch=batch,
            optimizer=optimizer,
            seed=seed,
            teacher=None if teacher is None else str(teacher),
        )
        prepared = runs.prepare(
            runs.Request(model, data, folder, config, device=device, pretrained=pretrained)
        )
    with quiet_ultralytics(silent=False):
        result = runs.train(prepared, resume)
    if result.taken:
        console.print(f"{pretrained}: {result.taken}", highlight=False)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in result.metrics.items())
    console.print(f"best weights, of epoch {result.epoch}: {figures} on the validation windows")
    onnx = export_onnx(result.best, result.best.with_suffix(".onnx"))
    report = check_onnx(onnx, result.best, runs.validation_images(prepared)[:CHECKED])
    console.print(
        f"{onnx}: {report.boxes} boxes of {report.images} inputs within {report.box_px:.2g} px and "
        f"{report.score:.2g} of the weights' own",
        highlight=False,
    )
