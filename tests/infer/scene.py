"""Scenes of bright squares, and a backend in NumPy that finds them the better the larger."""

from __future__ import annotations

import cv2
import numpy as np

from deal_yolo.infer.detector import Detector
from deal_yolo.metadata import Metadata
from tests.infer.graph import metadata

ROWS = 200


class SquareBackend:
    """Exact boxes of red and green squares; the score is their side in px of the input / 16."""

    def __init__(
        self,
        input_size: tuple[int, int] | None = None,
        batch_size: int | None = None,
        meta: Metadata | None = None,
    ) -> None:
        self.metadata = meta or metadata()
        self.input_size = input_size
        self.batch_size = batch_size
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.shapes.append(batch.shape)
        out = np.zeros((len(batch), ROWS, 6), np.float32)
        for number, image in enumerate(batch):
            rows = [row for c in (0, 1) for row in self._squares(image, c)][:ROWS]
            if rows:
                out[number, : len(rows)] = rows
        return out

    def _squares(self, image: np.ndarray, channel: int) -> list[list[float]]:
        others = image[[c for c in range(3) if c != channel]].max(axis=0)
        bright = (image[channel] - others > 0.25).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
        rows = []
        for x, y, w, h, _ in stats[1:]:
            scores = [0.0, 0.0]
            scores[channel] = min(1.0, np.sqrt(w * h) / 16)
            rows.append([x, y, x + w, y + h, *scores])
        return rows


def detector(imgsz: int | None = None, **backend: object) -> Detector:
    return Detector(SquareBackend(**backend), imgsz)  # type: ignore[arg-type]


def scene(
    squares: list[tuple[int, int, int]], width: int = 640, height: int = 480, colour: int = 2
) -> np.ndarray:
    """A grey picture with squares given as left, top, side; colour 2 is red, 1 green (BGR)."""
    image = np.full((height, width, 3), 60, np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = 0
        image[y : y + side, x : x + side, colour] = 250
    return image


def boxes_of(squares: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array([(x, y, x + s, y + s) for x, y, s in squares], np.float32).reshape(-1, 4)
