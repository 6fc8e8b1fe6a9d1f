"""Strategies as they are written on the command line, with settings of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from deal_yolo.config import RefineConfig, SliceConfig, find_config, from_mapping, load
from deal_yolo.errors import ConfigError
from deal_yolo.infer.detector import Detector, Strategy
from deal_yolo.infer.strategies import NAMES, build_strategy

STRATEGIES = (*NAMES, "sahi", "ultralytics")

_ONE_LOOK = ("whole", "ultralytics")


@dataclass(frozen=True)
class WholeConfig:
    """How ``whole`` and ``ultralytics`` look.

    Args:
        imgsz: px at which the photo is seen; None is the model's own.
    """

    imgsz: int | None = None


Settings = WholeConfig | SliceConfig | RefineConfig


@dataclass(frozen=True)
class StrategyName:
    """A strategy as it is written: ``KIND`` or ``KIND:SETTINGS``.

    SETTINGS are joined by ``+``: first, if wanted, a YAML file or the name of a shipped refine
    rule, then ``key=value``, as in ``two-stage:paper``, ``two-stage:max_windows=4`` or
    ``whole:imgsz=1280``.

    Args:
        text: as written.
        kind: one of `STRATEGIES`.
        base: settings from the file, if one was named.
        changes: keys and values given.
    """

    text: str
    kind: str
    base: Settings | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> StrategyName:
        """Read a strategy.

        Raises:
            ConfigError: there is no such strategy, or its settings are wrong.
        """
        kind, _, rest = text.partition(":")
        if kind not in STRATEGIES:
            raise ConfigError(f"no strategy '{text}', known are {', '.join(STRATEGIES)}")
        file, changes = None, {}
        for part in rest.split("+") if rest else ():
            key, is_change, value = part.partition("=")
            if is_change:
                changes[key] = _value(text, value)
            elif file is None:
                file = part
        name = cls(text, kind, _load(kind, file) if file else None, changes)
        name.settings(RefineConfig(), None)  # refuses a wrong key before any model is loaded
        return name

    @property
    def file_stem(self) -> str:
        """The text as part of a file name."""
        return re.sub(r"[^A-Za-z0-9.=-]+", "-", self.text)

    def settings(self, refine: RefineConfig, imgsz: int | None) -> Settings:
        """The settings in full.

        Args:
            refine: those of the second look that travel with the weights.
            imgsz: px at which a photo is seen first, or with ``sliced`` a window.

        Raises:
            ConfigError: a key is unknown or a value wrong.
        """
        base: Settings
        if self.kind == "two-stage":
            base = refine if imgsz is None else replace(refine, first_imgsz=imgsz)
        elif self.kind in _ONE_LOOK:
            base = WholeConfig(imgsz)
        else:
            base = SliceConfig(window_imgsz=imgsz)
        base = self.base or base
        return from_mapping(type(base), {**asdict(base), **self.changes}, f"'{self.text}'")

    def build(self, detector: Detector, imgsz: int | None) -> Strategy:
        """The strategy over a detector, ``ultralytics`` excepted; see `settings`.

        Raises:
            MissingExtraError: SAHI is wanted and not installed.
        """
        settings = self.settings(detector.metadata.refine, imgsz)
        if isinstance(settings, RefineConfig):
            return build_strategy("two-stage", detector, refine=settings)
        if isinstance(settings, WholeConfig):
            return detector if settings.imgsz is None else detector.with_imgsz(settings.imgsz)
        if self.kind == "sahi":
            from deal_yolo.evaluate.sahi import Sahi  # an optional package

            return Sahi(detector, settings)
        return build_strategy("sliced", detector, slices=settings)


def parse_strategies(text: str) -> list[StrategyName]:
    """Several strategies by commas.

    Raises:
        ConfigError: there is none, or one is wrong; see `StrategyName.parse`.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"name at least one strategy: {', '.join(STRATEGIES)}")
    return [StrategyName.parse(name) for name in names]


def _value(text: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"'{text}': cannot read '{value}'") from error


def _load(kind: str, file: str) -> Settings:
    if kind == "two-stage":
        return load(RefineConfig, find_config("refine", file))
    return load(WholeConfig, Path(file)) if kind in _ONE_LOOK else load(SliceConfig, Path(file))
