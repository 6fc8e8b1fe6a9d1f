"""PyTorch, for weights that were not exported."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from deal_yolo.errors import ConfigError, require
from deal_yolo.infer.backends.base import FloatArray, refuse_nonfinite

MAX_DETECTIONS = 3000


class TorchBackend:
    """A ``.safetensors`` file run by torch, with the output of an exported graph.

    Args:
        path: the weights.
        threads: CPU threads of the whole process; None leaves it to torch.
        device: as torch names it, such as ``"cpu"`` or ``"cuda:0"``.

    Raises:
        WeightsError: the file is damaged or not ours.
        ConfigError: torch cannot use the device.
        MissingExtraError: torch is not installed.
    """

    input_size: tuple[int, int] | None = None
    batch_size: int | None = None

    def __init__(self, path: Path, threads: int | None = None, device: str = "cpu") -> None:
        self._torch = require("torch", "train")
        require("ultralytics", "train")
        from deal_yolo.model.checkpoint import load_model
        from deal_yolo.model.network import EndToEnd

        if threads is not None:
            self._torch.set_num_threads(threads)
        self._path = path
        model, self.metadata = load_model(path)
        keep = self.metadata.max_detections or MAX_DETECTIONS
        try:
            self._device = self._torch.device(device)
            self._model = EndToEnd(model, keep).eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"torch cannot use the device '{device}': use cpu") from error

    def __call__(self, batch: FloatArray) -> FloatArray:
        """See `deal_yolo.infer.backends.base.Backend`."""
        with self._torch.inference_mode():
            output = self._model(self._torch.from_numpy(batch).to(self._device))
        return refuse_nonfinite(cast(FloatArray, output.float().cpu().numpy()), self._path)
