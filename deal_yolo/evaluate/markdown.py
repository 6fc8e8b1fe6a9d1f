"""A comparison as a Markdown page: a table a section, with what was not equal under it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deal_yolo.evaluate.compare import Comparison, Entry, Table
from deal_yolo.evaluate.resample import Figure
from deal_yolo.evaluate.table import intervals

_FIGURES = {"AP50": "AP50", "AP50_95": "AP50-95", "precision": "P", "recall": "R"}
_COUNTS = {"count_mae": "count MAE", "count_bias": "count bias"}


def to_markdown(
    comparison: Comparison, title: str, made: Mapping[str, Any], plots: Sequence[Sequence[Path]]
) -> str:
    """The page.

    Args:
        comparison: the figures.
        title: of the page.
        made: what `provenance` gives.
        plots: what `write_plots` gives; they stand beside the page.
    """
    parts = [f"# {title}", comparison.config.text.strip()]
    for table, files in zip(comparison.tables, plots, strict=False):
        parts += _section(table, comparison)
        parts += [_picture(file) for file in files]
    for file in plots[len(comparison.tables)] if plots else ():
        parts += ["## Learning", _picture(file)]
    machine, versions = made["machine"], made["versions"]
    parts += [
        "## Made by",
        f"`{made['command']}` on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}; " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(table: Table, comparison: Comparison) -> list[str]:
    title, deeper = table.section.title, "###" if table.section.title else "##"
    unequal = [f"- {line}" for line in table.unequal]
    parts = [
        f"## {title}" if title else "",
        table.section.text.strip(),
        _about(table, comparison),
        _figures(table, comparison),
        "Not equal between the rows:" if unequal else "Not equal between the rows: nothing known.",
        "\n".join(unequal),
        f"{deeper} AP50 by size",
        _sizes(table),
    ]
    differences = _differences(table)
    if differences:
        parts += [f"{deeper} Differences", "Paired: the same resamples.", differences]
    notes = table.evaluation.notes
    return [*parts, "\n".join(f"- {note}" for note in notes)]


def _about(table: Table, comparison: Comparison) -> str:
    """What was scored, by which rule, and what the brackets are."""
    evaluation = table.evaluation
    split, what = evaluation.split, "windows" if table.native else "photos"
    text = (
        f"{len(split.images)} {what} of split `{split.name}`, {split.objects} objects, by the "
        "protocol of `deal-yolo eval` (COCO's AP, every image counts, boxes from score 0.001, at "
        f"most 1,000 an image). In brackets: {intervals(evaluation)}. Counts are those of one "
        f"{what[:-1]}, at the score given."
    )
    if comparison.latency:
        text += (
            f" Times of a network are medians of one run at {comparison.config.latency} px, all "
            "models in turns, with as many anchors kept as for the scores; ratios are to the first."
        )
    if any(len(entry.keys) > 1 for entry in table.entries.values()):
        text += (
            " Of several trainings the mean, then in parentheses each one's figure; the interval "
            "of the mean holds the choice of photos, not the chance of training."
        )
    return text


def _figures(table: Table, comparison: Comparison) -> str:
    evaluation, latency = table.evaluation, comparison.latency
    head = ["model", "strategy", "parameters", *_FIGURES.values(), *_COUNTS.values(), "score"]
    head += ["s a window"] if table.native else ["s a photo", "windows"]
    if latency:
        head.insert(3, f"ms at {comparison.config.latency} px (ratio)")
    timed = [latency[e.model] for e in table.entries.values() if e.model in latency]
    rows = []
    for entry in table.entries.values():
        figures = table.figures(entry)
        each = [evaluation.scores[key] for key in entry.keys]
        sources = dict.fromkeys(evaluation.threshold_from[key] for key in entry.keys)
        at = ", ".join(f"{scores.score_threshold:.3f}" for scores in each)
        row = [
            entry.model,
            entry.strategy or "-",
            "-" if entry.parameters is None else f"{entry.parameters:,}",
            *(_cell(figures[k], each=[s.figures[k] for s in each]) for k in _FIGURES),
            *(_cell(figures[k], digits=1, each=[s.figures[k] for s in each]) for k in _COUNTS),
            f"{at} ({', '.join(sources)})",
            _mean([evaluation.seconds(key) for key in entry.keys], 3),
        ]
        if not table.native:
            row.append(_mean([evaluation.windows(key) for key in entry.keys], 1))
        if latency:
            one = latency.get(entry.model)
            row.insert(3, f"{one.ms:.1f} ({one.ratio / timed[0].ratio:.2f})" if one else "-")
        rows.append(row)
    return _table(head, rows)


def _sizes(table: Table) -> str:
    """AP50 by size, in px of what the model saw and, for windows, in px of the photo too."""
    kinds = [(False, "window"), (True, "photo")] if table.native else [(False, "photo")]
    first = next(iter(table.entries.values()))
    head = ["model", "strategy"]
    for native, where in kinds:
        evaluation = table.native if native and table.native else table.evaluation
        counts = evaluation.scores[first.keys[0]].objects_by_size
        head += [f"{size} px of the {where} ({n})" for size, n in counts.items() if n]
    rows = [
        [
            entry.model,
            entry.strategy or "-",
            *(_cell(f) for native, _ in kinds for f in table.by_size(entry, native).values()),
        ]
        for entry in table.entries.values()
    ]
    return _table(head, rows)


def _differences(table: Table) -> str:
    keys = {**_FIGURES, "count_mae": "count MAE"}
    rows = []
    for name, entry in table.entries.items():
        other = table.other(entry)
        if other is None:
            continue
        mine, theirs = table.figures(entry), table.figures(other)
        cells = [_cell(mine[key].minus(theirs[key]), "+") for key in keys]
        rows.append([name, _name(other, entry), *cells])
    return _table(["row", "less", *keys.values()], rows) if rows else ""


def _name(other: Entry, entry: Entry) -> str:
    same = other.strategy == entry.strategy or not other.strategy
    return other.model if same else f"{other.model}, {other.strategy}"


def _picture(file: Path) -> str:
    return f"![{file.stem.replace('-', ' ')}]({file.name})"


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    safe = [[cell.replace("|", "\\|") for cell in row] for row in (head, rule, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in safe)


def _cell(figure: Figure, sign: str = "", digits: int = 3, each: Sequence[Figure] = ()) -> str:
    low, high = figure.interval
    if math.isnan(figure.value):
        return "-"
    text = f"{figure.value:{sign}.{digits}f}"
    if not math.isnan(low):
        text += f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    if len(each) > 1:
        text += f" ({', '.join(f'{one.value:.{digits}f}' for one in each)})"
    return text


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{digits}f}" if known else "-"
