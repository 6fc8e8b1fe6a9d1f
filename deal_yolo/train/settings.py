"""What a training run is made of; kept in its folder, so that it can be resumed and repeated."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deal_yolo.config import check_range, from_mapping
from deal_yolo.errors import ConfigError
from deal_yolo.model.loss import LossConfig

FILE, LAST = "run.json", "last.ckpt"
Optimizer = Literal[
    "AdamW", "SGD", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "MuSGD", "SOAP", "Muon", "auto"
]

# Given by our own settings; as pass-through keys they would contradict them.
RESERVED = {
    "model", "data", "epochs", "imgsz", "batch", "device", "optimizer", "lr0", "seed", "resume",
    "pretrained", "amp", "project", "name", "save_dir", "exist_ok", "task", "mode", "workers",
    "augmentations",
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """A recipe, one of configs/train.

    Args:
        epochs: passes over the training windows.
        imgsz: side in px at which the model sees a window.
        batch: windows a step.
        optimizer: one of ultralytics' (auto lets it choose, with the learning rate), SOAP or Muon.
        lr0: learning rate at the start.
        offset_lr: learning rate of LDConv's offsets, as a share of ``lr0``.
        precision: of the forward pass; auto is bf16 where the device computes in it, else fp32.
        seed: of everything random.
        workers: processes that load windows (with a GPU; on a CPU ultralytics loads in-process).
        augment: an augmentation of configs/train (``augment-aerial``) or a YAML file; None leaves
            ultralytics' own.
        loss: the box loss.
        teacher: weights (.safetensors) of a larger model of the same strides and classes, to learn
            from besides the labels; None for labels alone.
        teacher_weight: of the teacher's loss beside that of the labels.
        teacher_zoom: how many times as large the teacher also sees a window, for the levels that
            it lacks: at 2 YOLOv8, whose finest stride is 8 px, teaches the level of stride 4.
        ema_steps: how many steps the moving average of the weights, which is what is validated and
            kept, reaches back; None for ultralytics' own, which grows so slowly that after 3,000
            steps it reaches back four.
        ultralytics: more settings of ultralytics' trainer, by its names.
    """

    epochs: int = 100
    imgsz: int = 640
    batch: int = 16
    optimizer: Optimizer = "AdamW"
    lr0: float = 0.001
    offset_lr: float = 0.1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: int = 0
    workers: int = 4
    augment: str | None = None
    loss: LossConfig = field(default_factory=LossConfig)
    teacher: str | None = None
    teacher_weight: float = 1.0
    teacher_zoom: int = 1
    ema_steps: int | None = None
    ultralytics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 1, 100_000)
        check_range("imgsz", self.imgsz, 32, 8192)
        check_range("batch", self.batch, 1, 4096)
        check_range("lr0", self.lr0, 0, 10)
        check_range("offset_lr", self.offset_lr, 0, 1)
        check_range("teacher_weight", self.teacher_weight, 0, 100)
        check_range("teacher_zoom", self.teacher_zoom, 1, 4)
        if self.ema_steps is not None:
            check_range("ema_steps", self.ema_steps, 1, 1_000_000)
        if self.imgsz % 32:
            raise ConfigError(f"imgsz must be a multiple of 32, not {self.imgsz}")
        contradicting = sorted(RESERVED & set(self.ultralytics))
        if contradicting:
            raise ConfigError(f"'{contradicting[0]}' is set outside of 'ultralytics'")


@dataclass(frozen=True)
class Run:
    """One training run.

    Args:
        out: its folder.
        model: what `deal_yolo.model.network.model_config` gives.
        model_name: as the user named it.
        data: the user's data YAML.
        windows: the data YAML of the windows to train on; ``data`` itself where it asks for none.
        names: class names.
        config: the recipe.
        device: as ultralytics understands it: cpu, 0, "0,1"; empty picks one.
        pretrained: weights to start from.
    """

    out: Path
    model: dict[str, Any]
    model_name: str
    data: Path
    windows: Path
    names: tuple[str, ...]
    config: TrainConfig
    device: str = ""
    pretrained: Path | None = None

    @property
    def last(self) -> Path:
        """The state after the last whole epoch, to resume from."""
        return self.out / LAST

    @property
    def best(self) -> Path:
        """The best weights so far."""
        return self.out / "best.safetensors"

    def save(self) -> None:
        """Write the run into its folder."""
        values = dataclasses.asdict(self)
        for key in ("out", "data", "windows", "pretrained"):
            values[key] = None if values[key] is None else str(values[key])
        part = self.out / f"{FILE}.part"
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(part, self.out / FILE)

    @classmethod
    def load(cls, out: Path) -> Run:
        """Read the run in folder ``out``.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        path = out / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"no training run in {out}: {FILE} is missing") from error
        except ValueError as error:
            raise ConfigError(f"{path} is damaged: {error}") from error
        config = from_mapping(TrainConfig, values.pop("config"), str(path))
        paths = {k: Path(values.pop(k)) for k in ("data", "windows")}
        pretrained = values.pop("pretrained")
        values.pop("out")
        names = tuple(values.pop("names"))
        return cls(
            out=out,
            config=config,
            names=names,
            pretrained=None if pretrained is None else Path(pretrained),
            **paths,
            **values,
        )
