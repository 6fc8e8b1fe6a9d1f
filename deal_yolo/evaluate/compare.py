"""Several models, and other tools, evaluated alike: one table, plots, and what was not equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.evaluate.evaluation import CalibrationSplit, Evaluation, Options, evaluate
from deal_yolo.evaluate.predictions import Predictions, read_predictions
from deal_yolo.evaluate.run import Progress, Runner, silent
from deal_yolo.evaluate.split import Split, load_splits
from deal_yolo.evaluate.strategy import parse_strategies
from deal_yolo.metadata import Metadata


@dataclass(frozen=True)
class TrainRow:
    """A model to be trained; what is not given comes from the recipe.

    Args:
        model: name or YAML of the model.
        recipe: name or YAML of the recipe.
        pretrained: weights to start from.
        epochs: passes over the windows.
        imgsz: side in px of a window as seen.
        batch: windows a step.
        optimizer: its name.
        seed: of everything random.
    """

    model: str
    recipe: str = "default"
    pretrained: str | None = None
    epochs: int | None = None
    imgsz: int | None = None
    batch: int | None = None
    optimizer: str | None = None
    seed: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the recipe is changed in; None where it is not."""
        names = ("epochs", "imgsz", "batch", "optimizer", "seed")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class RowConfig:
    """One model or tool; exactly one of the first three is given.

    Args:
        weights: file of a trained model.
        train: a model to be trained first.
        predictions: COCO json of another tool, for all photos that are scored.
        strategies: how the model looks, by commas; see `StrategyName`.
        imgsz: px at which a photo is seen; see `Runner`.
    """

    weights: str | None = None
    train: TrainRow | None = None
    predictions: str | None = None
    strategies: str = "whole"
    imgsz: int | None = None

    def __post_init__(self) -> None:
        if [self.weights, self.train, self.predictions].count(None) != 2:
            raise ConfigError("give one of weights, train and predictions")
        parse_strategies(self.strategies)


@dataclass(frozen=True)
class CompareConfig:
    """A comparison, as ``RUN.yaml`` says it.

    Args:
        data: data YAML, or the name of a shipped one.
        rows: models and tools by name.
        split: photos to score on.
        calibrate: split that gives score thresholds and corrected counts; None takes the
            thresholds that travel with the weights.
        bins: size bins, ``aitod`` or ``coco``.
        bootstrap: resamples of the photos.
        threads: CPU threads; None leaves it to the engine.
    """

    data: str
    rows: dict[str, RowConfig]
    split: str = "test"
    calibrate: str | None = None
    bins: str = "aitod"
    bootstrap: int = 1000
    threads: int | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise ConfigError("rows must name at least one model")


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of the table.

    Args:
        model: name of the model or tool.
        strategy: as written; empty for another tool.
        parameters: of the model, batch norm folded in; None if unknown.
    """

    model: str
    strategy: str
    parameters: int | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models and strategies scored on the same photos.

    Args:
        evaluation: the figures, by row.
        entries: what each row is.
        unequal: what was not the same for all rows, in words.
    """

    evaluation: Evaluation
    entries: dict[str, Entry]
    unequal: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Figures of all rows, and what was not equal."""
        rows = {name: vars(entry) for name, entry in self.entries.items()}
        return {**self.evaluation.as_json(), "rows": rows, "unequal": self.unequal}


Train = Callable[[str, TrainRow], Path]


def compare(
    config: CompareConfig, folder: Path, train: Train, progress: Progress = silent
) -> Comparison:
    """Train what is to be trained, look at all photos, and score.

    Args:
        config: what to compare.
        folder: where predictions are kept, so that they are not made again.
        train: gives the weights file of a row of that name, trained as asked for.
        progress: wraps the photos to show how far the work is.

    Raises:
        InputError: some file is missing or wrong.
    """
    options = Options(config.bins, draws=config.bootstrap)
    dataset = load_dataset(find_config("data", config.data))
    splits = load_splits(dataset, config.split, config.calibrate)
    entries: dict[str, Entry] = {}
    found: list[dict[str, Predictions]] = [{} for _ in splits]
    known: dict[str, dict[str, Any]] = {}
    for name, row in config.rows.items():
        if row.predictions is not None:
            entries[name] = Entry(name, "", None)
            for made, split in zip(found, splits, strict=True):
                made[name] = read_predictions(Path(row.predictions), split, splits)
            continue
        weights = train(_safe(name), row.train) if row.train else Path(row.weights or "")
        metadata = read_metadata(weights)
        known[name] = _circumstances(weights, row, metadata)
        runner = Runner(weights, row.imgsz, config.threads, folder / _safe(name), progress)
        for strategy in parse_strategies(row.strategies):
            key = f"{name}, {strategy.text}"
            entries[key] = Entry(name, strategy.text, count_parameters(metadata))
            for made, split in zip(found, splits, strict=True):
                made[key] = runner(strategy, split)
    evaluation = evaluate(splits[0], found[0], options, *_calibration(splits, found))
    return Comparison(evaluation, entries, unequal(known) + _unknown(config))


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def _calibration(
    splits: list[Split], found: list[dict[str, Predictions]]
) -> list[CalibrationSplit]:
    return [CalibrationSplit(*pair) for pair in zip(splits[1:], found[1:], strict=True)]


def read_metadata(weights: Path) -> Metadata | None:
    """What travels with weights; None for an ONNX file of another tool.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such weights file")
    if weights.suffix == ".safetensors":
        from deal_yolo.model.checkpoint import read_metadata as read

        return read(weights)
    from deal_yolo.infer.backends.base import load_backend

    try:
        return load_backend(weights).metadata
    except WeightsError:
        return None


def count_parameters(metadata: Metadata | None) -> int | None:
    """Parameters of a model with batch norm folded in; None if its rows are not known."""
    if metadata is None or not metadata.model:
        return None
    from deal_yolo.model.network import DealModel

    model = DealModel(metadata.model).eval().fuse(verbose=False)
    return sum(int(p.numel()) for p in model.parameters())


def _circumstances(weights: Path, row: RowConfig, metadata: Metadata | None) -> dict[str, Any]:
    """What should be equal between the models, by name."""
    training = {} if metadata is None else metadata.training
    keys = ("data", "epochs", "batch", "optimizer", "lr0", "seed", "loss", "precision")
    return {
        **{key: training.get(key, "unknown") for key in keys},
        "size of training windows as seen (px)": metadata.imgsz if metadata else "unknown",
        "size at which a photo is seen (px)": row.imgsz or (metadata.imgsz if metadata else "own"),
        "file": weights.suffix,
    }


def unequal(known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each circumstance that is not the same for all models, with its values.

    Args:
        known: circumstances by name, of each model.
    """
    lines = []
    for key in dict.fromkeys(key for values in known.values() for key in values):
        values = {model: str(values.get(key, "unknown")) for model, values in known.items()}
        if len(set(values.values())) > 1:
            said = ", ".join(f"{value} ({model})" for model, value in values.items())
            lines.append(f"{key}: {said}")
    return lines


def _unknown(config: CompareConfig) -> list[str]:
    return [
        f"{name}: predictions of another tool; how it was trained and run is not known here"
        for name, row in config.rows.items()
        if row.predictions is not None
    ]
