"""The ``deal-yolo`` command: joins the commands and turns errors into one line and a status."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deal_yolo import __version__
from deal_yolo.cli import data, eval, predict
from deal_yolo.errors import DealYoloError

app = typer.Typer(
    name="deal-yolo",
    help="Find, count and track small animals in drone images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deal-yolo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Find, count and track small animals in drone images."""


app.command("predict")(predict.predict)
app.command("eval")(eval.evaluate)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line; the entry point of ``deal-yolo``."""
    try:
        app()
    except DealYoloError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
