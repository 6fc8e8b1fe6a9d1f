"""Predictions of strategies over a split, from the model or from those kept before."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo import __version__
from deal_yolo.config import RefineConfig
from deal_yolo.datasets.images import read_image
from deal_yolo.errors import InputError, WeightsError
from deal_yolo.evaluate.predictions import (
    Predictions,
    read_info,
    read_predictions,
    write_predictions,
)
from deal_yolo.evaluate.split import Split
from deal_yolo.evaluate.strategy import StrategyName, WholeConfig, parse_strategies
from deal_yolo.infer.detector import Detector, Strategy, load_detector

_FEW = 8
Progress = Callable[[Iterable[Path], str], Iterable[Path]]


def silent(images: Iterable[Path], _: str) -> Iterable[Path]:
    """The photos as they are: no progress is shown."""
    return images


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
    progress: Progress = silent

    def __call__(self, name: StrategyName, split: Split) -> Predictions:
        """What a strategy finds in each photo of a split.

        Raises:
            InputError: there are neither weights nor kept predictions, or they are damaged.
            DatasetError: a photo cannot be read.
        """
        kept = self.folder / f"{split.name}-{name.file_stem}.json" if self.folder else None
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
            "settings": dataclasses.asdict(name.settings(RefineConfig(), self.imgsz)),
            "imgsz": self.imgsz,
            "split": split.name,
            "photos": hashlib.sha256("\n".join(split.files).encode()).hexdigest(),
        }

    def _look(self, name: StrategyName, split: Split, identity: dict[str, Any]) -> Predictions:
        strategy, names, threshold = self._open(name)
        if names != split.dataset.names:
            raise WeightsError(
                f"{self.weights} knows the {_listed(names)}, but {split.dataset.yaml} names the "
                f"{_listed(split.dataset.names)}"
            )
        strategy.look([np.zeros((64, 64, 3), np.uint8)])  # the first run is slower: not counted
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
                "score_threshold": threshold,
            },
        )

    def _open(self, name: StrategyName) -> tuple[Strategy, tuple[str, ...], float | None]:
        """A strategy, the classes it knows, and the score threshold that its weights carry."""
        assert self.weights is not None
        if name.kind != "ultralytics":
            strategy = name.build(self._detector, self.imgsz)
            metadata = self._detector.metadata
            return strategy, metadata.names, metadata.score_threshold
        from deal_yolo.evaluate.peer import Ultralytics  # an optional package

        settings = name.settings(RefineConfig(), self.imgsz)
        assert isinstance(settings, WholeConfig)
        peer = Ultralytics(self.weights, settings.imgsz)
        return peer, peer.names, peer.score_threshold

    @cached_property
    def _detector(self) -> Detector:
        assert self.weights is not None
        return load_detector(self.weights, threads=self.threads)

    @cached_property
    def _sha256(self) -> str:
        assert self.weights is not None
        try:
            return hashlib.sha256(self.weights.read_bytes()).hexdigest()
        except OSError as error:
            raise WeightsError(f"cannot read {self.weights}: {error.strerror}") from error


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")
    return f"{len(names)} classes {few}"


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
    names: list[StrategyName] = []
    if strategies is not None or other is None:
        names = parse_strategies("whole" if strategies is None else strategies)
    results = []
    for split in splits:
        made = {name.text: runner(name, split) for name in names}
        if other is not None:
            made[other.stem] = read_predictions(other, split, splits)
        results.append(made)
    return results
