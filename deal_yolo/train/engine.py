"""The hooks into ultralytics' trainer: our model, loss, parameter groups and checkpoints."""

from __future__ import annotations

import math
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import optim
from ultralytics.cfg import DEFAULT_CFG
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import init_seeds, unwrap_model

from deal_yolo.config import find_config
from deal_yolo.datasets.augment import trainer_settings
from deal_yolo.errors import DealYoloError
from deal_yolo.metadata import Metadata
from deal_yolo.model.checkpoint import load_tensors, save_model
from deal_yolo.model.network import DealModel
from deal_yolo.model.transfer import transfer
from deal_yolo.train import state
from deal_yolo.train.distill import DistilledLoss, load_teacher
from deal_yolo.train.launch import launch
from deal_yolo.train.optim import ADDED, added_optimizer, slow_offsets
from deal_yolo.train.precision import autocast_dtype
from deal_yolo.train.settings import Run
from deal_yolo.train.validator import Validator


def overrides(run: Run, resume: bool) -> dict[str, Any]:
    """The settings of a run in ultralytics' names."""
    config = run.config
    values: dict[str, Any] = {
        "cache": "ram",
        "plots": True,
        "val": True,
        "amp": False,  # the model chooses its own precision, and ultralytics' check downloads
        **config.ultralytics,
        "task": "detect",
        "mode": "train",
        "model": run.model_name,
        "data": str(run.windows),
        "epochs": config.epochs,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "device": run.device or None,
        "optimizer": config.optimizer,
        "lr0": config.lr0,
        "seed": config.seed,
        "workers": config.workers,
        "pretrained": False,
        "save_dir": str(run.out),
        "exist_ok": True,
        "resume": resume,
    }
    return values


