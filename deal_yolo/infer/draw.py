"""Annotated pictures: thin boxes outside the animals, colours by class, a legend with counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deal_yolo.boxes import Boxes, grow, intersection
from deal_yolo.detections import UNTRACKED, Detections
from deal_yolo.errors import require
from deal_yolo.infer.preprocess import Image

if TYPE_CHECKING:
    import supervision as sv

# Told apart also by most colour-blind people, and bright on sand, grass, rock and water.
PALETTE = (
    "#FFD400", "#00C8FF", "#FF4FA3", "#7CFF4F", "#FF8A00", "#B48CFF", "#FFFFFF", "#00E0A0",
)  # fmt: skip
Colour = tuple[int, int, int]
_INK = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Annotator:
    """Draws detections into pictures of one source.

    Boxes of the first look are drawn whole, those of the second look as corners. Tracked objects
    get their number and their trail, for which supervision must be installed.

    Args:
        names: class names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._trace: sv.TraceAnnotator | None = None
        self._corner: tuple[int, int] | None = None

    def __call__(self, image: Image, found: Detections) -> Image:
        """A copy of ``image`` with ``found`` drawn in, in the image's px."""
        picture: Image = image.copy()
        line = line_width(image)
        # A line beside the animal hides nothing of it.
        outside = found.replace(xyxy=grow(found.xyxy, 0.0) + np.array([-1, -1, 1, 1]) * line)
        self._draw_boxes(picture, outside, line)
        if (found.track != UNTRACKED).any():
            self._draw_tracks(picture, found.select(found.track != UNTRACKED), line)
        rows = self._legend(found)
        panel = _panel_size(picture, rows, line)
        if self._corner is None:  # chosen once, so that it does not jump about in a video
            self._corner = _emptiest_corner(picture, panel, found.xyxy)
        _draw_legend(_part(picture, panel, self._corner), rows, line, _text(picture, line))
        return picture

    def _draw_boxes(self, picture: Image, found: Detections, line: int) -> None:
        boxes = found.xyxy.astype(int).tolist()
        for box, number, stage in zip(boxes, found.class_id, found.stage, strict=True):
            left, top, right, bottom = box
            if stage == 1:
                cv2.rectangle(picture, (left, top), (right, bottom), colour(number), line)
            else:
                length = max(3, round(min(right - left, bottom - top) * 0.3))
                _draw_corners(picture, (left, top, right, bottom), length, colour(number), line)

    def _draw_tracks(self, picture: Image, found: Detections, line: int) -> None:
        # Imported late: it takes longer than all else that a picture needs.
        sv = require("supervision", "footage")
        palette = sv.ColorPalette.from_hex(list(PALETTE))
        drawn = found.to_supervision()
        if self._trace is None:
            self._trace = sv.TraceAnnotator(palette, thickness=line, trace_length=60)
        self._trace.annotate(picture, drawn)
        label = sv.LabelAnnotator(
            color=palette,
            text_color=sv.Color.BLACK,
            text_scale=0.35 * line + 0.1,
            text_thickness=line,
            text_padding=line,
        )
        label.annotate(picture, drawn, labels=[str(t) for t in found.track])

    def _legend(self, found: Detections) -> list[_Row]:
        counts = np.bincount(found.class_id, minlength=len(self._names))
        rows = [
            _Row(f"{count} {self._names[number]}", colour(number), "box")
            for number, count in enumerate(counts)
            if count
        ]
        again = int((found.stage == 2).sum())
        if again:
            rows.append(_Row(f"{again} of them by a second look", _INK, "corners"))
        return rows or [_Row("nothing found", _INK, "none")]


class _Row:
    """A line of the legend: its text, and the sign before it."""

    def __init__(self, text: str, colour: Colour, sign: str) -> None:
        self.text, self.colour, self.sign = text, colour, sign


def colour(number: int) -> Colour:
    """Colour of a class, BGR."""
    red, green, blue = bytes.fromhex(PALETTE[number % len(PALETTE)][1:])
    return blue, green, red


def line_width(image: Image) -> int:
    """Width in px of a line that is thin in a picture of this size, and still to be seen."""
    longer: int = max(image.shape[0], image.shape[1])
    return max(1, round(longer / 1200))


def _text(picture: Image, line: int) -> tuple[float, int]:
    """Scale of the legend's font, and its height in px."""
    longer: int = max(picture.shape[0], picture.shape[1])
    scale = max(0.45, longer / 2200)
    return scale, cv2.getTextSize("Ag0", _FONT, scale, line)[0][1]


def _panel_size(picture: Image, rows: Sequence[_Row], line: int) -> tuple[int, int]:
    """Height and width of the legend, no larger than the picture."""
    scale, high = _text(picture, line)
    wide = max(cv2.getTextSize(r.text, _FONT, scale, line)[0][0] for r in rows)
    size = (round(high * 1.9) * len(rows) + high, wide + 4 * high)
    return min(size[0], picture.shape[0]), min(size[1], picture.shape[1])


def _emptiest_corner(picture: Image, panel: tuple[int, int], boxes: Boxes) -> tuple[int, int]:
    """Top and left of a panel that hides the fewest boxes; the top left if all are alike."""
    below, beside = picture.shape[0] - panel[0], picture.shape[1] - panel[1]
    corners = [(0, 0), (0, beside), (below, 0), (below, beside)]
    places = np.array([(x, y, x + panel[1], y + panel[0]) for y, x in corners], np.float32)
    hidden = (intersection(boxes, places) > 0).sum(axis=0)
    return corners[int(np.argmin(hidden))]


def _part(picture: Image, panel: tuple[int, int], corner: tuple[int, int]) -> Image:
    top, left = min(corner[0], picture.shape[0] - panel[0]), corner[1]
    left = min(left, picture.shape[1] - panel[1])
    return picture[top : top + panel[0], left : left + panel[1]]


def _draw_legend(panel: Image, rows: Sequence[_Row], line: int, text: tuple[float, int]) -> None:
    """Write the rows into a part of the picture, darkened."""
    scale, high = text
    step = round(high * 1.9)
    panel[:] = (panel * 0.35).astype(np.uint8)
    for number, row in enumerate(rows):
        base = high // 2 + step * number + (step + high) // 2
        _draw_sign(panel, row, (high, base - high, 2 * high, base), line)
        cv2.putText(panel, row.text, (3 * high, base), _FONT, scale, _INK, line, cv2.LINE_AA)


def _draw_sign(picture: Image, row: _Row, box: tuple[int, int, int, int], line: int) -> None:
    left, top, right, bottom = box
    if row.sign == "box":
        cv2.rectangle(picture, (left, top), (right, bottom), row.colour, -1)
    if row.sign == "corners":
        _draw_corners(picture, box, (right - left) // 3, row.colour, line)


def _draw_corners(
    picture: Image, box: tuple[int, int, int, int], length: int, colour: Colour, line: int
) -> None:
    left, top, right, bottom = box
    for x, dx in ((left, length), (right, -length)):
        for y, dy in ((top, length), (bottom, -length)):
            cv2.line(picture, (x, y), (x + dx, y), colour, line)
            cv2.line(picture, (x, y), (x, y + dy), colour, line)
