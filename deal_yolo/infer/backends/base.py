"""What runs the network: one protocol, chosen by the suffix of the weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deal_yolo.errors import WeightsError
from deal_yolo.metadata import Metadata

FloatArray = npt.NDArray[np.float32]
SUFFIXES = (".onnx", ".safetensors", ".engine")


class Backend(Protocol):
    """A loaded network that gives decoded boxes, not yet suppressed."""

    @property
    def metadata(self) -> Metadata:
        """What travels with the weights."""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width of the input in px; None takes any multiple of the largest stride."""

    @property
    def batch_size(self) -> int | None:
        """Images in a batch; None takes any number."""

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Run the network.

        Args:
            batch: ``(b, 3, h, w)`` RGB in [0, 1].

        Returns:
            ``(b, k, 4 + nc)``: left, top, right, bottom in px of the input, then one score in
            [0, 1] for each class.
        """


def refuse_nonfinite(output: FloatArray, path: Path) -> FloatArray:
    """The output of a network, if it is one of sound weights.

    Else every score would fail its threshold, and a damaged file would just find nothing.

    Raises:
        WeightsError: a value is NaN or infinite.
    """
    if not np.isfinite(output).all():
        raise WeightsError(f"{path} gives values that are not finite: export it again")
    return output


def load_backend(path: str | Path, threads: int | None = None, device: str = "cpu") -> Backend:
    """Open a weights file with the engine that its suffix names.

    Args:
        path: ``.onnx`` (ONNX Runtime), ``.safetensors`` (torch) or ``.engine`` (TensorRT).
        threads: CPU threads of one run; None leaves it to the engine.
        device: ``"cpu"`` or ``"cuda"``, as in torch; a ``.engine`` always runs on the GPU.

    Raises:
        WeightsError: no such file, an unknown suffix, or a file that is damaged or not ours.
        MissingExtraError: the engine is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise WeightsError(f"{path}: unknown kind of weights '{path.suffix}', known are {known}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    # Imported here: each engine is heavy, and only one of them need be installed.
    if path.suffix == ".onnx":
        from deal_yolo.infer.backends.onnx import OnnxBackend

        return OnnxBackend(path, threads, device)
    if path.suffix == ".safetensors":
        from deal_yolo.infer.backends.torch import TorchBackend

        return TorchBackend(path, threads, device)
    from deal_yolo.infer.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(path)
