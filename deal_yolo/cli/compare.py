"""``deal-yolo compare``: several models and tools by one protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from deal_yolo.config import find_config, load
from deal_yolo.errors import OutputError

if TYPE_CHECKING:
    from deal_yolo.evaluate.compare import Train


def compare(
    run: Annotated[Path, typer.Argument(help="YAML that names data, models and strategies.")],
    out: Annotated[Path, typer.Option(help="Folder for table, plots and predictions.")],
) -> None:
    """Train or take several models, score them alike, write a table and plots.

    Predictions and trained models in the folder are used again.
    """
    from deal_yolo.cli.quiet import quiet_ultralytics
    from deal_yolo.evaluate.compare import CompareConfig
    from deal_yolo.evaluate.compare import compare as score
    from deal_yolo.evaluate.markdown import to_markdown
    from deal_yolo.evaluate.plots import write_plots
    from deal_yolo.evaluate.predictions import write_json, write_text
    from deal_yolo.evaluate.provenance import provenance
    from deal_yolo.evaluate.table import tables

    config = load(CompareConfig, run)
    write_text(out / "run.yaml", run.read_text(encoding="utf-8"))  # fails before the long work
    with quiet_ultralytics(silent=False):
        result = score(config, out / "predictions", _trainer(config.data, out), _progress)
    made = provenance(sys.argv)
    write_json(out / "compare.json", {**result.as_json(), "made": made}, indent=2)
    write_text(out / "compare.md", to_markdown(result, run.stem, made))
    plots = write_plots(result, out)
    console = Console()
    console.print(tables(result.evaluation))
    for line in result.unequal:
        console.print(f"not equal: {line}", highlight=False, markup=False)
    console.print(f"{out / 'compare.md'}, compare.json, {', '.join(p.name for p in plots)}")


def _trainer(data: str, out: Path) -> Train:
    """Trains a model in a folder of its own, goes on with a run begun there, and exports it."""

    def train(name: str, wanted: object) -> Path:
        from deal_yolo.evaluate.compare import TrainRow
        from deal_yolo.export.onnx import export_onnx
        from deal_yolo.train import run as runs
        from deal_yolo.train.settings import FILE, Run, TrainConfig

        assert isinstance(wanted, TrainRow)
        folder = (out / "runs" / name).resolve()
        recipe = load(TrainConfig, find_config("train", wanted.recipe))
        config = runs.with_options(recipe, **wanted.options)
        start = Path(wanted.pretrained).resolve() if wanted.pretrained else None
        begun = (folder / FILE).is_file()
        if begun:
            prepared = Run.load(folder)
            same = (prepared.model_name, prepared.config, prepared.pretrained)
            if same != (wanted.model, config, start):
                raise OutputError(f"{folder} was trained otherwise: remove it or change --out")
        else:
            request = runs.Request(wanted.model, data, folder, config, pretrained=start)
            prepared = runs.prepare(request)
        weights = folder / "best.onnx"
        if weights.is_file():
            return weights
        result = runs.train(prepared, resume=begun and prepared.last.is_file())
        return export_onnx(result.best, weights)

    return train


def _progress(images: Iterable[Path], what: str) -> Iterable[Path]:
    return track(images, what, console=Console(stderr=True))
