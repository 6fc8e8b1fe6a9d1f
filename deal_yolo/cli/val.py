"""``deal-yolo val``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deal_yolo.errors import WeightsError, require


def val(
    weights: Annotated[Path, typer.Option(help="Weights, .safetensors.")],
    data: Annotated[str, typer.Option(help="Data YAML, or the name of a shipped one.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    imgsz: Annotated[int | None, typer.Option(help="Side in px; default: as trained.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score weights on the windows of a split with ultralytics' validator."""
    require("ultralytics", "train")
    if weights.suffix != ".safetensors":
        raise WeightsError(f"{weights}: val takes .safetensors; for other files use deal-yolo eval")
    from deal_yolo.cli.quiet import quiet_ultralytics
    from deal_yolo.train.validate import validate

    with quiet_ultralytics(as_json):
        rows = validate(weights, data, split, imgsz, batch)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    table = Table("class", "images", "objects", "P", "R", "mAP50", "mAP50-95")
    for row in rows:
        figures = (row.precision, row.recall, row.map50, row.map50_95)
        table.add_row(row.name, str(row.images), str(row.objects), *(f"{f:.3f}" for f in figures))
    Console().print(table)
