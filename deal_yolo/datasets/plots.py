"""Figures of a data set, for a paper or a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.datasets.stats import SMALL, Objects
from deal_yolo.errors import OutputError, require

# Okabe and Ito: told apart also by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
DPI = 200


def write_plots(objects: Objects, folder: Path) -> list[Path]:
    """Write ``sizes.png``, ``classes.png``, ``positions.png`` and ``density.png``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the folder cannot be written.
    """
    matplotlib = require("matplotlib", "data")
    figure = require("matplotlib.figure", "data").Figure
    made = []
    with matplotlib.rc_context(STYLE):
        for name, draw, size in (
            ("sizes", _sizes, (5.0, 3.2)),
            ("classes", _classes, (5.0, 3.2)),
            ("positions", _positions, (3.8, 3.4)),
            ("density", _density, (5.0, 3.2)),
        ):
            drawn = figure(figsize=size, dpi=DPI, layout="constrained")
            draw(objects, drawn)
            path = folder / f"{name}.png"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                drawn.savefig(path)
            except OSError as error:
                raise OutputError(f"cannot write {path}: {error.strerror}") from error
            made.append(path)
    return made


def _sizes(objects: Objects, figure: Any) -> None:
    axes = figure.subplots()
    side = np.clip(objects.side, 1, None)
    edges = np.geomspace(max(1.0, side.min()), side.max() * 1.001, 40)
    for number, name in enumerate(objects.names):
        own = side[objects.class_id == number]
        if len(own):
            label = f"{name} ({len(own):,})"
            colour = COLOURS[number % len(COLOURS)]
            axes.hist(own, edges, histtype="step", linewidth=1.4, color=colour, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    for limit in SMALL:
        if edges[0] <= limit <= edges[-1]:
            axes.axvline(limit, color="0.5", linewidth=0.8, linestyle=":")
    axes.set_xlabel("object size, square root of the box's area (px of the photo)")
    axes.set_ylabel("objects")
    axes.legend()


def _classes(objects: Objects, figure: Any) -> None:
    axes = figure.subplots()
    split = objects.photo_split[objects.photo]
    place = np.arange(len(objects.names))
    width = 0.8 / len(objects.splits)
    for i, name in enumerate(objects.splits):
        counts = np.bincount(objects.class_id[split == i], minlength=len(place))
        bars = axes.bar(place + i * width, counts, width, color=COLOURS[i], label=name)
        axes.bar_label(bars, [f"{c:,}" for c in counts], fontsize=6, padding=1)
    axes.set_xticks(place + 0.4 - width / 2, objects.names)
    # A rare class beside a frequent one would not be seen on a linear axis.
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylabel("objects")
    axes.legend()


def _positions(objects: Objects, figure: Any) -> None:
    axes = figure.subplots()
    centre = (objects.xyxy[:, :2] + objects.xyxy[:, 2:]) / 2 / objects.photo_size[objects.photo]
    image = axes.hist2d(*centre.T, bins=32, range=((0, 1), (0, 1)), cmap="cividis")[3]
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("centre, share of the photo's width")
    axes.set_ylabel("share of its height")
    figure.colorbar(image, ax=axes, label="objects", shrink=0.8)


def _density(objects: Objects, figure: Any) -> None:
    axes = figure.subplots()
    top = max(1, int(objects.density.max()))
    edges = np.linspace(0, top + 1, min(30, top + 1) + 1)
    parts = [objects.density[objects.photo_split == i] for i in range(len(objects.splits))]
    colours = list(COLOURS[: len(parts)])
    axes.hist(parts, edges, stacked=True, color=colours, label=list(objects.splits))
    axes.set_xlabel("objects a photo")
    axes.set_ylabel("photos")
    axes.legend()
