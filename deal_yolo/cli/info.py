"""``deal-yolo info``."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deal_yolo.errors import require


def info(
    model: Annotated[str, typer.Option(help="Name such as deal-yolo, deal-yolo-s, or a YAML.")],
    nc: Annotated[int | None, typer.Option(min=1, help="Number of classes.")] = None,
    imgsz: Annotated[int, typer.Option(min=32, help="Side in px for the operations.")] = 640,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a model's parameters, operations and strides."""
    require("ultralytics", "train")
    from deal_yolo.model.network import build_model
    from deal_yolo.model.summary import summarise

    values = {"model": model, **dataclasses.asdict(summarise(build_model(model, nc), imgsz))}
    if as_json:
        typer.echo(json.dumps(values))
        return
    table = Table(show_header=False)
    for key, value in values.items():
        table.add_row(key, f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)
