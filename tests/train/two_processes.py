"""A training run on the CPU in processes that talk over gloo, as on several GPUs over NCCL.

Run by torchrun; the folder holds a prepared run. Ultralytics knows several processes on
accelerators only, so what names one is put aside; all else is the trainer as users run it.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from deal_yolo.train.engine import DealTrainer, overrides
from deal_yolo.train.settings import Run

Wrapped = nn.parallel.DistributedDataParallel


def on_the_cpu(model: nn.Module, device_ids: Any = None, **settings: Any) -> nn.Module:
    return Wrapped(model, **settings)


class Trainer(DealTrainer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.world_size = 2

    def _setup_ddp(self) -> None:
        distributed.init_process_group("gloo", timeout=timedelta(seconds=120))


if __name__ == "__main__":
    nn.parallel.DistributedDataParallel = on_the_cpu
    folder = Path(sys.argv[1])
    trainer = Trainer(overrides=overrides(Run.load(folder), "--resume" in sys.argv))
    trainer.train()
    model = unwrap_model(trainer.model)
    state = {
        "mean": model.box_loss.wiou.running_mean,
        "nwd_constant": model.box_loss.nwd_constant,
        "parameters": torch.cat([p.detach().flatten() for p in model.parameters()]),
        "images": len(trainer.train_loader.sampler),
    }
    torch.save(state, folder / f"rank{RANK}.pt")
    distributed.destroy_process_group()
