"""``deal-yolo compare``: several models and tools by one protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from deal_yolo.config import find_config, load
from deal_yolo.errors import OutputError

if TYPE_CHECKING:
    from deal_yolo.evaluate.models import Latency
    from deal_yolo.evaluate.plan import Training
    from deal_yolo.train.settings import Run, TrainConfig


def compare(
    run: Annotated[Path, typer.Argument(help="YAML that names data, models and strategies.")],
    out: Annotated[Path, typer.Option(help="Folder for page, plots, runs and predictions.")],
) -> None:
    """Train or take several models, score them alike, write a page of tables and plots.

    What the folder holds already, trained models and predictions, is used again.
    """
    from deal_yolo.cli.quiet import quiet_ultralytics
    from deal_yolo.evaluate.compare import compare as score
    from deal_yolo.evaluate.markdown import to_markdown
    from deal_yolo.evaluate.plan import CompareConfig
    from deal_yolo.evaluate.plots import write_plots
    from deal_yolo.evaluate.predictions import write_json, write_text
    from deal_yolo.evaluate.provenance import provenance
    from deal_yolo.evaluate.table import tables

    config = load(CompareConfig, run)
    write_text(out / "run.yaml", run.read_text(encoding="utf-8"))  # fails before the long work
    with quiet_ultralytics(silent=False):
        result = score(config, out, Workshop(out / "runs"), _progress)
    made = provenance(["OUT" if part == str(out) else part for part in sys.argv])
    write_json(out / f"{run.stem}.json", {**result.as_json(), "made": made}, indent=2)
    plots = write_plots(result, out, run.stem)
    page = out / f"{run.stem}.md"
    write_text(page, to_markdown(result, config.title or run.stem, made, plots))
    console = Console()
    for table in result.tables:
        console.print(table.section.title, style="bold", markup=False)
        console.print(tables(table.evaluation))
        for line in table.unequal:
            console.print(f"not equal: {line}", highlight=False, markup=False)
    console.print(f"{page}, {run.stem}.json, {sum(map(len, plots))} plots")


class Workshop:
    """Trains, exports and measures for a comparison; see `deal_yolo.evaluate.models.Tools`.

    Args:
        folder: where runs are kept, one folder each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def train(self, name: str, training: Training, seed: int) -> Path:
        """Go on with the run of that name and seed, or begin it; a finished one is left alone."""
        from deal_yolo.export.onnx import export_onnx
        from deal_yolo.train import run as runs
        from deal_yolo.train import state

        run = self._prepared(self.folder / f"{name}-s{seed}", training, seed)
        exported = run.best.with_suffix(".onnx")  # the last thing that 'deal-yolo train' writes
        if not exported.is_file():
            done = state.load(run.last)["epoch"] + 1 if run.last.is_file() else 0
            if done < run.config.epochs:
                runs.train(run, resume=done > 0)
            export_onnx(run.best, exported)
        return run.out

    def _prepared(self, folder: Path, training: Training, seed: int) -> Run:
        from deal_yolo.train import run as runs
        from deal_yolo.train.settings import FILE, Run, TrainConfig

        recipe = load(TrainConfig, find_config("train", training.recipe or "default"))
        config = runs.with_options(recipe, **training.options, seed=seed)
        model, data, device = training.model or "", training.data or "", training.device or ""
        start = Path(training.pretrained).resolve() if training.pretrained else None
        if not (folder / FILE).is_file():
            return runs.prepare(runs.Request(model, data, folder, config, device, start))
        run = Run.load(folder)
        # Files by their names, since a run may come from another machine.
        wanted = (model, _portable(config), start and start.name, Path(data).stem)
        began = run.pretrained and run.pretrained.name
        if wanted != (run.model_name, _portable(run.config), began, run.data.stem):
            raise OutputError(f"{folder} was trained otherwise: remove it or change --out")
        return run

    def export(self, weights: Path, out: Path, max_detections: int) -> None:
        """Write safetensors as ONNX."""
        from deal_yolo.export.onnx import export_onnx

        export_onnx(weights, out, max_detections=max_detections)

    def latency(self, files: Sequence[Path], imgsz: int, threads: int | None) -> list[Latency]:
        """Times of one run of each network, measured in turns."""
        from deal_yolo.evaluate.models import Latency
        from deal_yolo.export.benchmark import BenchmarkConfig, benchmark

        result = benchmark(BenchmarkConfig(tuple(files), imgsz=imgsz, threads=threads))
        return [Latency(row.median_ms, row.ratio) for row in result.rows]


def _portable(config: TrainConfig) -> TrainConfig:
    """A recipe with its teacher's name in the place of the path."""
    return replace(config, teacher=config.teacher and Path(config.teacher).name)


def _progress(images: Iterable[Path], what: str) -> Iterable[Path]:
    return track(images, what, console=Console(stderr=True))
