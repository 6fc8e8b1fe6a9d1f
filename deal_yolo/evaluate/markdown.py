"""A comparison as one Markdown table, with what was not equal under it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from deal_yolo.evaluate.compare import Comparison
from deal_yolo.evaluate.resample import Figure

_FIGURES = {"AP50": "AP50", "AP50_95": "AP50-95", "precision": "P", "recall": "R"}
_COUNTS = {"count_mae": "count MAE", "count_bias": "count bias"}


def to_markdown(comparison: Comparison, title: str, made: Mapping[str, Any]) -> str:
    """The table, the differences to its first row, what was not equal, and notes.

    Args:
        comparison: the figures.
        title: of the page.
        made: what `provenance` gives.
    """
    evaluation = comparison.evaluation
    split = evaluation.split
    parts = [
        f"# {title}",
        f"{len(split.images)} photos of split `{split.name}`, {split.objects} objects. In "
        f"brackets: 95 % intervals of {evaluation.draws} bootstrap resamples of the photos. AP by "
        "size is AP50-95, sizes in px of the photo. Counts are a photo's, at the score given.",
        _figures(comparison),
        "## Differences to the first row",
        "Paired: the same resamples of the same photos.",
        _differences(comparison),
        "## Not equal between the rows",
        "\n".join(f"- {line}" for line in comparison.unequal) or "Nothing that is recorded.",
    ]
    if evaluation.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in evaluation.notes)]
    machine, versions = made["machine"], made["versions"]
    parts += [
        "## Made by",
        f"`{made['command']}` on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}; " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _figures(comparison: Comparison) -> str:
    evaluation = comparison.evaluation
    first = next(iter(evaluation.scores.values()))
    sizes = [f"AP {size} ({n})" for size, n in first.objects_by_size.items() if n]
    head = ["model", "strategy", "parameters", *_FIGURES.values(), *sizes, *_COUNTS.values()]
    head += ["score", "s a photo", "windows"]
    rows = []
    for name, entry in comparison.entries.items():
        scores = evaluation.scores[name]
        by_size = [f for size, f in scores.AP_by_size.items() if scores.objects_by_size[size]]
        rows.append(
            [
                entry.model,
                entry.strategy or "-",
                "-" if entry.parameters is None else f"{entry.parameters:,}",
                *(_cell(scores.figures[key]) for key in _FIGURES),
                *(_cell(figure) for figure in by_size),
                *(_cell(scores.figures[key], digits=1) for key in _COUNTS),
                f"{scores.score_threshold:.3f} ({evaluation.threshold_from[name]})",
                _plain(evaluation.seconds(name), 3),
                _plain(evaluation.windows(name), 1),
            ]
        )
    return _table(head, rows)


def _differences(comparison: Comparison) -> str:
    scores = comparison.evaluation.scores
    names = list(comparison.entries)
    keys = {**_FIGURES, "count_mae": "count MAE"}
    first = scores[names[0]].figures
    rows = [
        [name, *(_cell(scores[name].figures[key].minus(first[key]), "+") for key in keys)]
        for name in names[1:]
    ]
    return _table(["row", *keys.values()], rows) if rows else "There is one row only."


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    safe = [[cell.replace("|", "\\|") for cell in row] for row in (head, rule, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in safe)


def _cell(figure: Figure, sign: str = "", digits: int = 3) -> str:
    low, high = figure.interval
    if math.isnan(figure.value):
        return "-"
    text = f"{figure.value:{sign}.{digits}f}"
    return text if math.isnan(low) else f"{text} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def _plain(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
