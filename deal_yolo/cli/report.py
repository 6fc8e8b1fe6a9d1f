"""``deal-yolo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="What predict wrote, with --save images,json.")],
) -> None:
    """Write an HTML page of counts, positions and pictures into a results folder."""
    from deal_yolo.report.page import write_page

    typer.echo(write_page(folder))
