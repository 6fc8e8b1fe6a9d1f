"""Ultralytics' own validation of our weights, for figures that compare with its tables."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.errors import WeightsError
from deal_yolo.model.checkpoint import load_model
from deal_yolo.train.validator import Validator
from deal_yolo.train.windows import validation_yaml


@dataclass(frozen=True)
class Row:
    """One line of the table: a class, or all of them.

    Args:
        name: of the class, or ``all``.
        images: windows that hold the class.
        objects: how many.
        precision: at the score of best F1, IoU 0.5.
        recall: at the same score.
        map50: average precision at IoU 0.5.
        map50_95: its mean over IoU 0.5 to 0.95.
    """

    name: str
    images: int
    objects: int
    precision: float
    recall: float
    map50: float
    map50_95: float


def validate(
    weights: Path, data: str, split: str, imgsz: int | None = None, batch: int = 16
) -> list[Row]:
    """Score weights on the windows of a split (on the photos, where the data YAML cuts none).

    Args:
        weights: safetensors.
        data: data YAML.
        split: train, val or test.
        imgsz: side in px at which the model sees a window; None is the one of its training.
        batch: windows a step.

    Returns:
        The row of all classes, then one a class that occurs.

    Raises:
        WeightsError: the weights cannot be read, or know other classes than the data.
        DatasetError: the data set is missing or lacks the split.
    """
    model, metadata = load_model(weights)
    dataset = load_dataset(find_config("data", data))
    dataset.images(split)
    if metadata.names != dataset.names:
        raise WeightsError(
            f"{weights} knows the classes {', '.join(metadata.names)}; "
            f"{dataset.yaml} has {', '.join(dataset.names)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        validator = Validator(
            save_dir=Path(folder),
            args={
                "data": str(validation_yaml(dataset, split, Path(folder))),
                "split": split,
                "imgsz": imgsz or metadata.imgsz,
                "batch": batch,
                "max_det": 1000,
                "plots": False,
                "device": "cpu",
            },
        )
        validator(model=model)
    return _rows(validator)


def _rows(validator: Validator) -> list[Row]:
    metrics = validator.metrics
    images, objects = metrics.nt_per_image, metrics.nt_per_class
    figures = map(float, metrics.mean_results()[:4])
    rows = [Row("all", int(validator.seen), int(np.sum(objects)), *figures)]
    for i, number in enumerate(metrics.ap_class_index):
        figures = map(float, metrics.class_result(i)[:4])
        rows.append(Row(metrics.names[number], int(images[number]), int(objects[number]), *figures))
    return rows
