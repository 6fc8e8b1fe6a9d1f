"""Time two-stage beside slicing where animals are few, runs in turn.

DEAL_YOLO_DATA=.../elephant-seals python scripts/bench_sparse.py WEIGHTS elephant-seals test

Twice: the five photos of the split with the fewest animals, and the photo with the median number
of animals set into the middle of an empty canvas of ten times its area. Of each strategy: AP50,
seconds a photo (median of the rounds, two threads) with their share of slicing's, and windows a
photo. ``max_windows=0`` is the first look alone, below which two-stage cannot get.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deal_yolo.boxes import shift
from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.datasets.images import read_image
from deal_yolo.datasets.labels import Labels
from deal_yolo.evaluate.protocol import Protocol, score
from deal_yolo.evaluate.resample import resample
from deal_yolo.evaluate.split import load_split
from deal_yolo.evaluate.strategy import parse_strategies
from deal_yolo.infer.detector import load_detector
from deal_yolo.infer.preprocess import PAD, Image

ROUNDS = 5
STRATEGIES = (
    "sliced,sahi,two-stage:max_windows=0,two-stage,"
    "two-stage:max_windows=0+first_imgsz=1280,two-stage:first_imgsz=1280"
)


def canvas(image: Image, labels: Labels) -> tuple[Image, Labels]:
    """A photo and its labels in the middle of a grey canvas of ten times the area."""
    height, width = image.shape[:2]
    large = np.full((round(height * 10**0.5), round(width * 10**0.5), 3), PAD, np.uint8)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    large[top : top + height, left : left + width] = image
    return large, replace(labels, xyxy=shift(labels.xyxy, left, top))


def measure(
    title: str, weights: str, names: tuple[str, ...], photos: Sequence[tuple[Image, Labels]]
) -> None:
    detector = load_detector(weights, threads=2)
    strategies = {s.text: s.build(detector, None) for s in parse_strategies(STRATEGIES)}
    seconds: dict[str, list[float]] = {name: [] for name in strategies}
    looks = {}
    for turn in range(ROUNDS + 1):
        for name, strategy in strategies.items():
            looks[name] = [strategy.look([image])[0] for image, _ in photos]
            if turn:  # the first runs are slower
                seconds[name].append(statistics.mean(look.seconds for look in looks[name]))
    print(f"{title}: {len(photos)} photos, {sum(len(labels) for _, labels in photos)} animals")
    for name, seen in looks.items():
        labels, found = [labels for _, labels in photos], [look.detections for look in seen]
        ap50 = score(labels, found, Protocol(names, 0.5), resample(len(photos), 0)).AP50.value
        windows = statistics.mean(len(look.windows) for look in seen)
        median = statistics.median(seconds[name])
        share = median / statistics.median(seconds["sliced"])
        print(f"  {name}: AP50 {ap50:.3f}, {median:.3f} s ({share:.2f}), {windows:.1f} windows")


def main(weights: str, data: str, split: str) -> None:
    photos = load_split(load_dataset(find_config("data", data)), split)
    pairs = sorted(zip(photos.images, photos.labels, strict=True), key=lambda p: len(p[1]))
    names = photos.dataset.names
    few = [(read_image(path), labels) for path, labels in pairs[:5]]
    measure("fewest animals", weights, names, few)
    path, labels = pairs[len(pairs) // 2]
    measure("canvas", weights, names, [canvas(read_image(path), labels)])


if __name__ == "__main__":
    main(*sys.argv[1:])
