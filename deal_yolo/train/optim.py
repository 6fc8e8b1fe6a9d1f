"""Parameter groups: the offsets of LDConv learn more slowly than the rest."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from deal_yolo.model.blocks import LDConv


def slow_offsets(optimizer: Optimizer, model: nn.Module, share: float) -> None:
    """Move the offset convolutions of every LDConv into a group of their own.

    They keep the settings of the group they come from, but for the learning rate, which is
    ``share`` of it. Call it before a scheduler reads the learning rates.

    Args:
        optimizer: changed in place; holds every parameter of ``model``.
        model: with or without LDConv; without, nothing changes.
        share: of the learning rate.
    """
    layers = [m.offset for m in model.modules() if isinstance(m, LDConv)]
    offsets = {id(p) for layer in layers for p in layer.parameters()}
    slowed = []
    for group in optimizer.param_groups:
        moved = [p for p in group["params"] if id(p) in offsets]
        if moved:
            group["params"] = [p for p in group["params"] if id(p) not in offsets]
            name = f"offset-{group.get('param_group', 'weight')}"
            slowed.append(
                {**group, "params": moved, "lr": group["lr"] * share, "param_group": name}
            )
    for group in slowed:
        optimizer.add_param_group(group)
