"""Plots of a comparison: precision against recall, AP by size, AP against cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.errors import OutputError, require
from deal_yolo.evaluate.compare import Comparison
from deal_yolo.evaluate.matching import IOU_THRESHOLDS, match
from deal_yolo.evaluate.precision import precision_curve, rank
from deal_yolo.evaluate.resample import Figure


def write_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``pr.png``, ``ap_by_size.png``, ``ap_seconds.png`` and ``ap_parameters.png``.

    Plots of which nothing is known, such as the seconds of another tool, are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    plots: dict[str, Callable[[Comparison, Any], bool]] = {
        "pr": _precision_recall,
        "ap_by_size": _by_size,
        "ap_seconds": _against_seconds,
        "ap_parameters": _against_parameters,
    }
    figure_of = require("matplotlib.figure", "data").Figure
    made = []
    for name, draw in plots.items():
        figure = figure_of(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        if not draw(comparison, axes):
            continue
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", frameon=False)
        path = folder / f"{name}.png"
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        made.append(path)
    return made


def _precision_recall(comparison: Comparison, axes: Any) -> bool:
    evaluation = comparison.evaluation
    for name, made in evaluation.predictions.items():
        pairs = zip(evaluation.split.labels, made.found, strict=True)
        matches = [match(*pair, thresholds=IOU_THRESHOLDS[:1]) for pair in pairs]
        recall, precision = precision_curve(rank(matches))
        (line,) = axes.plot(recall, precision, label=name, linewidth=1.3)
        scores = evaluation.scores[name]
        at = (scores.recall.value, scores.precision.value)
        axes.plot(*at, "o", color=line.get_color(), markersize=5)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("All classes together, IoU 0.5; dots: at the score of P, R and counts")
    return True


def _by_size(comparison: Comparison, axes: Any) -> bool:
    scores = comparison.evaluation.scores
    first = next(iter(scores.values()))
    sizes = [size for size, count in first.objects_by_size.items() if count]
    width = 0.8 / len(scores)
    for number, (name, one) in enumerate(scores.items()):
        figures = [one.AP_by_size[size] for size in sizes]
        x = np.arange(len(sizes)) + (number - (len(scores) - 1) / 2) * width
        axes.bar(x, [f.value for f in figures], width, label=name)
        for at, figure in zip(x, figures, strict=True):
            _whisker(axes, at, figure)
    labels = [f"{size} px\n{first.objects_by_size[size]} objects" for size in sizes]
    axes.set_xticks(np.arange(len(sizes)), labels)
    axes.set(ylabel="AP50-95", title="By size of the object in the photo; lines: 95 % intervals")
    return bool(sizes)


def _against_seconds(comparison: Comparison, axes: Any) -> bool:
    points: dict[str, list[tuple[float, str, Figure]]] = defaultdict(list)
    for name, entry in comparison.entries.items():
        seconds = comparison.evaluation.seconds(name)
        if seconds is not None:
            score = comparison.evaluation.scores[name].AP50
            points[entry.model].append((seconds, entry.strategy, score))
    for model, group in points.items():
        x, y = [p[0] for p in group], [p[2].value for p in group]
        (line,) = axes.plot(x, y, "o", label=model, markersize=5)
        # The curve of one rule under several budgets.
        rule = ("two-stage", "two-stage:max_windows=")
        budgets = sorted(
            (p[0], p[2].value) for p in group if p[1] == rule[0] or p[1].startswith(rule[1])
        )
        axes.plot(*np.array(budgets).reshape(-1, 2).T, color=line.get_color(), linewidth=1)
        for seconds, strategy, figure in group:
            _whisker(axes, seconds, figure)
            place = {"xytext": (4, 5), "textcoords": "offset points", "fontsize": 7}
            axes.annotate(strategy, (seconds, figure.value), **place)
    axes.set_xscale("log")
    ticker = require("matplotlib.ticker", "data")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set(xlabel="seconds a photo, reading left out", ylabel="AP50")
    axes.set_title("Accuracy against time; upright lines: 95 % intervals")
    return bool(points)


def _against_parameters(comparison: Comparison, axes: Any) -> bool:
    best: dict[str, tuple[int, Figure]] = {}
    for name, entry in comparison.entries.items():
        figure = comparison.evaluation.scores[name].AP50
        if (
            entry.parameters is not None
            and figure.value >= best.get(entry.model, (0, Figure(np.array([-1.0]))))[1].value
        ):
            best[entry.model] = (entry.parameters, figure)
    for model, (parameters, figure) in best.items():
        axes.plot(parameters / 1e6, figure.value, "o", label=model)
        _whisker(axes, parameters / 1e6, figure)
    axes.set(xlabel="million parameters", ylabel="AP50", xlim=(0, None))
    axes.set_title("Accuracy against size, each model with its best strategy")
    return bool(best)


def _whisker(axes: Any, x: float, figure: Figure) -> None:
    low, high = figure.interval
    if not np.isnan(low):
        axes.plot([x, x], [low, high], color="0.4", linewidth=0.8, zorder=1)
