"""``deal-yolo eval``: score strategies, or the predictions of other tools, by one protocol."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from deal_yolo.config import find_config


def evaluate(
    data: Annotated[str, typer.Option(help="Data YAML, or the name of a shipped one.")],
    weights: Annotated[
        Path | None, typer.Option(help="Model; not needed with kept predictions.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to score on.")] = "test",
    strategy: Annotated[
        str | None,
        typer.Option(
            help="By commas: whole, sliced, two-stage, sahi, ultralytics; settings after a colon, "
            "e.g. two-stage:max_windows=4 or two-stage:paper. Default: whole."
        ),
    ] = None,
    imgsz: Annotated[
        int | None, typer.Option(help="Px at which a photo (sliced: a window) is seen.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Folder to keep predictions in, or COCO json of any tool to score."),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(help="Split that gives score thresholds and corrected counts, e.g. val."),
    ] = None,
    score_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least score for P, R and counts; default: the weights'."),
    ] = None,
    bins: Annotated[
        str, typer.Option(help="Size bins: aitod, coco, or inner bounds in px such as 16,32.")
    ] = "aitod",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples for the intervals.")] = 1000,
    flight: Annotated[
        str | None,
        typer.Option(
            help="Resample flights in place of photos: 'folder', or a regular expression whose "
            "group 1 is the flight in a file name. Default: the data YAML's 'flight'."
        ),
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(help="Folder for a PNG sheet of the worst mistakes.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for the figures; - prints them.")] = None,
) -> None:
    """Score strategies, or predictions of other tools, on the photos of a split."""
    from deal_yolo.cli.quiet import quiet_ultralytics
    from deal_yolo.datasets.dataset import load_dataset
    from deal_yolo.evaluate.evaluation import CalibrationSplit, Options
    from deal_yolo.evaluate.evaluation import evaluate as score
    from deal_yolo.evaluate.gallery import write_galleries
    from deal_yolo.evaluate.predictions import write_json
    from deal_yolo.evaluate.run import Runner, gather
    from deal_yolo.evaluate.split import load_splits
    from deal_yolo.evaluate.table import tables

    options = Options(bins, score_threshold, bootstrap, flight=flight)
    splits = load_splits(load_dataset(find_config("data", data)), split, calibrate)
    other = predictions if predictions and predictions.suffix == ".json" else None
    runner = Runner(weights, imgsz, threads, None if other else predictions, _progress)
    with quiet_ultralytics():
        found = gather(splits, strategy, runner, other)
    result = score(splits[0], found[0], options, *map(CalibrationSplit, splits[1:], found[1:]))

    if json == Path("-"):
        typer.echo(json_module.dumps(result.as_json(), indent=2))
    elif json is not None:
        write_json(json, result.as_json(), indent=2)
    if gallery is not None:
        write_galleries(gallery, result)
    Console(stderr=json == Path("-")).print(tables(result))


def _progress(images: Iterable[Path], what: str) -> Iterable[Path]:
    return track(images, what, console=Console(stderr=True))
