"""A sheet of augmented windows, to look at before training on such."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from deal_yolo.datasets.augment import Augmentation
from deal_yolo.datasets.dataset import Dataset, TileConfig
from deal_yolo.datasets.images import Image, window_reader
from deal_yolo.datasets.labels import Labels
from deal_yolo.datasets.sheet import contact_sheet, draw, fit, write_png
from deal_yolo.datasets.window import window_labels, window_pixels
from deal_yolo.errors import DatasetError


def preview(
    dataset: Dataset, augmentation: Augmentation, out: Path, count: int = 20, seed: int = 0
) -> int:
    """Write a PNG of ``count`` windows of the training photos: each as it is, then augmented.

    Windows are laid around an object, at the sizes and scales of the data set's ``tile`` block.

    Returns:
        The number of windows drawn.

    Raises:
        DatasetError: no training photo has an object, or a file cannot be read.
        OutputError: ``out`` cannot be written.
    """
    config = dataset.config.tile or TileConfig()
    rng = random.Random(seed)
    images = dataset.images("train")
    rng.shuffle(images)
    cells = []
    for image in images:
        window = _window(dataset, image, config, rng)
        if window is None:
            continue
        pixels, labels = window
        for shown, caption in ((window, image.name), (augmentation(pixels, labels), "augmented")):
            cells.append((draw(*fit(*shown, 480)), caption))
        if len(cells) >= 2 * count:
            break
    if not cells:
        raise DatasetError(f"no training photo of {dataset.yaml} has an object to show")
    write_png(out, contact_sheet(cells, 480, 6))
    return len(cells) // 2


def _window(
    dataset: Dataset, image: Path, config: TileConfig, rng: random.Random
) -> tuple[Image, Labels] | None:
    """A window around one of the photo's objects, or None if it has none or is mostly black."""
    labels = dataset.labels(image)
    objects = labels.xyxy[~labels.ignore]
    if not len(objects):
        return None
    scale = rng.choice(config.scales)
    side = max(1, round(config.size / scale))
    box = objects[rng.randrange(len(objects))]
    with window_reader(image) as reader:
        room = (reader.width - side, reader.height - side)
        corner = [
            max(0, min(int((box[i] + box[i + 2]) / 2 - rng.uniform(0.2, 0.8) * side), room[i]))
            for i in range(2)
        ]
        area = np.array([*corner, corner[0] + side, corner[1] + side], np.int64)
        pixels = window_pixels(reader, area, scale, config)
    return None if pixels is None else (pixels, window_labels(labels, area, scale, config))