class DealTrainer(DetectionTrainer):
    """Ultralytics' detection trainer for a `Run`, found in the folder that ``save_dir`` names.

    The run comes from its folder, not as an argument, because with several GPUs each process makes
    its trainer from there (see `launch`).

    Nothing is pickled: the state of the run is tensors and numbers (see `state`), the best weights
    are safetensors.

    Args:
        cfg: ultralytics' defaults.
        overrides: what `overrides` gives.
        _callbacks: ultralytics' callbacks.
    """

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Any]] | None = None,
    ) -> None:
        settings = dict(overrides or {})
        self.run = Run.load(Path(settings["save_dir"]))
        self.taken: str = ""
        if self.run.config.augment is not None:
            # Here and not in overrides, since each process must know our own transforms.
            settings |= trainer_settings(find_config("train", self.run.config.augment))
        threads = torch.get_num_threads()
        super().__init__(cfg, settings, _callbacks)
        torch.set_num_threads(threads)  # ultralytics leaves one core idle on a CPU
        self.add_callback("on_train_epoch_start", _seed_epoch)

    def train(self) -> None:
        """Train, here or with several GPUs in a process for each."""
        if self.ddp:
            launch(self.run.out, self.world_size, self.resume)
        else:
            super().train()

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Take note of the wish; ultralytics would look for its own pickled file."""
        self.resume = bool(self.args.resume)

    def setup_model(self) -> dict[str, Any] | None:
        """Build the model, from scratch, from other weights, or as it was."""
        model = DealModel(self.run.model, self.run.config.loss)
        model.autocast_dtype = autocast_dtype(self.run.config.precision, self.device)
        self.model = model.to(memory_format=torch.channels_last)  # a fifth faster in bfloat16
        if self.resume:
            return state.load(self.run.last)
        if self.run.pretrained is not None:
            self.taken = transfer(model, load_tensors(self.run.pretrained)).summary(model)
        return None

    def _setup_train(self) -> None:
        super()._setup_train()
        model = unwrap_model(self.model)
        if model.autocast_dtype is torch.float16:
            self.scaler = torch.amp.GradScaler(self.device.type)
        if self.run.config.loss.nwd_constant is None and not self.resume:
            constant = mean_object_size(self.train_loader.dataset.labels, self.args.imgsz)
            for module in (model, self.ema.ema):
                module.box_loss.nwd_constant.fill_(constant)
        if self.run.config.ema_steps is not None:
            self.ema.decay = partial(ema_decay, self.run.config.ema_steps)
        if self.run.config.teacher is not None:
            # Not in the copy that is validated and saved, which was made before.
            teacher = load_teacher(Path(self.run.config.teacher), self.run.names)
            config = self.run.config
            model.criterion = DistilledLoss(
                model, teacher, config.teacher_weight, config.teacher_zoom
            )

    def build_optimizer(self, model: torch.nn.Module, *args: Any, **kwargs: Any) -> optim.Optimizer:
        """Ultralytics' optimiser or one of ours, with LDConv's offsets in a slower group."""
        name = self.run.config.optimizer
        if name in ADDED:
            settings = {k: kwargs[k] for k in ("lr", "momentum", "decay")}
            optimizer = added_optimizer(name, unwrap_model(model), **settings)
        else:
            optimizer = super().build_optimizer(model, *args, **kwargs)
        slow_offsets(optimizer, unwrap_model(model), self.run.config.offset_lr)
        return optimizer

    def get_validator(self) -> Validator:
        """Ultralytics' validator without its limit on time."""
        return Validator(
            self.test_loader,
            save_dir=self.save_dir,
            args=copy(self.args),
            _callbacks=self.callbacks,
        )

    def save_model(self) -> bool:
        """Write the state of the run, and the weights if they are the best so far."""
        state.save(self, self.run.last)
        if self.best_fitness == self.fitness:
            save_model(self.ema.ema, self.metadata(), self.run.best)
        return True

    def metadata(self) -> Metadata:
        """What goes with the weights of this epoch."""
        config = self.run.config
        return Metadata(
            names=self.run.names,
            imgsz=config.imgsz,
            strides=tuple(int(s) for s in unwrap_model(self.model).stride),
            model=self.run.model,
            score_threshold=self._best_f1_score(),
            training={
                "model": self.run.model_name,
                "data": self.run.data.name,
                "epoch": self.epoch + 1,
                **{k: getattr(config, k) for k in ("epochs", "batch", "optimizer", "lr0", "seed")},
                "loss": {"iou": config.loss.iou, "nwd_weight": config.loss.nwd_weight},
                **({"assigner": "nwd"} if config.loss.assigner == "nwd" else {}),
                **({"teacher": Path(config.teacher).name} if config.teacher else {}),
                **({"teacher_zoom": config.teacher_zoom} if config.teacher_zoom > 1 else {}),
                **({"ema_steps": config.ema_steps} if config.ema_steps else {}),
                "nwd_constant": float(unwrap_model(self.model).box_loss.nwd_constant),
                "precision": str(unwrap_model(self.model).autocast_dtype or torch.float32),
                "window_metrics": {
                    k.removeprefix("metrics/"): round(float(v), 5)
                    for k, v in self.metrics.items()
                    if k.startswith("metrics/")
                },
            },
        )

    def _best_f1_score(self) -> float:
        curve = np.asarray(self.validator.metrics.box.f1_curve)
        if curve.size == 0:
            return 0.25
        best = int(curve.mean(0).argmax())
        return round(float(self.validator.metrics.box.px[best]), 3)

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Go on after the last whole epoch of `state`."""
        if ckpt is not None:
            self.start_epoch = state.restore(self, ckpt)

    def final_eval(self) -> None:
        """Nothing: the best weights were scored in the epoch that made them."""

    def _handle_nan_recovery(self, epoch: int) -> bool:
        if self.loss is not None and not self.loss.isfinite():
            raise DealYoloError(
                f"the loss is not finite in epoch {epoch + 1}: lower lr0, or take precision fp32"
            )
        return False


def ema_decay(steps: int, updates: int) -> float:
    """How much of a moving average is kept at its update number ``updates``, counted from 1.

    Up to ``steps`` updates the plain mean of the weights after each, without those of the start;
    from then on about the mean of the last ``steps``.
    """
    return 1 - 1 / min(updates, steps)


def mean_object_size(labels: list[dict[str, Any]], imgsz: int) -> float:
    """Mean of the square root of the boxes' areas, in px of the model's input.

    Args:
        labels: ultralytics' label records: ``bboxes`` ``(n, 4)`` as shares of ``shape`` (h, w).
        imgsz: px that the longer side of an image has in the input.
    """
    sizes = []
    for record in labels:
        height, width = record["shape"]
        scale = imgsz / max(height, width)
        box = np.asarray(record["bboxes"], dtype=float).reshape(-1, 4)
        sizes.append(np.sqrt(box[:, 2] * width * scale * box[:, 3] * height * scale))
    every = np.concatenate(sizes) if sizes else np.zeros(0)
    mean = float(every.mean()) if len(every) else math.nan
    return mean if mean > 0 else 12.8


def _seed_epoch(trainer: DealTrainer) -> None:
    """Make each epoch's order and augmentation its own, so that a resumed run repeats it."""
    seed = trainer.args.seed + 1000 * (trainer.epoch + 1) + RANK + 1
    init_seeds(seed, deterministic=trainer.args.deterministic)
    loader = trainer.train_loader
    loader.reset()  # the first epoch of a resumed run has a new iterator too
    if loader.generator is not None:
        loader.generator.manual_seed(seed)
