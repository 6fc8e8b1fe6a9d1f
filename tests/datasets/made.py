"""Small data sets made for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import yaml

from deal_yolo.datasets.dataset import Dataset, load_dataset
from deal_yolo.datasets.labels import format_rows, to_row

Box = tuple[int, float, float, float, float]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A photo no two of which look alike, without black pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 256, (9, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) | 16


def write_photo(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def write_labels(path: Path, boxes: list[Box], width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [to_row(number, box, width, height) for number, *box in boxes]
    path.write_text(format_rows(rows))


def make(
    root: Path,
    photos: dict[str, dict[str, list[Box]]],
    size: tuple[int, int] = (200, 100),
    names: tuple[str, ...] = ("cow", "calf"),
) -> Dataset:
    """A YOLO data set: split -> name -> boxes (class, left, top, right, bottom in px)."""
    seed = 0
    for split, content in photos.items():
        for name, boxes in content.items():
            seed += 1
            write_photo(root / "images" / split / f"{name}.png", noise(*size, seed))
            write_labels(root / "labels" / split / f"{name}.txt", boxes, *size)
    entries = {split: f"images/{split}" for split in photos}
    (root / "data.yaml").write_text(yaml.safe_dump({**entries, "names": list(names)}))
    return load_dataset(root / "data.yaml")
