"""``deal-yolo benchmark``: how long a run of the network takes, beside its peers."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deal_yolo.cli.quiet import quiet_ultralytics
from deal_yolo.errors import require

if TYPE_CHECKING:
    from deal_yolo.export.benchmark import Benchmark


def benchmark(
    weights: Annotated[str, typer.Option(help="One or more files, by commas.")],
    against: Annotated[
        str, typer.Option(help="Peers by commas: yolov8n, yolo11n, yolo26n and the like.")
    ] = "",
    imgsz: Annotated[
        int | None, typer.Option(min=1, help="Side in px of the input; default: the weights' own.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in a run.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; they take turns.")] = 30,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Measure runs of the network, in turns; a ratio is to the first row, round by round."""
    from deal_yolo.export.benchmark import BenchmarkConfig
    from deal_yolo.export.benchmark import benchmark as run

    console = Console(stderr=True)
    config = BenchmarkConfig(
        weights=tuple(Path(name) for name in _names(weights)),
        against=tuple(_names(against)),
        imgsz=imgsz,
        batch=batch,
        threads=threads,
        rounds=rounds,
    )
    if config.against:
        require("ultralytics", "train")  # sets its log's level when it is imported
    with quiet_ultralytics():
        result = run(config, lambda r: track(r, "measuring", console=console, transient=True))
    if json:
        typer.echo(json_module.dumps(dataclasses.asdict(result)))
    else:
        Console().print(_table(result))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _table(result: Benchmark) -> Table:
    threads = "default" if result.threads is None else str(result.threads)
    table = Table(
        title=f"{result.device}, {threads} threads, {result.batch} x {result.imgsz} px",
        caption=f"a 1920 x 1080 frame: {result.preprocess_ms:.1f} ms before, "
        f"{result.postprocess_ms:.1f} ms after the first row's network",
    )
    table.add_column("network")
    table.add_column("backend")
    for heading in ("median ms", "least ms", "ratio"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        table.add_row(
            row.name, row.backend, f"{row.median_ms:.1f}", f"{row.min_ms:.1f}", f"{row.ratio:.2f}"
        )
    return table
