"""Data YAMLs as ultralytics reads them: windows, or lists of photos by whole paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from deal_yolo.datasets.dataset import Dataset, load_dataset
from deal_yolo.datasets.tile import tile_dataset


def training_yaml(dataset: Dataset, out: Path) -> Path:
    """The YAML to train on, in folder ``out``, with the photos cut if the data set asks for it."""
    if dataset.config.tile is not None:
        return tile_dataset(dataset, out / "windows", dataset.config.tile)
    lists = {split: dataset.images(split) for split in ("train", "val")}
    return list_yaml(out, dataset.names, lists)


def validation_yaml(dataset: Dataset, split: str, out: Path) -> Path:
    """The YAML to validate one split on; ultralytics wants the others named, too."""
    images = dataset.images(split)
    if dataset.config.tile is not None:
        cut = tile_dataset(dataset, out / "windows", dataset.config.tile, splits=(split,))
        images = load_dataset(cut).images(split)
    return list_yaml(out, dataset.names, {name: images for name in ("train", "val", split)})


def list_yaml(out: Path, names: Sequence[str], lists: Mapping[str, Sequence[Path]]) -> Path:
    """Write lists of whole paths, since ultralytics reads relative ones in its own way."""
    content: dict[str, object] = {"path": str(out), "names": dict(enumerate(names))}
    for split, images in lists.items():
        content[split] = f"{split}.txt"
        lines = "".join(f"{image}\n" for image in images)
        (out / f"{split}.txt").write_text(lines, encoding="utf-8")
    path = out / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
