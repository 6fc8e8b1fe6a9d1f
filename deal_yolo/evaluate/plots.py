"""Plots of a comparison: precision against recall, AP by size, AP against cost, and learning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.errors import OutputError, require
from deal_yolo.evaluate.compare import Comparison, Table
from deal_yolo.evaluate.matching import IOU_THRESHOLDS, match
from deal_yolo.evaluate.models import curves
from deal_yolo.evaluate.precision import precision_curve, rank
from deal_yolo.evaluate.resample import Figure


def write_plots(comparison: Comparison, folder: Path, stem: str) -> list[list[Path]]:
    """Write the plots of each table, and at last the learning curves.

    ``STEM-pr.png`` (precision against recall), ``-size`` (AP by size), ``-seconds``, ``-latency``
    and ``-parameters`` (AP against them), ``-curves`` (AP on the validation windows by epoch). With
    several tables the table's number, from 1, stands before the name. What would show a single
    point, or nothing, is left out.

    Returns:
        The files of each table, then those of the whole page.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    drawings: dict[str, Callable[[Table, Any], bool]] = {
        "pr": _precision_recall,
        "size": _by_size,
        "seconds": _against_seconds,
        "latency": lambda table, axes: _against_latency(table, axes, comparison),
        "parameters": _against_parameters,
    }
    made: list[list[Path]] = []
    for number, table in enumerate(comparison.tables, 1):
        start = f"{stem}-{number}" if len(comparison.tables) > 1 else stem
        made.append([])
        for name, draw in drawings.items():
            path = folder / f"{start}-{name}.png"
            if _write(path, lambda axes, draw=draw, table=table: draw(table, axes)):  # type: ignore[misc]
                made[-1].append(path)
    path = folder / f"{stem}-curves.png"
    made.append([path] if _write(path, lambda axes: _learning(comparison, axes)) else [])
    return made


def _write(path: Path, draw: Callable[[Any], bool]) -> bool:
    figure = require("matplotlib.figure", "data").Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    if not draw(axes):
        return False
    axes.grid(alpha=0.3)
    if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", frameon=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return True


def _precision_recall(table: Table, axes: Any) -> bool:
    evaluation = table.evaluation
    for number, (name, entry) in enumerate(table.entries.items()):
        for key in entry.keys:
            pairs = zip(evaluation.split.labels, evaluation.predictions[key].found, strict=True)
            matches = [match(*pair, thresholds=IOU_THRESHOLDS[:1]) for pair in pairs]
            recall, precision = precision_curve(rank(matches))
            label = name if key == entry.keys[0] else None
            axes.plot(recall, precision, label=label, color=_colour(number), linewidth=1.1)
            scores = evaluation.scores[key]
            at = (scores.recall.value, scores.precision.value)
            axes.plot(*at, "o", color=_colour(number), markersize=4)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("All classes together, IoU 0.5, a line a training; dots: P and R")
    return True


def _by_size(table: Table, axes: Any) -> bool:
    entries = list(table.entries.items())
    first = table.evaluation.scores[entries[0][1].keys[0]]
    sizes = list(table.by_size(entries[0][1]))
    width = 0.8 / len(entries)
    for number, (name, entry) in enumerate(entries):
        figures = list(table.by_size(entry).values())
        x = np.arange(len(sizes)) + (number - (len(entries) - 1) / 2) * width
        axes.bar(x, [f.value for f in figures], width, label=name, color=_colour(number))
        for at, figure in zip(x, figures, strict=True):
            _whisker(axes, at, figure)
    labels = [f"{size} px\n{first.objects_by_size[size]} objects" for size in sizes]
    axes.set_xticks(np.arange(len(sizes)), labels)
    seen = "window" if table.native else "photo"
    axes.set(ylabel="AP50", title=f"By size of the object in the {seen}; lines: 95 % intervals")
    return bool(sizes)


