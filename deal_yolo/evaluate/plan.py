"""What a comparison is made of, as ``RUN.yaml`` says it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from deal_yolo.errors import ConfigError
from deal_yolo.evaluate.protocol import size_edges
from deal_yolo.evaluate.strategy import parse_strategies


@dataclass(frozen=True)
class Training:
    """How models are trained; what neither a row nor the comparison gives comes from the recipe.

    Args:
        model: name or YAML of the model, ours or ultralytics' own such as ``yolo11n.yaml``.
        recipe: name or YAML of the recipe.
        data: data YAML to train on; None is the comparison's.
        pretrained: weights to start from.
        teacher: weights of a larger model to learn from.
        epochs: passes over the windows.
        imgsz: side in px of a window as seen.
        batch: windows a step.
        optimizer: its name.
        device: as ``deal-yolo train`` takes it.
        seeds: one training for each.
    """

    model: str | None = None
    recipe: str | None = None
    data: str | None = None
    pretrained: str | None = None
    teacher: str | None = None
    epochs: int | None = None
    imgsz: int | None = None
    batch: int | None = None
    optimizer: str | None = None
    device: str | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and not self.seeds:
            raise ConfigError("seeds must hold at least one number")

    def over(self, base: Training) -> Training:
        """These settings, with those of ``base`` where there are none."""
        own = {k: v for k, v in vars(self).items() if v is not None}
        return dataclasses.replace(base, **own)

    @property
    def options(self) -> dict[str, Any]:
        """What a recipe is changed in; None where it is not."""
        names = ("teacher", "epochs", "imgsz", "batch", "optimizer")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class RowConfig:
    """One model or tool; exactly one of the first three is given.

    Args:
        weights: trained weights or folders of runs, by commas: one for each seed.
        train: a model to be trained first.
        predictions: COCO json of another tool, for all photos that are scored.
        model: architecture of weights in a ``.pt`` file, which are read without it.
        strategies: how the model looks, by commas; see `StrategyName`.
        imgsz: px at which a photo is seen; see `Runner`.
        against: row that this one's differences are to; None is the first.
    """

    weights: str | None = None
    train: Training | None = None
    predictions: str | None = None
    model: str | None = None
    strategies: str = "whole"
    imgsz: int | None = None
    against: str | None = None

    def __post_init__(self) -> None:
        if [self.weights, self.train, self.predictions].count(None) != 2:
            raise ConfigError("give one of weights, train and predictions")
        if self.train is not None and self.train.model is None:
            raise ConfigError("train: key 'model' is missing")
        if self.weights is not None and not self.files:
            raise ConfigError("weights names no file")
        parse_strategies(self.strategies)

    @property
    def files(self) -> list[str]:
        """The weights and folders that are named."""
        return [part.strip() for part in (self.weights or "").split(",") if part.strip()]


@dataclass(frozen=True)
class Section:
    """One table of the page, with its plots.

    Args:
        title: its heading; empty for none.
        text: words under it.
        rows: names of the rows in it; all if empty.
        strategies: in place of the rows' own.
        windows: data YAML with a ``tile`` block, whose windows are scored in place of photos.
        bins: size bins in place of the comparison's.
    """

    title: str = ""
    text: str = ""
    rows: tuple[str, ...] = ()
    strategies: str | None = None
    windows: str | None = None
    bins: str | None = None

    def __post_init__(self) -> None:
        if self.strategies is not None:
            parse_strategies(self.strategies)
        if self.bins is not None:
            size_edges(self.bins)


@dataclass(frozen=True)
class CompareConfig:
    """A comparison.

    Args:
        data: data YAML, or the name of a shipped one.
        rows: models and tools by name.
        title: of the page; None is the file's name.
        text: words under it.
        sections: tables of the page; by default one of all rows.
        train: how rows are trained that say nothing else.
        split: photos to score on.
        calibrate: split that gives score thresholds and corrected counts; None takes the
            thresholds that travel with the weights.
        bins: size bins, see `size_edges`.
        bootstrap: resamples.
        flight: what is drawn in them, see `sampling_units`.
        threads: CPU threads; None leaves it to the engine.
        anchors: boxes that an exported graph keeps for an image. With fewer, photos of dense
            colonies lose animals; with more, the graph is slower.
        latency: side in px of the input for which the networks' times are measured, in turns;
            None leaves that out.
    """

    data: str
    rows: dict[str, RowConfig]
    title: str | None = None
    text: str = ""
    sections: tuple[Section, ...] = (Section(),)
    train: Training = field(default_factory=Training)
    split: str = "test"
    calibrate: str | None = None
    bins: str = "aitod"
    bootstrap: int = 1000
    flight: str | None = None
    threads: int | None = None
    anchors: int = 3000
    latency: int | None = None

    def __post_init__(self) -> None:
        if not self.rows or not self.sections:
            raise ConfigError("rows must name at least one model")
        size_edges(self.bins)
        if self.train.model is not None:
            raise ConfigError("train: 'model' belongs to a row")
        named = [(s.title, name) for s in self.sections for name in s.rows]
        named += [(name, row.against) for name, row in self.rows.items() if row.against]
        for where, name in named:
            if name not in self.rows:
                raise ConfigError(f"'{where}' names no row: '{name}'")

    def rows_of(self, section: Section) -> dict[str, RowConfig]:
        """The rows of a section, as it has them look."""
        chosen = {name: self.rows[name] for name in section.rows or self.rows}
        if section.strategies is None:
            return chosen
        return {
            name: dataclasses.replace(row, strategies=section.strategies)
            for name, row in chosen.items()
        }

    def training_of(self, row: RowConfig) -> Training:
        """How a row that is to be trained is trained."""
        assert row.train is not None
        base = Training(recipe="default", data=self.data, device="", seeds=(0,))
        return row.train.over(self.train.over(base))
