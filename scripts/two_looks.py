"""Draw how two looks work, as in the README: the first look, the windows, the result.

python scripts/two_looks.py weights/deal-yolo-edge-seals.onnx PHOTO OUT
(README: MA262988 of data/sample)
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from deal_yolo.datasets.images import read_image
from deal_yolo.infer.cover import candidates
from deal_yolo.infer.detector import load_detector
from deal_yolo.infer.draw import Annotator, line_width
from deal_yolo.infer.refine import TwoStage

ORANGE, WHITE = (0, 165, 255), (255, 255, 255)
HEIGHT = 1000  # px of the picture


def main() -> None:
    weights, photo, out = sys.argv[1:]
    strategy = TwoStage(load_detector(weights))
    metadata, image = strategy.first.metadata, read_image(Path(photo))
    sight = strategy.see([image])[0]
    joined = strategy.join(sight, strategy.config)
    unsure, line = image.copy(), line_width(image)
    for box in sight.first.xyxy[candidates(sight.first, strategy.config)].astype(int).tolist():
        cv2.rectangle(unsure, box[:2], box[2:], ORANGE, line)
    for box in sight.windows.tolist():
        cv2.rectangle(unsure, box[:2], box[2:], WHITE, 3 * line)
    annotate, least = Annotator(metadata.names), metadata.score_threshold
    panels = [
        annotate(image, sight.first.select(sight.first.score >= least)),
        unsure,
        annotate(image, joined.select(joined.score >= least)),
    ]
    gap = np.full((image.shape[0], image.shape[1] // 60, 3), 255, np.uint8)
    row = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    size = (round(row.shape[1] * HEIGHT / row.shape[0]), HEIGHT)
    cv2.imwrite(out, cv2.resize(row, size, interpolation=cv2.INTER_AREA))


main()
