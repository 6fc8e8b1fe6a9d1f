"""``deal-yolo predict``: find animals in photos and footage."""

from __future__ import annotations

import json as json_module
import logging
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deal_yolo.errors import IncompleteError

if TYPE_CHECKING:
    from deal_yolo.infer.pipeline import Summary
    from deal_yolo.infer.predict import Outcome


def predict(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Photos, videos, folders, globs, a camera's number, rtsp:// or http:// addresses, "
            "or a GStreamer pipeline that ends in appsink."
        ),
    ],
    weights: Annotated[Path, typer.Option(help="A .onnx, .safetensors or .engine file.")],
    strategy: Annotated[str, typer.Option(help="whole, sliced or two-stage.")] = "two-stage",
    imgsz: Annotated[
        int | None, typer.Option(help="Px at which a photo (sliced: a window) is seen.")
    ] = None,
    conf: Annotated[
        float | None, typer.Option(help="Least score; default: the weights' own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    save: Annotated[
        str | None, typer.Option(help="Any of images,video,csv,json,coco,yolo.")
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Number the animals of a video and count them.")
    ] = False,
    track_config: Annotated[
        str, typer.Option(help="YAML for tracking, or a shipped name.")
    ] = "default",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run was stopped.")
    ] = False,
    refine: Annotated[
        str | None, typer.Option(help="YAML of the second look, or a shipped name.")
    ] = None,
    max_windows: Annotated[
        int | None, typer.Option(help="Most windows of the second look.")
    ] = None,
    budget_ms: Annotated[float | None, typer.Option(help="Most time for a frame, ms.")] = None,
    every: Annotated[int, typer.Option(help="Each n-th frame of a video.")] = 1,
    from_s: Annotated[float | None, typer.Option("--from", help="First second of a video.")] = None,
    to_s: Annotated[float | None, typer.Option("--to", help="Last second of a video.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds a stream may be silent.")] = 10.0,
    timing: Annotated[bool, typer.Option("--timing", help="Print where the time went.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Find animals, write what was found, and print the counts."""
    from deal_yolo.infer.predict import PredictConfig
    from deal_yolo.infer.predict import predict as run
    from deal_yolo.infer.video import Excerpt

    kinds = None if save is None else tuple(k.strip() for k in save.split(",") if k.strip())
    config = PredictConfig(
        sources=tuple(source),
        weights=weights,
        out=out,
        strategy=strategy,
        save=kinds,
        imgsz=imgsz,
        conf=conf,
        refine=refine,
        max_windows=max_windows,
        budget_ms=budget_ms,
        track=track_config if track else None,
        excerpt=Excerpt(every, from_s, to_s),
        timeout_s=timeout,
        resume=resume,
        threads=threads,
        device=device,
    )
    _silence_libraries()
    console = Console(stderr=True)
    columns = (TextColumn("detecting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("detecting", total=None)
    with bar if console.is_terminal else nullcontext():  # in a file even an idle bar leaves a line
        outcome = run(config, lambda done, total: bar.update(task, completed=done, total=total))
    if json:
        typer.echo(json_module.dumps(_figures(outcome, out)))
    else:
        _print(outcome, out, timing)
    unreadable = outcome.summary.unreadable
    if unreadable:
        raise IncompleteError("not read: " + "; ".join(item.reason for item in unreadable))


def _silence_libraries() -> None:
    """What OpenCV and trackers log about bad input comes as our own one line, or in the results."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("trackers").setLevel(logging.ERROR)


def _figures(outcome: Outcome, out: Path) -> dict[str, Any]:
    summary = outcome.summary
    figures: dict[str, Any] = {
        "frames": summary.frames,
        "counts": dict(summary.counts),
        "unreadable": [vars(item) for item in summary.unreadable],
        "timing": vars(summary.timing),
        "out": str(out),
    }
    if outcome.animals is not None:
        figures["animals"] = dict(Counter(animal.name for animal in outcome.animals))
    return figures


def _print(outcome: Outcome, out: Path, timing: bool) -> None:
    console = Console()
    counts = outcome.summary.counts
    animals = None if outcome.animals is None else Counter(a.name for a in outcome.animals)
    table = Table("class")
    table.add_column("found", justify="right")
    if animals is not None:
        table.add_column("distinct animals", justify="right")
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        table.add_row(name, str(counts[name]), *([] if animals is None else [str(animals[name])]))
    table.add_section()
    table.add_row("all", str(counts.total()), *([] if animals is None else [str(animals.total())]))
    console.print(table)
    if timing:
        console.print(_timing(outcome.summary))
    frames = outcome.summary.frames
    noun = "picture" if frames == 1 else "pictures"
    console.print(f"{frames} {noun}, results in {out}", soft_wrap=True)


def _timing(summary: Summary) -> Table:
    times = summary.timing
    table = Table("stage", title="where the time went")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    rows = {
        "model": times.model,
        "waiting for frames": times.reading,
        "waiting for writing": times.writing,
        "tracking, beside the model": times.track,
        "all": times.wall,
    }
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / max(times.wall, 1e-9):.0%}")
    return table
