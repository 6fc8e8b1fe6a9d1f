"""What tracking says about a video: a table of the animals, and when each was in sight."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from deal_yolo.errors import require
from deal_yolo.infer.draw import PALETTE
from deal_yolo.infer.track import Animal, by_class

HEADER = (
    "source", "track", "class", "first_frame", "first_s", "last_frame", "last_s", "frames",
)  # fmt: skip


def animals_csv(animals: Sequence[Animal]) -> str:
    """A row for each animal."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    for a in animals:
        seen = (a.first_frame, a.first_s, a.last_frame, a.last_s, a.frames)
        rows.writerow([a.source, a.track, a.name, *seen])
    return text.getvalue()


def timeline_png(animals: Sequence[Animal], names: Sequence[str], source: str) -> bytes:
    """A picture of one video: a bar for each animal from first to last sight, by class.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "footage")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, min(40, 1.6 + 0.14 * len(animals))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor("#20242a")
    row = 0
    for name, group in by_class(animals):
        colour = PALETTE[list(names).index(name) % len(PALETTE)]
        for number, a in enumerate(sorted(group, key=lambda animal: animal.first_s)):
            label = f"{len(group)} {name}" if number == 0 else None
            width = max(a.last_s - a.first_s, 0.02)
            axes.barh(row, width, left=a.first_s, height=0.75, color=colour, label=label)
            row += 1
    axes.set(xlabel="seconds", ylabel="animals", title=f"{len(animals)} animals in {source}")
    axes.set_yticks([])
    if animals:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
