"""What travels with a set of weights, in safetensors and in ONNX files alike."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deal_yolo.config import RefineConfig, from_mapping
from deal_yolo.errors import ConfigError, WeightsError

KEY = "deal_yolo"
FORMAT = 1


@dataclass(frozen=True)
class Metadata:
    """All that is needed to use a set of weights, beside the tensors.

    Args:
        names: class names, in the order of the class numbers.
        imgsz: side in px of the square image the model was trained on.
        strides: px of the model's input for each step of its output maps.
        model: the model's YAML content (rows, scales, nc), enough to build it again.
        score_threshold: score of best F1 on the validation split.
        refine: settings of the second look.
        training: summary of the run: data, protocol, figures, versions.
        sha256: of the safetensors file that an exported file was made from; empty in that file.
        max_detections: boxes an exported graph gives for an image; 0 where not exported.
        format: version of this layout.
    """

    names: tuple[str, ...]
    imgsz: int
    strides: tuple[int, ...]
    model: dict[str, Any]
    score_threshold: float = 0.25
    refine: RefineConfig = field(default_factory=RefineConfig)
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    max_detections: int = 0
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ConfigError(f"metadata of format {self.format}, this version reads {FORMAT}")
        if not self.names or not self.strides or self.imgsz <= 0:
            raise ConfigError("names, strides and imgsz must be given")

    def to_strings(self) -> dict[str, str]:
        """As the string-to-string mapping that both file formats keep."""
        return {KEY: json.dumps(dataclasses.asdict(self), sort_keys=True)}

    @classmethod
    def from_strings(cls, values: Mapping[str, str], where: str) -> Metadata:
        """Read back what `to_strings` wrote.

        Raises:
            WeightsError: it is missing, damaged or of another version.
        """
        if KEY not in values:
            raise WeightsError(
                f"{where} has no deal_yolo metadata: make it with 'deal-yolo train' or 'export'"
            )
        try:
            return from_mapping(cls, json.loads(values[KEY]), where)
        except (ValueError, TypeError, ConfigError) as error:
            raise WeightsError(f"{where}: damaged metadata: {error}") from error
