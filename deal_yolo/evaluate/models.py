"""The models of a comparison: trained for it, or taken as they are, one file for each seed."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from deal_yolo.errors import WeightsError
from deal_yolo.evaluate.plan import CompareConfig, RowConfig, Training
from deal_yolo.evaluate.predictions import write_json
from deal_yolo.metadata import Metadata


class Latency(NamedTuple):
    """Median time in ms of one run of a network, and its ratio to the first, round by round."""

    ms: float
    ratio: float


class Tools(Protocol):
    """What is above this room in the house."""

    def train(self, name: str, training: Training, seed: int) -> Path:
        """The folder of a finished run, begun, gone on with, or found as it was left."""

    def export(self, weights: Path, out: Path, max_detections: int) -> None:
        """Write safetensors as ONNX."""

    def latency(self, files: Sequence[Path], imgsz: int, threads: int | None) -> list[Latency]:
        """Times of one run of each network, measured in turns."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The weights of one training.

    Args:
        file: what is run.
        metadata: what travels with it; None for an ONNX file of another tool.
        source: the safetensors file that it was made from, if that is at hand.
        run: folder of the run, if it is known.
    """

    file: Path
    metadata: Metadata | None
    source: Path | None = None
    run: Path | None = None

    @property
    def seed(self) -> int | None:
        """Of the training; None if it is not known."""
        return None if self.metadata is None else self.metadata.training.get("seed")


def gather(
    name: str,
    row: RowConfig,
    config: CompareConfig,
    folder: Path,
    tools: Tools,
    names: Sequence[str],
) -> list[Trained]:
    """The weights of a row, one for each seed; none for the predictions of another tool.

    Args:
        name: of the row.
        row: what it says.
        config: the comparison.
        folder: where exported files are kept.
        tools: trains and exports.
        names: class names of the data set.

    Raises:
        InputError: a file or setting is wrong.
    """
    if row.train is not None:
        training = config.training_of(row)
        places = [str(tools.train(safe(name), training, seed)) for seed in training.seeds or ()]
    else:
        places = row.files
    found = []
    for number, place in enumerate(places):
        stem = folder / safe(name if len(places) == 1 else f"{name}-{number}")
        found.append(_take(Path(place), row, _Exporter(stem, tools, config.anchors), names))
    return found


@dataclass(frozen=True)
class _Exporter:
    """Keeps what is made of one training's weights.

    Args:
        stem: of the files, without suffix.
        tools: exports.
        anchors: kept by an exported graph.
    """

    stem: Path
    tools: Tools
    anchors: int

    def __call__(self, weights: Path) -> Path:
        """An ONNX file of the weights, made anew if they have changed."""
        out = self.stem.with_name(self.stem.name + ".onnx")
        made = read_metadata(out) if out.is_file() else None
        if made and (made.sha256, made.max_detections) == (_sha256(weights), self.anchors):
            return out
        out.parent.mkdir(parents=True, exist_ok=True)
        self.tools.export(weights, out, self.anchors)
        return out


def _take(place: Path, row: RowConfig, export: _Exporter, names: Sequence[str]) -> Trained:
    """Weights from a file, from a ``.pt`` file with its architecture, or from a run's folder."""
    if place.suffix == ".pt":
        best = export.stem.with_name(export.stem.name + ".safetensors")
        _unpack(place, row, best, names)
        exported = export(best)
        return Trained(exported, read_metadata(exported), best)
    if place.is_dir():
        best = place / "best.safetensors"
        if not best.is_file():
            raise WeightsError(f"{place} holds no best.safetensors: is it the folder of a run?")
        exported = export(best)
        return Trained(exported, read_metadata(exported), best, place)
    metadata = read_metadata(place)
    beside = place.with_suffix(".safetensors")
    same = metadata is not None and beside.is_file() and metadata.sha256 in ("", _sha256(beside))
    return Trained(place, metadata, beside if same else None)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _unpack(file: Path, row: RowConfig, out: Path, names: Sequence[str]) -> None:
    """Write the tensors of a ``.pt`` file, read without its code, as the model the row names."""
    from deal_yolo.model.checkpoint import load_tensors, save_model
    from deal_yolo.model.network import DealModel, model_config

    if row.model is None:
        raise WeightsError(f"{file}: say which model it is of, e.g. model: yolo11n.yaml")
    tensors = load_tensors(file)
    config = model_config(row.model, len(names))
    model = DealModel(config)
    own = {k: v for k, v in model.state_dict().items() if k.startswith("model.")}
    wrong = [k for k, v in own.items() if k not in tensors or tensors[k].shape != v.shape]
    if wrong:
        raise WeightsError(
            f"{file} does not hold {row.model} with the {len(names)} classes of the data set: "
            f"{wrong[0]} is missing or of another shape"
        )
    model.load_state_dict({k: tensors[k] for k in own}, strict=False)
    strides = tuple(int(s) for s in model.stride)
    metadata = Metadata(tuple(names), row.imgsz or 640, strides, config)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, metadata, out)


def read_metadata(weights: Path) -> Metadata | None:
    """What travels with weights; None for an ONNX file of another tool.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such weights file")
    if weights.suffix == ".safetensors":
        from deal_yolo.model.checkpoint import read_metadata as read

        return read(weights)
    from deal_yolo.infer.backends.base import load_backend

    try:
        return load_backend(weights).metadata
    except WeightsError:
        return None


def count_parameters(metadata: Metadata | None) -> int | None:
    """Parameters of a model with batch norm folded in; None if its rows are not known."""
    if metadata is None or not metadata.model:
        return None
    from deal_yolo.model.network import DealModel

    model = DealModel(metadata.model).eval().fuse(verbose=False)
    return sum(int(p.numel()) for p in model.parameters())


def curves(run: Path) -> dict[str, list[float]]:
    """What a run's ``results.csv`` holds, by column; empty where there is none."""
    try:
        lines = (run / "results.csv").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    rows = list(csv.DictReader(lines, skipinitialspace=True))
    try:
        return {k.strip(): [float(row[k]) for row in rows] for k in (rows[0] if rows else ())}
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{run / 'results.csv'} is damaged: {error}") from error


def latencies(
    models: Mapping[str, Sequence[Trained]], config: CompareConfig, file: Path, tools: Tools
) -> dict[str, Latency]:
    """How long one run of each model's network takes, measured once and kept in a file.

    Args:
        models: by name; of several seeds the first is run, and other tools are left out.
        config: says at which size and with how many threads.
        file: where the figures are kept.
        tools: measures.
    """
    files = {n: m[0].file for n, m in models.items() if m and m[0].metadata is not None}
    if config.latency is None or not files:
        return {}
    hashes = {name: _sha256(models[name][0].file) for name in files}
    wanted = {"imgsz": config.latency, "threads": config.threads, "sha256": hashes}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if {key: kept[key] for key in wanted} == wanted:
            return {name: Latency(*map(float, kept["times"][name])) for name in files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # none kept, or of other weights
    times = tools.latency(list(files.values()), config.latency, config.threads)
    made = dict(zip(files, times, strict=True))
    write_json(file, {**wanted, "times": made}, indent=2)
    return made


def safe(name: str) -> str:
    """A name as part of a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
