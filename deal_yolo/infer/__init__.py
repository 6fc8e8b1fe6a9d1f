"""Running trained models: sources, backends, strategies, tracking and sinks.

The names below are loaded when they are first used, so importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deal_yolo.infer.detector import Detector, Look, load_detector
    from deal_yolo.infer.refine import TwoStage
    from deal_yolo.infer.sliced import Sliced
    from deal_yolo.infer.strategies import build_strategy

_HOMES = {
    "Detector": "detector",
    "Look": "detector",
    "load_detector": "detector",
    "Sliced": "sliced",
    "TwoStage": "refine",
    "build_strategy": "strategies",
}

__all__ = ["Detector", "Look", "Sliced", "TwoStage", "build_strategy", "load_detector"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
