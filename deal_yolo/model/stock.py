"""Ultralytics' own models, for comparisons: its rows, laid by its parser, in our `DealModel`.

So they are trained, saved, exported and run as our own are. Nothing is downloaded: the YAML files
stand inside the ultralytics package.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import ultralytics
from torch import nn
from ultralytics.nn import modules
from ultralytics.nn.tasks import parse_model

from deal_yolo.errors import ConfigError

_KEYS = ("nc", "scale", "scales", "backbone", "head")
_DOWNLOADS = {"TorchVision"}
_NO_SCALES = {"n": [1.0, 1.0, 100_000]}  # what ultralytics does where a YAML has none


def find(name: str) -> tuple[Path, str | None] | None:
    """The YAML inside the package that a name such as ``yolo11n.yaml`` means, and its scale.

    Returns:
        None if there is no such file.
    """
    if not re.fullmatch(r"yolo[\w-]+\.yaml", name):
        return None
    scaled = re.sub(r"(\d+)[nslmx](?=[-.])", r"\1", name)
    scale = re.search(r"\d+([nslmx])(?=[-.])", name)
    for wanted, letter in ((name, None), (scaled, scale and scale[1])):
        found = sorted((Path(ultralytics.__file__).parent / "cfg" / "models").rglob(wanted))
        if found:
            return found[0], letter
    return None


def is_stock(config: dict[str, Any], known: set[str]) -> bool:
    """Whether some row is a block that only ultralytics has.

    Args:
        config: content of a model's YAML file.
        known: blocks of our own builder.
    """
    rows = [row for row in (*config["backbone"], *config["head"]) if isinstance(row, list)]
    names = {row[2] for row in rows if len(row) == 4 and isinstance(row[2], str)}
    return any(_is_block(name) for name in names - known)


def plain(config: dict[str, Any], where: object) -> dict[str, Any]:
    """The content of an ultralytics YAML without what our trainer has no use for.

    Raises:
        ConfigError: the model has a head that is trained in another way.
    """
    if config.get("end2end") or config.get("reg_max", 16) != 16:
        raise ConfigError(
            f"{where} has an end-to-end head, which is not trained here: take a model with the "
            "plain Detect head, such as yolov8n.yaml or yolo11n.yaml"
        )
    if "activation" in config:
        raise ConfigError(f"{where}: 'activation' is code, which is not run")
    return {"scales": _NO_SCALES} | {k: config[k] for k in _KEYS if k in config}


def build(config: dict[str, Any]) -> tuple[nn.Sequential, list[int]]:
    """Layers and saved rows of a model, as `deal_yolo.model.network.build_layers` gives them.

    The parser takes any name it knows for a layer, also those of functions that load files; here
    only layers are let in, since rows come with weights of unknown origin.

    Raises:
        ConfigError: a row cannot be built.
    """
    content = copy.deepcopy({k: config[k] for k in _KEYS})
    for i, row in enumerate([*content["backbone"], *content["head"]]):
        if not isinstance(row, list) or len(row) != 4 or not _is_block(row[2]):
            raise ConfigError(f"row {i} {row}: unknown module")
    if content["head"][-1][2] != "Detect":
        raise ConfigError("the last row must be Detect")
    try:
        layers, save = parse_model(content, ch=3, verbose=False)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"ultralytics cannot build these rows: {error}") from error
    return layers, save


def _is_block(name: object) -> bool:
    if not isinstance(name, str) or name in _DOWNLOADS:
        return False
    found = getattr(nn, name[3:], None) if name.startswith("nn.") else getattr(modules, name, None)
    return isinstance(found, type) and issubclass(found, nn.Module)
