"""The exceptions of this package, one tree.

    DealYoloError               base: one line that says what is wrong and what to do
    ├── InputError              the user's input is at fault (exit status 2)
    │   ├── ConfigError         a YAML file or a setting is wrong or contradicts another
    │   ├── DatasetError        a data set is missing, broken or leaves its folder
    │   ├── SourceError         a photo, folder, video or stream cannot be read
    │   ├── WeightsError        a weights file is unknown, damaged or does not fit
    │   ├── OutputError         a place to write to cannot be written
    │   └── MissingExtraError   an optional dependency is not installed
    ├── IncompleteError         the work was done but for some named inputs (exit status 1)
    └── CheckError              two results that must agree do not (exit status 1)

Library code raises these; only ``deal_yolo.cli`` turns them into exit statuses.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class DealYoloError(Exception):
    """Base of all errors this package raises on purpose."""

    exit_status = 1


class InputError(DealYoloError):
    """The user's input is at fault."""

    exit_status = 2


class ConfigError(InputError):
    """A configuration file or a setting is wrong or contradicts another."""


class DatasetError(InputError):
    """A data set is missing, broken, or points outside its folder."""


class SourceError(InputError):
    """A photo, folder, video or stream cannot be read."""


class WeightsError(InputError):
    """A weights file is of unknown kind, damaged, or does not fit its use."""


class OutputError(InputError):
    """A place to write to cannot be written."""


class MissingExtraError(InputError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'deal-yolo[{extra}]'")
        self.package = package
        self.extra = extra


class IncompleteError(DealYoloError):
    """The work was done, but for some inputs, which the message names."""


class CheckError(DealYoloError):
    """Two results that must agree do not."""


def require(module: str, extra: str) -> ModuleType:
    """Import ``module`` or say which extra brings it.

    Args:
        module: dotted name, such as ``"torch"``.
        extra: the extra of this package that installs it.

    Raises:
        MissingExtraError: the top-level package of ``module`` is not installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == package:
            raise MissingExtraError(package, extra) from error
        raise
