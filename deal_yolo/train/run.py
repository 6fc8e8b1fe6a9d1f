"""From a data set to trained weights."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from deal_yolo.config import find_config, from_mapping
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.errors import ConfigError, OutputError, WeightsError
from deal_yolo.model.checkpoint import load_tensors, read_metadata
from deal_yolo.model.network import model_config
from deal_yolo.train.distill import load_teacher
from deal_yolo.train.engine import DealTrainer, overrides
from deal_yolo.train.optim import check_optimizer
from deal_yolo.train.settings import LAST, Run, TrainConfig
from deal_yolo.train.windows import training_yaml


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Args:
        best: the best weights.
        epoch: the epoch, from 1, that they are from.
        metrics: ultralytics' figures of that epoch on the validation windows.
        taken: what was taken over from other weights; empty where there were none.
        seconds: time of training.
    """

    best: Path
    epoch: int
    metrics: dict[str, float]
    taken: str
    seconds: float


@dataclass(frozen=True)
class Request:
    """What the user asks for; see `Run` for the fields."""

    model: str
    data: str
    out: Path
    config: TrainConfig
    device: str = ""
    pretrained: Path | None = None


def prepare(request: Request) -> Run:
    """Check all that can be checked before training, cut the windows, and write the run's folder.

    Raises:
        ConfigError: the model or a setting is wrong.
        DatasetError: the data set is missing or lacks a split.
        WeightsError: the weights to start from, or the teacher's, cannot be used.
        MissingExtraError: the optimiser needs a package that is not installed.
        OutputError: the folder cannot be written, or holds a run already.
    """
    dataset = load_dataset(find_config("data", request.data))
    for split in ("train", "val"):
        dataset.images(split)
    model = model_config(request.model, len(dataset.names))
    if request.pretrained is not None:
        load_tensors(request.pretrained)
    config = request.config
    if config.teacher is not None:
        teacher = Path(config.teacher).resolve()
        load_teacher(teacher, dataset.names)
        config = dataclasses.replace(config, teacher=str(teacher))
    check_optimizer(config.optimizer)
    out = request.out.resolve()
    if (out / LAST).exists():  # what never finished an epoch may be started anew
        raise OutputError(f"{out} holds a run already: add --resume, or choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    run = Run(
        out=out,
        model=model,
        model_name=request.model,
        data=dataset.yaml.resolve(),
        windows=training_yaml(dataset, out),
        names=dataset.names,
        config=config,
        device=request.device,
        pretrained=None if request.pretrained is None else request.pretrained.resolve(),
    )
    run.save()
    return run


def validation_images(run: Run) -> list[Path]:
    """The windows, or photos where none were cut, that a run is validated on."""
    dataset = load_dataset(run.data)
    return load_dataset(run.windows if dataset.config.tile else run.data).images("val")


def train(run: Run, resume: bool = False) -> Result:
    """Train to the end.

    Args:
        run: from `prepare`, or `Run.load` to go on with an earlier one.
        resume: go on after the last whole epoch.

    Raises:
        WeightsError: there is nothing to resume, or no epoch could be finished.
        ConfigError: ultralytics refuses a setting or the device.
    """
    start = time.monotonic()
    if resume and not run.last.is_file():
        raise WeightsError(f"nothing to resume: {run.last} is missing")
    try:
        trainer = DealTrainer(overrides=overrides(run, resume))
    except (SyntaxError, TypeError, ValueError) as error:  # a setting that ultralytics refuses
        raise ConfigError(f"training cannot start: {' '.join(str(error).split())}") from error
    trainer.train()
    if not run.best.is_file():
        raise WeightsError(f"no weights in {run.out}: training ended before its first epoch")
    training = read_metadata(run.best).training
    return Result(
        best=run.best,
        epoch=training["epoch"],
        metrics=training["window_metrics"],
        taken=trainer.taken,
        seconds=time.monotonic() - start,
    )


def with_options(config: TrainConfig, **options: object) -> TrainConfig:
    """A recipe with the options that were given (those not None) in place of its own.

    Raises:
        ConfigError: a value is impossible.
    """
    given = {k: v for k, v in options.items() if v is not None}
    return from_mapping(TrainConfig, dataclasses.asdict(config) | given, "options")
