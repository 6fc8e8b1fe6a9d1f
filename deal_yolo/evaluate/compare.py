"""Several models, and other tools, evaluated alike: tables, and what was not equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import load_dataset, read_data_config
from deal_yolo.datasets.labels import Labels
from deal_yolo.datasets.tile import read_manifest, tile_dataset
from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.evaluate.equal import circumstances, unequal
from deal_yolo.evaluate.evaluation import CalibrationSplit, Evaluation, Options, evaluate
from deal_yolo.evaluate.models import (
    Latency,
    Tools,
    Trained,
    count_parameters,
    gather,
    latencies,
    safe,
)
from deal_yolo.evaluate.plan import CompareConfig, RowConfig, Section
from deal_yolo.evaluate.predictions import Predictions, read_predictions
from deal_yolo.evaluate.resample import Figure
from deal_yolo.evaluate.run import Progress, Runner, silent
from deal_yolo.evaluate.split import Split, load_splits
from deal_yolo.evaluate.strategy import parse_strategies

Models = Mapping[str, list[Trained]]


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a table: a model that looks in one way, trained once or with several seeds.

    Args:
        model: name of the model or tool.
        strategy: as written; empty for another tool.
        parameters: of the model, batch norm folded in; None if unknown.
        keys: what its trainings are called in the evaluation.
        against: row that its differences are to; None is the first.
    """

    model: str
    strategy: str
    parameters: int | None
    keys: tuple[str, ...]
    against: str | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """The figures of one section.

    Args:
        section: what it shows.
        evaluation: the figures, by training and strategy.
        native: the same with sizes in px of the photo, where windows were scored.
        entries: its rows, by model and strategy.
        unequal: what was not the same for all rows, in words.
    """

    section: Section
    evaluation: Evaluation
    native: Evaluation | None
    entries: dict[str, Entry]
    unequal: list[str]

    def figures(self, entry: Entry) -> dict[str, Figure]:
        """The figures of a row, means over its trainings."""
        each = [self.evaluation.scores[key].figures for key in entry.keys]
        return {name: Figure.mean([one[name] for one in each]) for name in each[0]}

    def by_size(self, entry: Entry, native: bool = False) -> dict[str, Figure]:
        """AP50 by size bin that holds objects, means over a row's trainings."""
        evaluation = self.native if native and self.native else self.evaluation
        each = [evaluation.scores[key] for key in entry.keys]
        sizes = [size for size, count in each[0].objects_by_size.items() if count]
        return {s: Figure.mean([one.AP50_by_size[s] for one in each]) for s in sizes}

    def other(self, entry: Entry) -> Entry | None:
        """The row that a row's differences are to; None for the first."""
        first = next(iter(self.entries.values()))
        if entry.against is None:
            return None if entry is first else first
        mine = [e for e in self.entries.values() if e.model == entry.against]
        same = [e for e in mine if e.strategy == entry.strategy]
        return (same or mine or [first])[0]

    def as_json(self) -> dict[str, Any]:
        """Figures of all trainings, the rows they make up, and what was not equal."""
        sizes = self.native.as_json()["strategies"] if self.native else {}
        keys = ("AP_by_size", "AP50_by_size", "objects_by_size")
        return {
            "title": self.section.title,
            **self.evaluation.as_json(),
            "rows": {name: vars(entry) for name, entry in self.entries.items()},
            "sizes_in_px_of_the_photo": {n: {k: s[k] for k in keys} for n, s in sizes.items()},
            "unequal": self.unequal,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """All tables of a page.

    Args:
        config: what was compared.
        models: the trainings of each row.
        tables: one a section.
        latency: of each model's network; empty if not measured.
    """

    config: CompareConfig
    models: Models
    tables: list[Table]
    latency: dict[str, Latency]

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain numbers."""
        return {
            "sections": [t.as_json() for t in self.tables],
            "latency": {name: one._asdict() for name, one in self.latency.items()},
        }


def compare(
    config: CompareConfig, folder: Path, tools: Tools, progress: Progress = silent
) -> Comparison:
    """Train what is to be trained, look at all photos or windows, and score.

    Args:
        config: what to compare.
        folder: where models, windows and predictions are kept, so that they are not made again.
        tools: trains, exports and measures.
        progress: wraps the photos to show how far the work is.

    Raises:
        InputError: some file is missing or wrong.
    """
    dataset = load_dataset(find_config("data", config.data))
    _refuse(config)
    load_splits(dataset, config.split, config.calibrate)
    models = {
        name: gather(name, row, config, folder / "models", tools, dataset.names)
        for name, row in config.rows.items()
    }
    latency = latencies(models, config, folder / "latency.json", tools)
    tables = [_table(section, config, models, folder, progress) for section in config.sections]
    return Comparison(config, models, tables, latency)


def _refuse(config: CompareConfig) -> None:
    """Find what is missing before the long work."""
    for row in config.rows.values():
        for name in (*row.files, *([row.predictions] if row.predictions else ())):
            if not Path(name).exists():
                raise WeightsError(f"{name}: no such file or folder")
    for section in config.sections:
        if section.windows is not None:
            file = find_config("data", section.windows)
            if read_data_config(file).tile is None:
                raise ConfigError(f"{file} has no 'tile' block: its photos are not cut")


def _table(
    section: Section, config: CompareConfig, models: Models, folder: Path, progress: Progress
) -> Table:
    splits = _splits(section, config, folder)
    place = folder / "predictions" / (safe(Path(section.windows).stem) if section.windows else "")
    rows = config.rows_of(section)
    entries: dict[str, Entry] = {}
    found: list[dict[str, Predictions]] = [{} for _ in splits]
    for name, row in rows.items():
        if row.predictions is not None:
            entries[name] = Entry(name, "", None, (name,), row.against)
            for made, split in zip(found, splits, strict=True):
                made[name] = read_predictions(Path(row.predictions), split, splits)
            continue
        parameters = count_parameters(models[name][0].metadata)
        for strategy in parse_strategies(row.strategies):
            keys = []
            for end, one in _by_seed(models[name]).items():
                keys.append(f"{name}, {strategy.text}{end}")
                # Ultralytics cannot read our ONNX files.
                file = one.source if strategy.kind == "ultralytics" and one.source else one.file
                kept = place / safe(name + end)
                runner = Runner(file, row.imgsz, config.threads, kept, progress)
                for made, split in zip(found, splits, strict=True):
                    made[keys[-1]] = runner(strategy, split)
            entry = Entry(name, strategy.text, parameters, tuple(keys), row.against)
            entries[f"{name}, {strategy.text}"] = entry
    known = {name: circumstances(row, models[name]) for name, row in rows.items() if models[name]}
    lines = unequal(known) + _unknown(rows) + _other_ways(entries.values())
    return Table(section, *_scored(section, config, splits, found), entries, lines)


def _scored(
    section: Section,
    config: CompareConfig,
    splits: Sequence[Split],
    found: Sequence[dict[str, Predictions]],
) -> tuple[Evaluation, Evaluation | None]:
    """The figures, and for windows those with sizes in px of the photo."""
    flight = config.flight or splits[0].dataset.config.flight
    options = Options(section.bins or config.bins, draws=config.bootstrap, flight=flight)
    pairs = zip(splits[1:], found[1:], strict=True)
    evaluation = evaluate(splits[0], found[0], options, *(CalibrationSplit(*p) for p in pairs))
    if section.windows is None:
        return evaluation, None
    by_size = dataclasses.replace(options, bins=config.bins, score_threshold=0.5)
    return evaluation, evaluate(*_in_photos(splits[0], found[0]), by_size)


def _by_seed(trained: list[Trained]) -> dict[str, Trained]:
    """The trainings of a model by what is added to its name."""
    if len(trained) == 1:
        return {"": trained[0]}
    seeds = [one.seed for one in trained]
    if None in seeds or len(set(seeds)) < len(seeds):
        return {f", {number}": one for number, one in enumerate(trained, 1)}
    return {f", seed {one.seed}": one for one in trained}


def _splits(section: Section, config: CompareConfig, folder: Path) -> list[Split]:
    """The photos, or windows, that are scored and calibrated on."""
    if section.windows is None:
        dataset = load_dataset(find_config("data", config.data))
        return load_splits(dataset, config.split, config.calibrate)
    dataset = load_dataset(find_config("data", section.windows))
    assert dataset.config.tile is not None  # see _refuse
    wanted = [name for name in (config.split, config.calibrate) if name]
    out = folder / "windows" / safe(Path(section.windows).stem)
    cut = load_dataset(tile_dataset(dataset, out, dataset.config.tile, splits=wanted))
    return load_splits(cut, config.split, config.calibrate)


def _in_photos(
    split: Split, found: Mapping[str, Predictions]
) -> tuple[Split, dict[str, Predictions]]:
    """Windows with labels and boxes in px of the photos that they were cut from."""
    scale_of = {window.window: window.scale for window in read_manifest(split.dataset.root)}
    scales = [scale_of[file] for file in split.files]
    labels = [
        Labels(one.xyxy / scale, one.class_id, one.ignore)
        for one, scale in zip(split.labels, scales, strict=True)
    ]
    native = {
        name: dataclasses.replace(
            made,
            found=[d.replace(xyxy=d.xyxy / s) for d, s in zip(made.found, scales, strict=True)],
        )
        for name, made in found.items()
    }
    return dataclasses.replace(split, labels=labels), native


def _other_ways(entries: Iterable[Entry]) -> list[str]:
    """What is not ours in how other libraries look."""
    ways = {
        "ultralytics": "its own letterbox and suppression, at its IoU of 0.7 and not 0.5",
        "sahi": "boxes that a window cuts are kept and joined by suppression, not left out",
    }
    kinds = {parse_strategies(entry.strategy)[0].kind for entry in entries if entry.strategy}
    return [f"{kind}: {way}" for kind, way in ways.items() if kind in kinds and len(kinds) > 1]


def _unknown(rows: Mapping[str, RowConfig]) -> list[str]:
    return [
        f"{name}: predictions of another tool; how it was trained and run is not known here"
        for name, row in rows.items()
        if row.predictions is not None
    ]
