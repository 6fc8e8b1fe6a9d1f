"""Keep ultralytics' log off standard output."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_ultralytics(silent: bool = True) -> Iterator[None]:
    """Send what ultralytics prints to standard error; with ``silent`` only its warnings."""
    logger = logging.getLogger("ultralytics")
    level = logger.level
    if silent:
        logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(level)
