"""INT8 measured on labelled photos: ranges from the train split, scores on the val split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.evaluate.evaluation import Options, evaluate
from deal_yolo.evaluate.run import Runner, gather
from deal_yolo.evaluate.split import Split, load_split
from deal_yolo.export.check import model_inputs
from deal_yolo.export.quantize import LossError, Quality, QuantizeReport, quantize
from deal_yolo.infer.backends.base import load_backend

Progress = Callable[[Iterable[Path], str], Iterable[Path]]
# Photos to measure ranges on; each is seen whole and in its middle.
PHOTOS = 16
SMALL_BINS = ("2-8", "8-16")


def quantize_gated(
    onnx: Path, out: Path, data: str, accept_loss: bool, progress: Progress
) -> QuantizeReport:
    """Write an INT8 file, unless it loses too much on the val photos.

    Args:
        onnx: the FP32 file to start from.
        out: the file to write.
        data: data YAML, or the name of a shipped one; with splits train and val.
        accept_loss: write it however much it loses.
        progress: told of the photos as they are scored.

    Raises:
        LossError: it loses more than `deal_yolo.export.quantize.AP50_LOSS` or ``SMALL_LOSS``.
        DatasetError: the data set is broken.
    """
    dataset = load_dataset(find_config("data", data))
    split = load_split(dataset, "val")
    photos = dataset.images("train")
    chosen = photos[:: max(1, len(photos) // PHOTOS)][:PHOTOS]
    backend = load_backend(onnx)
    inputs = (images[:1] for photo in chosen for images in model_inputs(photo, backend))
    part = out.with_name(f"{out.stem}.part.onnx")  # scored by its suffix
    try:
        report = quantize(onnx, part, inputs, lambda file: score_of(file, split, progress))
        refusal = report.refusal()
        if refusal and not accept_loss:
            raise LossError(refusal, report)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return report


def score_of(file: Path, split: Split, progress: Progress) -> Quality:
    """The scores of a file on the photos of a split, each seen whole."""
    found = gather([split], "whole", Runner(file, progress=progress))
    result = evaluate(split, found[0], Options(draws=0)).as_json()["strategies"]
    (figures,) = result.values()
    small = [figures["AP_by_size"].get(name) for name in SMALL_BINS]
    known = [value for value in small if value is not None]
    return Quality(100 * (figures["AP50"] or 0.0), 100 * sum(known) / len(known) if known else None)
