"""The figures of an evaluation as tables for people."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from deal_yolo.evaluate.evaluation import Evaluation
from deal_yolo.evaluate.resample import Figure
from deal_yolo.evaluate.scores import Scores, differences

_FOUND = {"AP50": "AP50", "AP50_95": "AP50-95", "precision": "P", "recall": "R"}
_ALL_PAIRS = 3
_COUNTED = {"count_mae": "MAE", "count_bias": "bias"}


def tables(evaluation: Evaluation) -> Group:
    """Figures with their 95 % intervals, AP by size, differences, and notes."""
    parts: list[Table | Text] = [_figures(evaluation), _counts(evaluation), _sizes(evaluation)]
    if len(evaluation.scores) > 1:
        parts.append(_differences(evaluation))
    parts.append(Text(intervals(evaluation)))
    parts += [Text(f"note: {note}") for note in evaluation.notes]
    return Group(*parts)


def intervals(evaluation: Evaluation) -> str:
    """In words, what the intervals are."""
    of = {"photo": "photos", "source": "sources (photos or videos, by the names of their parts)"}
    units = f"{evaluation.units.count} {of.get(evaluation.units.kind, 'flights')}"
    return f"95 % intervals of {evaluation.draws} bootstrap resamples of {units}"


def _figures(evaluation: Evaluation) -> Table:
    split = evaluation.split
    title = f"{split.name}: {len(split.images)} photos, {split.objects} objects"
    table = _table(title, "strategy", *_FOUND.values(), "score")
    for name, scores in evaluation.scores.items():
        score = f"{scores.score_threshold:.3f}\n{evaluation.threshold_from[name]}"
        table.add_row(name, *(_with_interval(scores.figures[f]) for f in _FOUND), score)
    return table


def _counts(evaluation: Evaluation) -> Table:
    title = f"counts ({evaluation.split.objects} in all), and the cost of a photo"
    headings = ("found", "corrected", "seconds", "windows")
    table = _table(title, "strategy", *_COUNTED.values(), *headings)
    for name, scores in evaluation.scores.items():
        table.add_row(
            name,
            *(_with_interval(scores.figures[f], digits=1) for f in _COUNTED),
            str(scores.count_found),
            _corrected(scores),
            _plain(evaluation.seconds(name), 2),
            _plain(evaluation.windows(name), 1),
        )
    return table


def _sizes(evaluation: Evaluation) -> Table:
    first = next(iter(evaluation.scores.values()))
    headings = [f"{size}\n({count})" for size, count in first.objects_by_size.items()]
    table = _table("AP50-95 by size in px of the photo (objects)", "strategy", *headings)
    for name, scores in evaluation.scores.items():
        table.add_row(name, *(_with_interval(f) for f in scores.AP_by_size.values()))
    return table


def _differences(evaluation: Evaluation) -> Table:
    table = _table("paired differences", "strategies", *_FOUND.values())
    pairs = differences(evaluation.scores)
    if len(evaluation.scores) > _ALL_PAIRS:  # the JSON has all of them
        pairs = dict(list(pairs.items())[: len(evaluation.scores) - 1])
    for pair, figures in pairs.items():
        table.add_row(pair, *(_with_interval(figures[f], "+") for f in _FOUND))
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for heading in headings:
        if table.columns:
            table.add_column(heading, justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold", min_width=9)
    return table


def _corrected(scores: Scores) -> str:
    count = scores.count_corrected
    return "-" if count is None else f"{count.estimate:.0f}\n{count.low:.0f}..{count.high:.0f}"


def _with_interval(figure: Figure, sign: str = "", digits: int = 3) -> str:
    low, high = figure.interval
    if math.isnan(figure.value):
        return "-"
    text, rough = f"{figure.value:{sign}.{digits}f}", min(digits, 2)
    return text if math.isnan(low) else f"{text}\n{low:{sign}.{rough}f}..{high:{sign}.{rough}f}"


def _plain(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
