"""Augmentation pipelines of albumentations, read from YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deal_yolo.config import check_range, load
from deal_yolo.datasets.images import Image
from deal_yolo.datasets.labels import Labels
from deal_yolo.errors import ConfigError, require

# What random seeds may be in albumentations.
SEEDS = 2**32


@dataclass(frozen=True)
class AugmentConfig:
    """An augmentation of training windows.

    Args:
        transforms: one mapping each, from the name of a class of albumentations (or `Altitude`) to
            its arguments; ``OneOf``, ``SomeOf`` and ``Sequential`` take ``transforms`` themselves.
        least_side: boxes with a smaller side, in px of the window, are dropped at the end.
        ultralytics: settings of ultralytics' trainer that must be so lest it do the same again.
    """

    transforms: tuple[dict[str, Any], ...]
    least_side: float = 2.0
    ultralytics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("least_side", self.least_side, 0, 1000)
        if not self.transforms:
            raise ConfigError("transforms must name at least one transform")


def load_augmentation(path: Path) -> list[Any]:
    """The transforms of an augmentation YAML, for the trainer's ``augmentations`` argument.

    They can be written with ``albumentations.to_dict`` and take their seed from the Compose they
    are put in (ultralytics seeds it from torch in each of its workers).

    Raises:
        ConfigError: the YAML is malformed, or names an unknown transform or argument.
        MissingExtraError: albumentations is not installed.
    """
    return build_transforms(load(AugmentConfig, path), str(path))


def trainer_settings(path: Path) -> dict[str, Any]:
    """What an augmentation YAML sets in ultralytics' trainer, ``augmentations`` included.

    Raises:
        ConfigError: see `load_augmentation`.
        MissingExtraError: albumentations is not installed.
    """
    return {**load(AugmentConfig, path).ultralytics, "augmentations": load_augmentation(path)}


def build_transforms(config: AugmentConfig, where: str) -> list[Any]:
    """As `load_augmentation`, from settings; ``where`` is named in errors."""
    made = [_build(entry, where) for entry in config.transforms]
    return [*made, _class("DropSmall", where)(least=config.least_side)]


class Augmentation:
    """An augmentation that is applied to photos and labels directly.

    Args:
        config: what to do.
        seed: the same seed, photos and order give the same result.
        where: what to name in errors.

    Raises:
        ConfigError: an unknown transform or argument.
        MissingExtraError: albumentations is not installed.
    """

    def __init__(self, config: AugmentConfig, seed: int = 0, where: str = "augmentation") -> None:
        check_range("seed", seed, 0, SEEDS - 1)
        library = _library()
        self._compose = library.Compose(
            build_transforms(config, where),
            bbox_params=library.BboxParams(
                format="yolo", label_fields=["numbers"], clip=True, min_width=0, min_height=0
            ),
            seed=seed,
        )

    def __call__(self, image: Image, labels: Labels) -> tuple[Image, Labels]:
        """An augmented photo and its labels, in pixels of it."""
        size = np.array([image.shape[1], image.shape[0]] * 2, np.float64)
        low, high = np.split(np.clip(labels.xyxy / size, 0, 1), 2, axis=1)
        some = (high > low).all(axis=1)
        result = self._compose(
            image=image,
            bboxes=np.concatenate([(low + high) / 2, high - low], axis=1)[some],
            numbers=np.flatnonzero(some),
        )
        seen: Image = result["image"]
        boxes = np.asarray(result["bboxes"], np.float64).reshape(-1, 4)
        boxes *= np.array([seen.shape[1], seen.shape[0]] * 2)
        half = boxes[:, 2:] / 2
        xyxy = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
        kept = np.asarray(result["numbers"], np.intp)
        return seen, Labels(xyxy, labels.class_id[kept], labels.ignore[kept])


def _build(entry: Mapping[str, Any], where: str) -> Any:
    if len(entry) != 1:
        raise ConfigError(f"{where}: a transform is one 'Name: arguments', not {dict(entry)!r}")
    ((name, given),) = entry.items()
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"{where}: the arguments of {name} must be 'key: value', not {given!r}")
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in (given or {}).items()}
    if "transforms" in arguments:
        inner = arguments["transforms"]
        if not isinstance(inner, tuple) or not all(isinstance(i, Mapping) for i in inner):
            raise ConfigError(f"{where}: 'transforms' of {name} must be a list of transforms")
        arguments["transforms"] = [_build(i, where) for i in inner]
    kind = _class(name, where)
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"{where}: {name} does not take these arguments: {message}") from error


def _class(name: str, where: str) -> Any:
    library = _library()
    from deal_yolo.datasets import transforms

    own = {"Altitude": transforms.Altitude, "DropSmall": transforms.DropSmall}
    kind = own.get(name) or getattr(library, str(name), None)
    allowed = (library.BasicTransform, library.OneOf, library.SomeOf, library.Sequential)
    if not isinstance(kind, type) or not issubclass(kind, allowed) or kind is library.Lambda:
        raise ConfigError(f"{where}: no transform '{name}' in albumentations or here")
    return kind


def _library() -> Any:
    # Else importing it asks its maker's server for a newer version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    return require("albumentations", "train")
