"""``deal-yolo data``: convert, check, describe and cut data sets."""

from __future__ import annotations

import json as json_module
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from deal_yolo.cli.console import print_rows, progress
from deal_yolo.config import find_config
from deal_yolo.errors import ConfigError

if TYPE_CHECKING:
    from deal_yolo.datasets.check import Report
    from deal_yolo.datasets.dataset import Dataset

Form = Literal["waid", "bucktales", "visdrone", "coco", "voc", "yolo"]
Target = Literal["yolo", "coco"]
NAMED = 10  # problems of a kind that the table names

app = typer.Typer(help="Read, check, describe and cut data sets.", no_args_is_help=True)

DataOption = Annotated[str, typer.Option("--data", help="Data YAML, or the name of a shipped one.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to make.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@app.command()
def convert(
    src: Annotated[Path, typer.Argument(help="Folder (or json, YAML file) to read.")],
    dst: Annotated[Path, typer.Argument(help="Folder to make.")],
    form: Annotated[Form, typer.Option("--from", help="Form of the source.")],
    to: Annotated[Target, typer.Option("--to", help="Form to write.")] = "yolo",
    classes: Annotated[
        Path | None, typer.Option(help='YAML of "old name: new name"; "*" is all others.')
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Link photos in place of copying.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Of a video, take every N-th frame.")] = 1,
    json: JsonOption = False,
) -> None:
    """Convert a data set; photos are linked or copied as they are."""
    from deal_yolo.datasets import convert as library

    source = library.read_source(form, src, every)
    if classes is not None:
        source = library.map_classes(source, library.read_class_map(classes))
    with progress("converting") as report:
        made = library.convert(source, to, dst, link, lambda done: report(done, None))
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    if json:
        typer.echo(json_module.dumps(asdict(made) | {"out": str(made.out)}, indent=2))
        return
    print_rows([{"split": split, "photos": count} for split, count in made.photos.items()])
    print_rows(
        [{"class": name, "objects": count} for name, count in made.objects.items()]
        + [{"class": "(ignored)", "objects": made.ignored}]
    )
    typer.echo(f"in {made.out}", err=True)


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
    with progress("cutting") as report:
        made = tile_dataset(dataset, out, config, _words(splits), workers, report)
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
    print_rows(rows, {"data": str(made), "rows": rows} if json else None)


@app.command()
def check(
    data: DataOption,
    sheet: Annotated[Path | None, typer.Option(help="PNG of the worst to write.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Regular expression: group 1 is the source in a file name.")
    ] = None,
    split_by: Annotated[
        str | None, typer.Option(help="Propose a split: stem-regex, folder or column.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="For --split-by: the expression, or TABLE.csv:COLUMN.")
    ] = None,
    shares: Annotated[
        str, typer.Option(help="For --split-by: of train, val, test.")
    ] = "0.7,0.15,0.15",
    out: Annotated[Path | None, typer.Option(help="For --split-by: folder to make.")] = None,
    json: JsonOption = False,
) -> None:
    """Find broken photos, wrong labels and leaks between splits; status 2 if there are errors."""
    from deal_yolo.datasets.check import check_dataset
    from deal_yolo.datasets.dataset import load_dataset
    from deal_yolo.datasets.leaks import source_pattern
    from deal_yolo.datasets.worst import write_sheet

    dataset = load_dataset(find_config("data", data))
    if split_by is not None:
        _split(dataset, split_by, key, _numbers(shares) or (), out)
        return
    pattern = None if source is None else source_pattern(source)
    with progress("looking") as tell:
        report = check_dataset(dataset, pattern, tell)
    if sheet is not None:
        drawn = write_sheet(dataset, report, sheet)
        typer.echo(f"{drawn} photos in {sheet}" if drawn else "no photo to show", err=True)
    if json:
        problems = [{**asdict(p), "level": p.level} for p in report.problems]
        figures = {"images": report.images, "errors": report.errors, "warnings": report.warnings}
        typer.echo(json_module.dumps({**figures, "problems": problems}, indent=2))
    else:
        _print_report(report)
    if report.errors:
        raise typer.Exit(2)


def _print_report(report: Report) -> None:
    counts = Counter(p.kind for p in report.problems)
    table = Table("level", "kind", "split", Column("file", overflow="fold"), "detail")
    named: Counter[str] = Counter()
    for p in report.problems:
        named[p.kind] += 1
        if named[p.kind] <= NAMED:
            table.add_row(p.level, p.kind, p.split, p.file, p.detail)
        elif named[p.kind] == NAMED + 1:
            more = f"and {counts[p.kind] - NAMED} more (--json names all)"
            table.add_row(p.level, p.kind, "", "", more)
    console = Console()
    if report.problems:
        console.print(table)
    console.print(f"{report.images} photos, {report.errors} errors, {report.warnings} warnings")


def _split(
    dataset: Dataset, by: str, key: str | None, shares: tuple[float, ...], out: Path | None
) -> None:
    from deal_yolo.datasets import split
    from deal_yolo.datasets.leaks import source_pattern

    images = sorted({image for name in dataset.splits for image in dataset.images(name)})
    table, _, column = (key or "").rpartition(":")
    if out is None:
        raise ConfigError("--split-by needs --out, the folder to make")
    if by == "folder":
        keys = split.key_by_folder(images)
    elif by == "stem-regex" and key:
        keys = split.key_by_stem(images, source_pattern(key))
    elif by == "column" and table:
        keys = split.key_by_column(images, Path(table), column)
    else:
        raise ConfigError(
            "--split-by is 'folder', 'stem-regex' with --key REGEX, or 'column' with "
            "--key TABLE.csv:COLUMN"
        )
    with progress("looking") as tell:
        proposal = split.propose(dataset, keys, shares, tell)
    made = split.write_split(dataset, proposal, out)
    print_rows([{"split": name, "photos": len(found)} for name, found in proposal.splits.items()])
    typer.echo(f"{proposal.keys} groups, {proposal.joined} joined to others; use {made}", err=True)


@app.command()
def stats(
    data: DataOption,
    imgsz: Annotated[int, typer.Option(help="Side at which photos are seen whole, px.")] = 640,
    splits: Annotated[str | None, typer.Option(help="By commas; default: all.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for PNG figures.")] = None,
    json: JsonOption = False,
) -> None:
    """Count, measure, and say which image size, windows and NWD constant fit."""
    from deal_yolo.datasets.dataset import load_dataset
    from deal_yolo.datasets.stats import collect, describe

    dataset = load_dataset(find_config("data", data))
    objects = collect(dataset, _words(splits) if splits else None)
    figures = describe(objects, imgsz)
    if plots is not None:
        from deal_yolo.datasets.plots import write_plots

        for path in write_plots(objects, plots):
            typer.echo(str(path), err=True)
    if json:
        typer.echo(json_module.dumps(asdict(figures), indent=2))
        return
    print_rows(
        [
            {
                "split": split,
                "photos": figures.photos[split],
                "empty": figures.empty[split],
                "objects": sum(counts.values()),
                **counts,
            }
            for split, counts in figures.objects.items()
        ]
    )
    print_rows([{f"{p} % under": f"{v:.0f} px" for p, v in figures.size_px.items()}])
    print_rows(
        [{f"under {limit} px": f"{share:.1%}" for limit, share in figures.under.items()}],
        title=f"seen whole at {imgsz} px",
    )
    for sentence in figures.advice:
        typer.echo(sentence)


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


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(t) for t in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a list of numbers such as 1.0,0.5") from error
