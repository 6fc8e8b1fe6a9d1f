"""Predictions of strategies over a split, from the model or from those kept before."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from deal_yolo import __version__
from deal_yolo.config import RefineConfig, SliceConfig, find_config, load
from deal_yolo.datasets.images import read_image
from deal_yolo.errors import ConfigError, InputError, WeightsError
from deal_yolo.evaluate.predictions import (
    Predictions,
    read_info,
    read_predictions,
    write_predictions,
)
from deal_yolo.evaluate.split import Split
from deal_yolo.infer.detector import Detector, Strategy, load_detector
from deal_yolo.infer.strategies import NAMES, build_strategy

STRATEGIES = (*NAMES, "sahi")
Progress = Callable[[Iterable[Path], str], Iterable[Path]]


def _silent(images: Iterable[Path], _: str) -> Iterable[Path]:
    return images


@dataclass(frozen=True)
class StrategyName:
    """A strategy as it is written, such as ``two-stage`` or ``two-stage:paper``.

    Args:
        text: as written.
        kind: one of `STRATEGIES`.
        config: settings given after the colon.
    """

    text: str
    kind: str
    config: RefineConfig | SliceConfig | None

    @classmethod
    def parse(cls, text: str) -> StrategyName:
        """Read ``KIND`` or ``KIND:CONFIG``, CONFIG being a YAML file or a shipped refine rule.

        Raises:
            ConfigError: there is no such strategy, or its settings are wrong.
        """
        kind, _, config = text.partition(":")
        if kind not in STRATEGIES or (kind == "whole" and config):
            raise ConfigError(f"no strategy '{text}', known are {', '.join(STRATEGIES)}")
        if not config:
            return cls(text, kind, None)
        if kind == "two-stage":
            return cls(text, kind, load(RefineConfig, find_config("refine", config)))
        return cls(text, kind, load(SliceConfig, Path(config)))


def file_stem(name: str) -> str:
    """The name of a strategy as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs strategies over splits; what is kept in a folder is not run again.

    Args:
        weights: file of the model; None takes what the folder holds.
        imgsz: px at which a whole photo is seen, also by the first of two looks, or with
            ``sliced`` a window, as in ``deal-yolo predict``; None is the model's own.
        threads: CPU threads; None leaves it to the engine.
        folder: where predictions are kept; None keeps none.
        progress: wraps the photos to show how far the work is.
    """

    weights: Path | None
    imgsz: int | None = None
    threads: int | None = None
    folder: Path | None = None
    progress: Progress = _silent

    def __call__(self, name: StrategyName, split: Split) -> Predictions:
        """What a strategy finds in each photo of a split.

        Raises:
            InputError: there are neither weights nor kept predictions, or they are damaged.
            DatasetError: a photo cannot be read.
        """
        kept = self.folder / f"{split.name}-{file_stem(name.text)}.json" if self.folder else None
        if self.weights is None:
            if kept is None or not kept.is_file():
                raise InputError(f"no predictions {kept or ''} and no model: give --weights")
            return read_predictions(kept, split)
        identity = self._identity(name, split)
        if kept is not None and kept.is_file():
            info = read_info(kept)
            if all(info.get(key) == value for key, value in identity.items()):
                return read_predictions(kept, split)
        made = self._look(name, split, identity)
        if kept is not None:
            write_predictions(kept, split, made)
        return made

    def _identity(self, name: StrategyName, split: Split) -> dict[str, Any]:
        """What predictions depend on, in JSON's types."""
        return {
            "version": __version__,
            "sha256": self._sha256,
            "strategy": name.text,
            "settings": dataclasses.asdict(name.config) if name.config else {},
            "imgsz": self.imgsz,
            "split": split.name,
            "photos": hashlib.sha256("\n".join(split.files).encode()).hexdigest(),
        }

    def _look(self, name: StrategyName, split: Split, identity: dict[str, Any]) -> Predictions:
        metadata = self._detector.metadata
        if metadata.names != split.dataset.names:
            raise WeightsError(
                f"{self.weights} knows the classes {', '.join(metadata.names)}, but "
                f"{split.dataset.yaml} names {', '.join(split.dataset.names)}"
            )
        strategy = self._build(name)
        looks = [
            strategy.look([read_image(image)])[0]
            for image in self.progress(split.images, f"{name.text}, {split.name}")
        ]
        return Predictions(
            found=[look.detections for look in looks],
            seconds=[look.seconds for look in looks],
            windows=[len(look.windows) for look in looks],
            info={
                **identity,
                "weights": Path(self.weights or "").name,
                "score_threshold": metadata.score_threshold,
            },
        )

    def _build(self, name: StrategyName) -> Strategy:
        if name.kind == "two-stage":
            refine = name.config or self._detector.metadata.refine
            assert isinstance(refine, RefineConfig)
            if self.imgsz is not None:
                refine = replace(refine, first_imgsz=self.imgsz)
            return build_strategy(name.kind, self._detector, refine=refine)
        slices = SliceConfig(window_imgsz=self.imgsz)
        if isinstance(name.config, SliceConfig):
            slices = name.config
        if name.kind == "sahi":
            from deal_yolo.evaluate.sahi import Sahi  # an optional package

            return Sahi(self._detector, slices)
        return build_strategy(name.kind, self._detector, slices=slices)

    @cached_property
    def _detector(self) -> Detector:
        assert self.weights is not None
        return load_detector(self.weights, self.imgsz, threads=self.threads)

    @cached_property
    def _sha256(self) -> str:
        assert self.weights is not None
        try:
            return hashlib.sha256(self.weights.read_bytes()).hexdigest()
        except OSError as error:
            raise WeightsError(f"cannot read {self.weights}: {error.strerror}") from error


def gather(
    splits: Sequence[Split], strategies: str | None, runner: Runner, other: Path | None = None
) -> list[dict[str, Predictions]]:
    """What strategies, and another tool, find in the photos of each split, by name.

    Args:
        splits: photos to run the strategies on; the other tool's file must not go beyond them.
        strategies: names by commas; None is ``whole``, or none at all beside another tool.
        runner: runs them.
        other: COCO json, whose name without suffix becomes its own; None if there is none.
    """
    text = ("" if other else "whole") if strategies is None else strategies
    names = [StrategyName.parse(name.strip()) for name in text.split(",") if name.strip()]
    results = []
    for split in splits:
        made = {name.text: runner(name, split) for name in names}
        if other is not None:
            made[other.stem] = read_predictions(other, split, splits)
        results.append(made)
    return results