def _against_seconds(table: Table, axes: Any) -> bool:
    points: dict[str, list[tuple[float, str, Figure]]] = defaultdict(list)
    for entry in table.entries.values():
        seconds = [table.evaluation.seconds(key) for key in entry.keys]
        known = [s for s in seconds if s is not None]
        if known:
            score = table.figures(entry)["AP50"]
            points[entry.model].append((float(np.mean(known)), entry.strategy, score))
    if sum(map(len, points.values())) < 2:
        return False
    # Names would lie over each other where times are alike: points have numbers, told beside.
    names = list(dict.fromkeys(p[1] for group in points.values() for p in group))
    told = "\n".join(f"{number}  {name}" for number, name in enumerate(names, 1))
    axes.text(1.02, 1, told, transform=axes.transAxes, verticalalignment="top", fontsize=8)
    for number, (model, group) in enumerate(points.items()):
        x, y = [p[0] for p in group], [p[2].value for p in group]
        axes.plot(x, y, "o", label=model, markersize=5, color=_colour(number))
        # The curve of one rule under several budgets.
        rule = ("two-stage", "two-stage:max_windows=")
        budgets = sorted(
            (p[0], p[2].value) for p in group if p[1] == rule[0] or p[1].startswith(rule[1])
        )
        axes.plot(*np.array(budgets).reshape(-1, 2).T, color=_colour(number), linewidth=1)
        for at, strategy, figure in group:
            _whisker(axes, at, figure)
            place = {"xytext": (4, 5), "textcoords": "offset points", "fontsize": 8}
            axes.annotate(str(names.index(strategy) + 1), (at, figure.value), **place)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    ticker = require("matplotlib.ticker", "data")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    what = "window" if table.native else "photo"
    axes.set(xlabel=f"seconds a {what}, reading left out", ylabel="AP50")
    axes.set_title("Accuracy against time; upright lines: 95 % intervals")
    return True


def _against_latency(table: Table, axes: Any, comparison: Comparison) -> bool:
    axes.set(xlabel=f"ms a run of the network at {comparison.config.latency} px", ylabel="AP50")
    axes.set_title("Accuracy against latency, each model with its best strategy")
    return _against(table, axes, {name: one.ms for name, one in comparison.latency.items()})


def _against_parameters(table: Table, axes: Any) -> bool:
    sizes = {e.model: e.parameters / 1e6 for e in table.entries.values() if e.parameters}
    axes.set(xlabel="million parameters", ylabel="AP50")
    axes.set_title("Accuracy against size, each model with its best strategy")
    return _against(table, axes, sizes)


def _against(table: Table, axes: Any, cost: dict[str, float]) -> bool:
    """A point for the best strategy of each model of known cost; False if there is but one."""
    best: dict[str, Figure] = {}
    for entry in table.entries.values():
        figure = table.figures(entry)["AP50"]
        if entry.model in cost and not figure.value < best.get(entry.model, figure).value:
            best[entry.model] = figure
    for number, (model, figure) in enumerate(best.items()):
        axes.plot(cost[model], figure.value, "o", label=model, color=_colour(number))
        _whisker(axes, cost[model], figure)
    axes.set_xlim(0, 1.1 * max((cost[model] for model in best), default=1))
    return len({cost[model] for model in best}) > 1


def _learning(comparison: Comparison, axes: Any) -> bool:
    column, drawn = "metrics/mAP50(B)", False
    for number, (name, trained) in enumerate(comparison.models.items()):
        label: str | None = name
        for one in trained:
            run = curves(one.run) if one.run else {}
            if run.get(column):
                axes.plot(run["epoch"], run[column], label=label, color=_colour(number))
                label, drawn = None, True
    if drawn:  # beside the lines, which are everywhere
        axes.legend(fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    axes.set(xlabel="epoch", ylabel="mAP50")
    axes.set_title("Validation windows after each epoch, ultralytics' validator; a line a training")
    return drawn


def _colour(number: int) -> Any:
    return require("matplotlib", "data").colormaps["tab20"](number % 20 * 2 % 20 + number // 10 % 2)


def _whisker(axes: Any, x: float, figure: Figure) -> None:
    low, high = figure.interval
    if not np.isnan(low):
        axes.plot([x, x], [low, high], color="0.4", linewidth=0.8, zorder=1)
