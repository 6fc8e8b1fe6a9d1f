"""``deal-yolo data``: convert, check, describe and cut data sets."""

from __future__ import annotations

import json as json_module
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deal_yolo.config import find_config

app = typer.Typer(help="Read, check, describe and cut data sets.", no_args_is_help=True)

DataOption = Annotated[str, typer.Option("--data", help="Data YAML, or the name of a shipped one.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to make.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@app.command()
def tile(
    data: DataOption,
    out: OutOption,
    size: Annotated[int | None, typer.Option(help="Side of a window, px.")] = None,
    scales: Annotated[
        str | None, typer.Option(help="Px of the window for a px of the photo, e.g. 1.0,0.5.")
    ] = None,
    overlap: Annotated[float | None, typer.Option(help="Share common to neighbours.")] = None,
    visible: Annotated[float | None, typer.Option(help="Least visible share of a box.")] = None,
    real: Annotated[float | None, typer.Option(help="Least share of pixels not black.")] = None,
    background: Annotated[
        float | None, typer.Option(help="Share of empty training windows that is kept.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides which of these.")] = None,
    splits: Annotated[str, typer.Option(help="Splits to cut, by commas.")] = "train,val",
    workers: Annotated[int | None, typer.Option(help="Photos at a time; default: cores.")] = None,
    json: JsonOption = False,
) -> None:
    """Cut photos into windows; settings not given come from the YAML's 'tile' block."""
    from deal_yolo.datasets.dataset import TileConfig, load_dataset
    from deal_yolo.datasets.tile import read_manifest, tile_dataset

    dataset = load_dataset(find_config("data", data))
    given: dict[str, Any] = {
        "size": size,
        "scales": _numbers(scales),
        "overlap": overlap,
        "visible": visible,
        "real": real,
        "background": background,
        "seed": seed,
    }
    given = {k: v for k, v in given.items() if v is not None}
    config = replace(dataset.config.tile or TileConfig(), **given)
    with _progress("cutting") as report:
        made = tile_dataset(dataset, out, config, splits.split(","), workers, report)
    windows = read_manifest(made.parent)
    counts = Counter((w.split, w.scale, w.objects > 0) for w in windows)
    objects: Counter[tuple[str, float]] = Counter()
    for w in windows:
        objects[w.split, w.scale] += w.objects
    rows = [
        {
            "split": split,
            "scale": scale,
            "windows": counts[split, scale, True] + counts[split, scale, False],
            "background": counts[split, scale, False],
            "objects": objects[split, scale],
        }
        for split, scale in objects
    ]
    _print(rows, {"data": str(made), "rows": rows} if json else None)


@app.command()
def preview(
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="PNG to write.")],
    augment: Annotated[
        str, typer.Option(help="Augmentation YAML, or the name of a shipped one.")
    ] = "augment-aerial",
    count: Annotated[int, typer.Option(min=1, max=200, help="Windows to show.")] = 12,
    seed: Annotated[int, typer.Option(help="Decides which, and what is done to them.")] = 0,
) -> None:
    """Write a sheet of training windows, each as it is and augmented, with its boxes."""
    from deal_yolo.config import load
    from deal_yolo.datasets.augment import Augmentation, AugmentConfig
    from deal_yolo.datasets.dataset import load_dataset
    from deal_yolo.datasets.preview import preview as make

    dataset = load_dataset(find_config("data", data))
    recipe = find_config("train", augment)
    augmentation = Augmentation(load(AugmentConfig, recipe), seed, str(recipe))
    shown = make(dataset, augmentation, out, count, seed)
    typer.echo(f"{shown} windows in {out}", err=True)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(t) for t in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a list of numbers such as 1.0,0.5") from error


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print(rows: list[dict[str, Any]], as_json: Any = None) -> None:
    if as_json is not None:
        typer.echo(json_module.dumps(as_json, indent=2))
        return
    table = Table(*(rows[0] if rows else ()))
    for row in rows:
        table.add_row(*(f"{v:g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
