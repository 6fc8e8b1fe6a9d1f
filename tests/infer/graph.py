"""A tiny ONNX graph of the exported form that finds bright squares, for tests.

Each cell of 8 x 8 px of the input gives one box of 16 px around its centre. The score of class
``red`` is the cell's mean red, that of class ``green`` its mean green.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deal_yolo.config import RefineConfig
from deal_yolo.metadata import Metadata

CELL = 8
BOX = 16


def metadata(names: tuple[str, ...] = ("red", "green"), imgsz: int = 64) -> Metadata:
    refine = RefineConfig(first_imgsz=None, window=64, window_imgsz=64, least_context=16)
    return Metadata(names=names, imgsz=imgsz, strides=(4, 8), model={}, refine=refine)


def save_graph(
    path: Path,
    shape: tuple[int | str, ...] = ("b", 3, "h", "w"),
    meta: Metadata | None = None,
) -> Path:
    def constant(name: str, values: list[float] | float, kind: type = np.float32) -> None:
        initializers.append(numpy_helper.from_array(np.array(values, kind), name))

    initializers: list[onnx.TensorProto] = []
    constant("one", [1.0])
    constant("axis_y", 2, np.int64)
    constant("axis_x", 3, np.int64)
    constant("zero_at", [0], np.int64)
    constant("two_at", [2], np.int64)
    constant("one_at", [1], np.int64)
    constant("half", 0.5)
    constant("cell", float(CELL))
    constant("box", float(BOX // 2))
    constant("flat", [0, 0, -1], np.int64)
    node = helper.make_node
    nodes = [
        node(
            "AveragePool",
            ["images"],
            ["cells"],
            kernel_shape=[CELL, CELL],
            strides=[CELL, CELL],
        ),
        node("Slice", ["cells", "zero_at", "two_at", "one_at"], ["scores"]),
        node("Slice", ["cells", "zero_at", "one_at", "one_at"], ["first"]),
        node("Sub", ["first", "first"], ["nothing"]),
        node("Add", ["nothing", "one"], ["ones"]),
    ]
    for axis in "xy":
        nodes += [
            node("CumSum", ["ones", f"axis_{axis}"], [f"count_{axis}"]),
            node("Sub", [f"count_{axis}", "half"], [f"middle_{axis}"]),
            node("Mul", [f"middle_{axis}", "cell"], [f"c{axis}"]),
            node("Sub", [f"c{axis}", "box"], [f"low_{axis}"]),
            node("Add", [f"c{axis}", "box"], [f"high_{axis}"]),
        ]
    parts = ["low_x", "low_y", "high_x", "high_y", "scores"]
    nodes += [
        node("Concat", parts, ["maps"], axis=1),
        node("Reshape", ["maps", "flat"], ["rows"]),
        node("Transpose", ["rows"], ["detections"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("detections", TensorProto.FLOAT, (shape[0], "k", 6))],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, (meta or metadata()).to_strings())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
