"""``deal-yolo predict``: find animals in photos and footage."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deal_yolo.errors import IncompleteError

if TYPE_CHECKING:
    from deal_yolo.infer.pipeline import Summary


def predict(
    source: Annotated[list[str], typer.Argument(help="Photos, folders or globs.")],
    weights: Annotated[Path, typer.Option(help="A .onnx, .safetensors or .engine file.")],
    strategy: Annotated[str, typer.Option(help="whole, sliced or two-stage.")] = "two-stage",
    imgsz: Annotated[
        int | None, typer.Option(help="Px at which a photo (sliced: a window) is seen.")
    ] = None,
    conf: Annotated[
        float | None, typer.Option(help="Least score; default: the weights' own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    save: Annotated[str, typer.Option(help="Any of images,csv,json,coco,yolo.")] = "images,csv",
    refine: Annotated[
        str | None, typer.Option(help="YAML of the second look, or a shipped name.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Find animals, write what was found, and print the counts."""
    from deal_yolo.infer.predict import PredictConfig
    from deal_yolo.infer.predict import predict as run

    config = PredictConfig(
        sources=tuple(source),
        weights=weights,
        out=out,
        strategy=strategy,
        save=tuple(part.strip() for part in save.split(",") if part.strip()),
        imgsz=imgsz,
        conf=conf,
        refine=refine,
        threads=threads,
        device=device,
    )
    console = Console(stderr=True)
    columns = (TextColumn("detecting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("detecting", total=None)
        summary = run(config, lambda done, total: bar.update(task, completed=done, total=total))
    if json:
        typer.echo(json_module.dumps(_figures(summary, out)))
    else:
        Console().print(_table(summary, out))
    if summary.unreadable:
        bad = "; ".join(item.reason for item in summary.unreadable)
        raise IncompleteError(f"{len(summary.unreadable)} not read: {bad}")


def _figures(summary: Summary, out: Path) -> dict[str, Any]:
    return {
        "frames": summary.frames,
        "counts": dict(summary.counts),
        "unreadable": [vars(item) for item in summary.unreadable],
        "out": str(out),
    }


def _table(summary: Summary, out: Path) -> Table:
    table = Table(title=f"{summary.frames} photos, results in {out}")
    table.add_column("class")
    table.add_column("found", justify="right")
    for name, count in summary.counts.most_common():
        table.add_row(name, str(count))
    table.add_section()
    table.add_row("all", str(summary.counts.total()))
    return table
