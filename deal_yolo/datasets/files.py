"""Output folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deal_yolo.errors import OutputError


def partial_folder(out: Path) -> Path:
    """The hidden folder beside ``out`` in which it is made."""
    return out.with_name(f".{out.name}.partial")


@contextmanager
def made_whole(out: Path, *, keep: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` that becomes ``out`` if the block ends well.

    Args:
        out: the folder to make; it may exist if it is empty.
        keep: leave the temporary folder after a failure, and begin with it, so that work can go on.

    Raises:
        OutputError: ``out`` is in use, or cannot be written.
    """
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already: remove it or choose another place")
    partial = partial_folder(out)
    try:
        if not keep:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {partial}: {error.strerror}") from error
    try:
        yield partial
    except BaseException:
        if not keep:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    if out.exists():
        out.rmdir()
    partial.rename(out)


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that it is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
