"""The state of a run between two epochs, as tensors and numbers that load without pickled code."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from deal_yolo.errors import WeightsError

if TYPE_CHECKING:
    from deal_yolo.train.engine import DealTrainer


def save(trainer: DealTrainer, path: Path) -> None:
    """Write the state after the current epoch, whole or not at all, in full precision."""
    content = {
        "epoch": trainer.epoch,
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "best_fitness": _number(trainer.best_fitness),
        "stopper": [_number(trainer.stopper.best_fitness), int(trainer.stopper.best_epoch)],
    }
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    os.replace(part, path)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote.

    Raises:
        WeightsError: there is none, or it is damaged.
    """
    if not path.is_file():
        raise WeightsError(f"nothing to resume: {path} is missing")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
    return content


def restore(trainer: DealTrainer, content: dict[str, Any]) -> int:
    """Bring a freshly set up trainer to a state.

    Returns:
        The number, from 0, of the epoch to go on with.

    Raises:
        WeightsError: the run is finished already.
    """
    start: int = content["epoch"] + 1
    if start >= trainer.epochs:
        raise WeightsError(f"{trainer.run.out} has all of its {trainer.epochs} epochs")
    unwrap_model(trainer.model).load_state_dict(content["model"])
    trainer.ema.ema.load_state_dict(content["ema"])
    trainer.ema.updates = content["updates"]
    trainer.optimizer.load_state_dict(content["optimizer"])
    trainer.scaler.load_state_dict(content["scaler"])
    trainer.best_fitness = content["best_fitness"]
    trainer.stopper.best_fitness, trainer.stopper.best_epoch = content["stopper"]
    _trim(trainer.csv, start)
    return start


def _trim(path: Path, epochs: int) -> None:
    """Cut the log of figures to the epochs that the state holds."""
    if not path.is_file():
        return
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    kept = [r for i, r in enumerate(rows) if i == 0 or (r and float(r[0]) <= epochs)]
    path.write_text("".join(",".join(r) + "\n" for r in kept), encoding="utf-8")
