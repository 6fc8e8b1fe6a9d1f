"""Contact sheets: many small pictures with their boxes on one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deal_yolo.datasets.images import Image
from deal_yolo.datasets.labels import Labels
from deal_yolo.errors import OutputError

# Blue-green-red; told apart also by colour-blind readers (Okabe and Ito).
COLOURS = (
    (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (178, 114, 0), (0, 94, 213),
    (167, 121, 204),
)  # fmt: skip
IGNORED = (200, 200, 200)
CAPTION = 22
GAP = 6


def draw(image: Image, labels: Labels) -> Image:
    """``image`` with thin boxes around the labels, coloured by class, ignored ones grey."""
    seen: Image = np.array(image)
    for box, number, ignore in zip(labels.xyxy, labels.class_id, labels.ignore, strict=True):
        colour = IGNORED if ignore else COLOURS[int(number) % len(COLOURS)]
        # Boxes of broken labels may be anywhere; far outside, OpenCV's integers would overflow.
        x1, y1, x2, y2 = (int(v) for v in np.clip(np.rint(box), -10_000, 60_000))
        cv2.rectangle(seen, (x1 - 1, y1 - 1), (x2, y2), colour, 1, cv2.LINE_AA)
    return seen


def fit(image: Image, labels: Labels, side: int) -> tuple[Image, Labels]:
    """Image and labels made smaller, if needed, so that neither side is above ``side`` px."""
    scale = min(1.0, side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    seen = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return seen, Labels(labels.xyxy * scale, labels.class_id, labels.ignore)


def contact_sheet(cells: Sequence[tuple[Image, str]], side: int, columns: int) -> Image:
    """One picture of many; each cell is at most ``side`` px wide and high, its caption below."""
    columns = max(1, min(columns, len(cells)))
    rows = -(-len(cells) // columns)
    high, wide = side + CAPTION + GAP, side + GAP
    sheet = np.full((rows * high + GAP, columns * wide + GAP, 3), 255, np.uint8)
    for number, (image, caption) in enumerate(cells):
        y, x = GAP + number // columns * high, GAP + number % columns * wide
        height, width = image.shape[:2]
        sheet[y : y + height, x : x + width] = image
        text = caption if len(caption) <= side // 7 else "..." + caption[3 - side // 7 :]
        cv2.putText(
            sheet, text, (x, y + side + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1,
            cv2.LINE_AA,
        )  # fmt: skip
    return sheet


def write_png(path: Path, image: Image) -> None:
    """Write a picture so that it is never seen half-written.

    Raises:
        OutputError: it cannot be written.
    """
    code = cv2.imencode(".png", image)[1].tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(code)
        new.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
