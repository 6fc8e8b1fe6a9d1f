"""Models as after some training, ready for a training step, and a batch for it."""

import torch
from torch import nn
from ultralytics.cfg import get_cfg

from deal_yolo.model.network import DealModel


def trainable(model: DealModel) -> DealModel:
    torch.manual_seed(0)
    model.args = get_cfg()
    return model.train()


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "img": torch.rand(2, 3, 64, 64, generator=generator),
        "batch_idx": torch.tensor([0.0, 0, 1]),
        "cls": torch.tensor([[0.0], [1], [1]]),
        "bboxes": torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.1, 0.3], [0.5, 0.5, 0.4, 0.4]]),
    }


def with_statistics(module: nn.Module) -> nn.Module:
    """The module in eval mode, its batch norms with statistics as after training."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias)
    return module.eval()
