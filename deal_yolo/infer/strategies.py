"""The strategies by their names."""

from __future__ import annotations

from deal_yolo.config import RefineConfig, SliceConfig
from deal_yolo.errors import ConfigError
from deal_yolo.infer.detector import Detector, Strategy
from deal_yolo.infer.refine import TwoStage
from deal_yolo.infer.sliced import Sliced

NAMES = ("whole", "sliced", "two-stage")


def build_strategy(
    name: str,
    detector: Detector,
    refine: RefineConfig | None = None,
    slices: SliceConfig | None = None,
) -> Strategy:
    """The strategy called ``name`` over a detector.

    Args:
        name: one of `NAMES`.
        detector: does the looking.
        refine: settings of ``two-stage``; None takes those that travel with the weights.
        slices: settings of ``sliced``; None takes the defaults.

    Raises:
        ConfigError: there is no such strategy.
    """
    if name == "whole":
        return detector
    if name == "sliced":
        return Sliced(detector, slices)
    if name == "two-stage":
        return TwoStage(detector, refine)
    raise ConfigError(f"no strategy '{name}', known are {', '.join(NAMES)}")
