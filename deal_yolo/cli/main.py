"""The ``deal-yolo`` command: joins the commands and turns errors into one line and a status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from deal_yolo import __version__
from deal_yolo.cli import (
    benchmark,
    calibrate,
    compare,
    data,
    eval,
    export,
    info,
    predict,
    report,
    train,
    val,
)
from deal_yolo.errors import DealYoloError

# Newer versions of typer carry their own click, older ones import it; this is the class of either.
USAGE_ERROR: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="deal-yolo",
    help="Find, count and track small animals in drone images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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


app.command("info")(info.info)
app.command("train")(train.train)
app.command("val")(val.val)
app.command("predict")(predict.predict)
app.command("calibrate")(calibrate.calibrate)
app.command("report")(report.report)
app.command("eval")(eval.evaluate)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("benchmark")(benchmark.benchmark)
app.add_typer(data.app, name="data")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; every error is one line on standard error.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit status: 0 well, 2 bad usage or input, 1 other failure, 130 interrupted.
    """
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments, prog_name="deal-yolo", standalone_mode=False)
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return 2
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        return _fail(f"{error.format_message()}{hint}", 2)
    except DealYoloError as error:
        return _fail(str(error), error.exit_status)
    except OSError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def main() -> None:
    """The entry point of ``deal-yolo``."""
    sys.exit(run())
