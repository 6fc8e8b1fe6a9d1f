"""Made photos for tests: labels, and what a detector with known flaws finds of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deal_yolo.datasets.labels import Labels
from deal_yolo.detections import Detections

NAMES = ("pup", "cow", "bull")
SIDE = 2000


def labels_of(
    boxes: Sequence[Sequence[float]],
    classes: Sequence[int] | None = None,
    ignore: Sequence[bool] | None = None,
) -> Labels:
    return Labels(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(len(boxes), np.int32) if classes is None else np.array(classes, np.int32),
        np.zeros(len(boxes), bool) if ignore is None else np.array(ignore, bool),
    )


def found_at(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], classes: Sequence[int] | None = None
) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.zeros(len(boxes), np.int32) if classes is None else np.array(classes, np.int32),
    )


def random_labels(rng: np.random.Generator, ignored: bool = False) -> Labels:
    """0 to 30 objects of 4 to 120 px; with ``ignored`` some are ignored, or whole regions are."""
    n = int(rng.integers(0, 31))
    corner = rng.uniform(0, SIDE - 130, (n, 2))
    boxes = np.concatenate([corner, corner + np.exp(rng.uniform(1.4, 4.8, (n, 2)))], axis=1)
    classes, ignore = rng.integers(0, len(NAMES), n), np.zeros(n, bool)
    if ignored:
        ignore = rng.random(n) < 0.2
        region = rng.uniform(0, SIDE / 2, (2, 2))
        regions = np.concatenate([region, region + rng.uniform(100, 700, (2, 2))], axis=1)
        boxes = np.concatenate([boxes, regions])
        classes = np.concatenate([classes, [-1, 1]])
        ignore = np.concatenate([ignore, [True, True]])
    return labels_of(boxes, classes, ignore)


def flawed(labels: Labels, rng: np.random.Generator, false: int = 40) -> Detections:
    """Most objects, badly placed, some twice, some of a wrong class, and boxes of nothing."""
    seen = np.repeat(np.flatnonzero(rng.random(len(labels)) < 0.8), 2)
    seen = seen[(np.arange(len(seen)) % 2 == 0) | (rng.random(len(seen)) < 0.15)]
    size = labels.xyxy[seen, 2:] - labels.xyxy[seen, :2]
    right = labels.xyxy[seen] + np.tile(size, 2) * rng.normal(0, 0.06, (len(seen), 4))
    classes = np.maximum(labels.class_id[seen], 0)
    classes = np.where(rng.random(len(seen)) < 0.1, 1, classes)
    corner = rng.uniform(0, SIDE - 100, (false, 2))
    wrong = np.concatenate([corner, corner + rng.uniform(4, 100, (false, 2))], axis=1)
    # Scores of two digits, so that many are equal.
    scores = np.concatenate([rng.beta(4, 2, len(seen)), rng.beta(1, 5, false)]).round(2)
    return found_at(
        np.concatenate([right, wrong]),
        np.clip(scores, 0.01, 1),
        np.concatenate([classes, rng.integers(0, len(NAMES), false)]),
    )


def many(
    seed: int, photos: int = 12, ignored: bool = False
) -> tuple[list[Labels], list[Detections]]:
    """Photos with what was found in each; some are empty."""
    rng = np.random.default_rng(seed)
    labels = [random_labels(rng, ignored) for _ in range(photos - 2)] + [Labels.empty()] * 2
    found = [flawed(truth, rng) for truth in labels]
    found[0] = Detections.empty()
    return labels, found


def save_dataset(root: Path, photos: int = 3) -> Path:
    """A data set of photos of 64 px that the graph of `tests.infer.graph` sees as they are.

    Val and test have a red square in each photo and a green one in every other; train has no
    label at all.
    """
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for split in ("val", "test"):
        for number in range(photos):
            image, lines = np.zeros((64, 64, 3), np.uint8), []
            for class_id, x in enumerate((4, 36)[: 1 + number % 2]):
                image[20:36, x : x + 16, 2 - class_id] = 200
                lines.append(f"{class_id} {(x + 8) / 64} {28 / 64} 0.25 0.25\n")
            cv2.imwrite(str(root / "images" / f"{split}{number}.png"), image)
            (root / "labels" / f"{split}{number}.txt").write_text("".join(lines))
        files = "".join(f"images/{split}{n}.png\n" for n in range(photos))
        (root / f"{split}.txt").write_text(files)
    cv2.imwrite(str(root / "images" / "bare.png"), np.zeros((64, 64, 3), np.uint8))
    (root / "train.txt").write_text("images/bare.png\n")
    file = root / "data.yaml"
    file.write_text("train: train.txt\nval: val.txt\ntest: test.txt\nnames: [red, green]\n")
    return file
