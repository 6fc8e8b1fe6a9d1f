"""ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.infer.backends.base import FloatArray, refuse_nonfinite
from deal_yolo.metadata import Metadata

_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OnnxBackend:
    """A graph made by ``deal-yolo export``: input ``images``, output ``detections``.

    Args:
        path: the ``.onnx`` file.
        threads: CPU threads within an operator; None leaves it to ONNX Runtime.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        WeightsError: the file is damaged, has no metadata, or another input or output.
        ConfigError: this ONNX Runtime cannot use the device.
    """

    def __init__(self, path: Path, threads: int | None = None, device: str = "cpu") -> None:
        session = _load(path, threads, device)
        self._path = path
        self._session = session
        self.metadata = Metadata.from_strings(
            session.get_modelmeta().custom_metadata_map, str(path)
        )
        shape = _check_form(session, len(self.metadata.names), path)
        self.batch_size = shape[0]
        height, width = shape[2:]
        self.input_size = None if height is None or width is None else (height, width)
        self._lanes = 0
        if device == "cpu" and self.batch_size is None:
            self._lanes = threads or os.cpu_count() or 1

    def __call__(self, batch: FloatArray) -> FloatArray:
        """See `deal_yolo.infer.backends.base.Backend`.

        On a CPU as many images as there are threads run side by side, one thread each: the maps of
        a whole batch outgrow the cache, and threads that share an operator wait for each other.
        """
        if not self._lanes or len(batch) < 2:
            return self._run(self._session, batch)
        images = [batch[i : i + 1] for i in range(len(batch))]
        even = len(images) - len(images) % self._lanes if self._lanes > 1 else 0
        outputs = list(self._side_by_side(images[:even])) if even else []
        return np.concatenate(outputs + [self._run(self._session, i) for i in images[even:]])

    @cached_property
    def _side_by_side(self) -> Callable[[list[FloatArray]], Iterator[FloatArray]]:
        """Runs single images, each on one thread, with a session that threads may share."""
        session, pool = _load(self._path, 1, "cpu"), ThreadPoolExecutor(self._lanes)
        return lambda images: pool.map(lambda image: self._run(session, image), images)

    def _run(self, session: Any, batch: FloatArray) -> FloatArray:
        output = cast(FloatArray, session.run(["detections"], {"images": batch})[0])
        return refuse_nonfinite(output, self._path)


def _load(path: Path, threads: int | None, device: str) -> Any:
    try:
        return ort.InferenceSession(
            str(path), session_options(threads), providers=_providers(device)
        )
    except _LOAD_ERRORS as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path} is not a usable ONNX file: {reason}") from error


def session_options(threads: int | None) -> Any:
    """How every graph is run here.

    Args:
        threads: CPU threads within an operator; None leaves it to ONNX Runtime.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    # Else the threads go on spinning after a run, and take the cores from what follows it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _providers(device: str) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    raise ConfigError(f"this ONNX Runtime has no device '{device}': use cpu")


def _check_form(session: Any, classes: int, path: Path) -> tuple[int | None, ...]:
    """The input shape of a graph of our form, None where it is free."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != ["images"] or "detections" not in [o.name for o in outputs]:
        raise WeightsError(f"{path} is not a graph made by 'deal-yolo export'")
    last = next(o for o in outputs if o.name == "detections").shape[-1]
    if isinstance(last, int) and last != 4 + classes:
        raise WeightsError(
            f"{path} gives {last - 4} class scores but names {classes} classes: export it again"
        )
    return tuple(d if isinstance(d, int) else None for d in inputs[0].shape)
