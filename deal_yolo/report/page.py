"""One HTML page of what ``deal-yolo predict`` found: counts, places, pictures."""

from __future__ import annotations

import csv
import html
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from deal_yolo.errors import MissingExtraError, OutputError, SourceError
from deal_yolo.report.geo import Position, photo_position

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .3rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; } figure { margin: 2rem 0; } small { color: #555; }
"""


@dataclass(frozen=True)
class Photo:
    """What was found in one photo or video.

    Args:
        source: its path, as it was given.
        counts: boxes by class; for a tracked video, distinct animals.
        position: where it was taken; None if unknown.
        picture: the annotated picture, relative to the folder; None if there is none.
    """

    source: str
    counts: Counter[str]
    position: Position | None = None
    picture: Path | None = None


def read_photos(folder: Path) -> list[Photo]:
    """The photos in a results folder, in the order they were seen.

    Photos without animals are known from ``detections.jsonl`` alone (``predict --save json``).

    Raises:
        SourceError: the folder holds neither ``detections.jsonl`` nor ``detections.csv``, or it
            is damaged.
    """
    counts: dict[str, Counter[str]] = {}
    tracks: set[tuple[str, str, str]] = set()
    for source, name, track in _read(folder):
        count = counts.setdefault(source, Counter())
        if not name or (track and (source, name, track) in tracks):
            continue
        tracks.add((source, name, track))
        count[name] += 1
    pictures = {p.stem: p for p in sorted((folder / "images").rglob("*.jpg"))}
    return [
        Photo(source, count, _position(Path(source)), _relative(pictures, source, folder))
        for source, count in counts.items()
    ]


def _read(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Source, class and track of every box; a photo also once with neither."""
    rows, table = folder / "detections.jsonl", folder / "detections.csv"
    try:
        if rows.is_file():
            for line in rows.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                yield record["source"], "", ""
                for found in record["detections"]:
                    track = found["track"]
                    yield record["source"], found["class"], "" if track is None else str(track)
            return
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if None in row.values():
                    raise ValueError(f"a line of {table.name} is cut short")
                yield row["source"], row["class"], row["track"]
    except OSError as error:
        raise SourceError(f"{folder}: no results: run predict with --save json first") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SourceError(f"{folder}: damaged results: {error}") from error


def _position(photo: Path) -> Position | None:
    try:
        return photo_position(photo)
    except (SourceError, MissingExtraError):
        return None  # moved, a video, or no Pillow: the counts are worth a page all the same


def _relative(pictures: dict[str, Path], source: str, folder: Path) -> Path | None:
    picture = pictures.get(Path(source).stem)
    return None if picture is None else picture.relative_to(folder)


def write_page(folder: Path) -> Path:
    """Write ``report.html`` into a results folder.

    Raises:
        SourceError: the folder holds no readable results.
        OutputError: the page cannot be written.
    """
    photos = read_photos(folder)
    page = folder / "report.html"
    part = folder / "report.html.part"
    try:
        part.write_text(render(photos, _settings(folder)), encoding="utf-8")
        os.replace(part, page)
    except OSError as error:
        raise OutputError(f"{page} cannot be written: {error.strerror}") from error
    return page


def _settings(folder: Path) -> dict[str, object]:
    try:
        values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    keys = ("weights", "weights_sha256", "strategy", "conf", "version")
    return {key: values[key] for key in keys if key in values}


def render(photos: Sequence[Photo], settings: dict[str, object]) -> str:
    """The page as HTML; it refers to the pictures beside it and to nothing else."""
    names = sorted({name for photo in photos for name in photo.counts})
    total: Counter[str] = sum((p.counts for p in photos), Counter())
    rows = [_row(p.source, p.counts, names, _place(p.position)) for p in photos]
    rows.append(_row("all", total, names, ""))
    head = _cells("th", ["photo", *names, "all", "position"])
    made = ", ".join(f"{key} {value}" for key, value in settings.items())
    figures = [
        f'<figure><img src="{quote(p.picture.as_posix())}" loading="lazy" alt="">'
        f"<figcaption>{html.escape(p.source)}</figcaption></figure>"
        for p in photos
        if p.picture is not None
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            f"<title>{sum(total.values())} animals</title><style>{STYLE}</style>",
            f"<h1>{sum(total.values())} animals in {len(photos)} photos</h1>",
            f"<table>{head}{''.join(rows)}</table>",
            f"<p><small>{html.escape(made)}</small></p>",
            *figures,
            "</html>\n",
        ]
    )


def _row(label: str, counts: Counter[str], names: Iterable[str], place: str) -> str:
    numbers = [str(counts[name]) for name in names]
    return _cells("td", [label, *numbers, str(sum(counts.values())), place])


def _cells(tag: str, values: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(v)}</{tag}>' for v in values)}</tr>"


def _place(position: Position | None) -> str:
    if position is None:
        return ""
    return f"{position.latitude:.6f}, {position.longitude:.6f}"
