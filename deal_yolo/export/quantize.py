"""INT8 as Q/DQ nodes, with what it costs measured on labelled photos before it is let through.

Weights are quantised for each output channel, maps as a whole, both around zero, which is the form
that TensorRT takes. Only convolutions are quantised; parts of the network that lose too much alone
stay as they are.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.errors import WeightsError, require
from deal_yolo.infer.backends.base import FloatArray

# Parts of an exported graph by the names of their convolutions; the first that fits.
PARTS = {
    "LDConv offsets": r"/offset/",
    "class branch": r"/score\.",
    "box branch": r"/first\.",
    "first layer": r"/model\.0/",
    "backbone": r"/model\.[1-7]/",
    "neck": r"/model\.\d+/",
}
# Points of AP50 that a part may cost alone before it stays in floating point.
PART_LOSS = 0.3
# Points that the whole may cost.
AP50_LOSS, SMALL_LOSS = 1.0, 2.0

QUANTIZED = "Conv"

Score = Callable[[Path], "Quality"]


@dataclass(frozen=True)
class Quality:
    """Scores of a file on labelled photos, in points (0 to 100).

    Args:
        ap50: AP at IoU 0.5.
        ap_small: AP of objects under 16 px of the photo; None where there are none.
    """

    ap50: float
    ap_small: float | None

    def loss(self, other: Quality) -> tuple[float, float]:
        """Points that ``other`` is worse by: AP50, and AP of small objects (0 if none)."""
        small = 0.0
        if self.ap_small is not None and other.ap_small is not None:
            small = self.ap_small - other.ap_small
        return self.ap50 - other.ap50, small


@dataclass(frozen=True)
class PartCost:
    """What quantising one part alone does.

    Args:
        part: of the network.
        convolutions: how many it has.
        quality: with this part alone in INT8.
        kept: whether it stays in floating point.
    """

    part: str
    convolutions: int
    quality: Quality
    kept: bool


@dataclass(frozen=True)
class QuantizeReport:
    """The sensitivity table and the scores before and after."""

    before: Quality
    after: Quality
    parts: tuple[PartCost, ...]

    def refusal(self) -> str | None:
        """Why the file is not good enough, or None."""
        loss, small = self.before.loss(self.after)
        if loss <= AP50_LOSS and small <= SMALL_LOSS:
            return None
        return (
            f"INT8 loses {loss:.1f} points of AP50 and {small:.1f} of AP under 16 px, allowed are "
            f"{AP50_LOSS:g} and {SMALL_LOSS:g}: use --half, or --accept-loss to write it"
        )


class LossError(WeightsError):
    """An INT8 file loses too much; `report` says in which part."""

    def __init__(self, refusal: str, report: QuantizeReport) -> None:
        super().__init__(refusal)
        self.report = report


def quantize(onnx: Path, out: Path, inputs: Iterable[FloatArray], score: Score) -> QuantizeReport:
    """Write an INT8 file, with the parts that lose too much left in floating point.

    Each part is tried alone; those that lose more than `PART_LOSS` stay, unless all do. As long as
    the parts together lose too much (`QuantizeReport.refusal`), the one that costs most alone stays
    too, while another is left. Ranges are measured once.

    Args:
        onnx: a file of `deal_yolo.export.onnx.export_onnx`.
        out: the file to write; metadata are kept.
        inputs: real inputs ``(1, 3, h, w)`` to measure the range of each map on.
        score: gives the quality of a file.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    before = score(onnx)
    nodes = parts_of(onnx)
    ranges = measure_ranges(onnx, inputs)
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "part.onnx"
        for part, names in nodes.items():
            write_qdq(onnx, trial, ranges, names)
            quality = score(trial)
            costs.append(
                PartCost(part, len(names), quality, before.ap50 - quality.ap50 > PART_LOSS)
            )
    if all(cost.kept for cost in costs):
        costs = [dataclasses.replace(cost, kept=False) for cost in costs]
    while True:
        left = [cost for cost in costs if not cost.kept]
        write_qdq(onnx, out, ranges, [name for cost in left for name in nodes[cost.part]])
        report = QuantizeReport(before, score(out), tuple(costs))
        if report.refusal() is None or len(left) == 1:
            return report
        worst = min(left, key=lambda cost: cost.quality.ap50)
        costs = [dataclasses.replace(c, kept=c.kept or c is worst) for c in costs]


def parts_of(onnx: Path) -> dict[str, list[str]]:
    """The names of a graph's convolutions by part; parts without any are left out."""
    graph = require("onnx", "train").load(onnx).graph
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for node in graph.node:
        if node.op_type == "Conv":
            part = next(p for p, pattern in PARTS.items() if re.search(pattern, node.name))
            parts[part].append(node.name)
    return {part: names for part, names in parts.items() if names}


def measure_ranges(onnx: Path, inputs: Iterable[FloatArray]) -> Any:
    """Least and greatest value of each map that a convolution reads or gives."""
    from onnxruntime.quantization.calibrate import create_calibrator

    with tempfile.TemporaryDirectory() as folder:
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(onnx, [QUANTIZED], augmented_model_path=augmented)
        calibrator.collect_data(_Reader(inputs))
        return calibrator.compute_data()


def write_qdq(onnx: Path, out: Path, ranges: Any, nodes: Sequence[str]) -> None:
    """Write a file with some convolutions in INT8, as Q/DQ nodes around zero.

    Args:
        onnx: the file in floating point.
        out: the file to write.
        ranges: what `measure_ranges` gives.
        nodes: names of the convolutions.
    """
    # The steps of onnxruntime.quantization.quantize_static, which would measure ranges each time.
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    quantizer = QDQQuantizer(
        load_model_with_shape_infer(onnx),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=[QUANTIZED],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(out), False)


class _Reader:
    """What ONNX Runtime's quantiser reads inputs from."""

    def __init__(self, inputs: Iterable[FloatArray]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        images = next(self._inputs, None)
        return None if images is None else {"images": np.ascontiguousarray(images)}
