"""Parameter groups, and the optimisers that ultralytics does not have."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from deal_yolo.errors import require
from deal_yolo.model.blocks import LDConv

ADDED = ("SOAP", "Muon")
Group = dict[str, Any]


def check_optimizer(name: str) -> None:
    """Raise MissingExtraError if the optimiser ``name`` needs a package that is not installed."""
    if name in ADDED:
        require("pytorch_optimizer", "optimizers")


def parameter_groups(model: nn.Module, decay: float) -> dict[str, Group]:
    """The parameters as ultralytics groups them, and those apart that Muon is for.

    Args:
        model: each of its parameters comes into one group.
        decay: weight decay of all but biases and batch norms.

    Returns:
        ``bias``, ``bn``, ``weight`` and ``muon``: the weights of hidden full convolutions, that
        is, those that a batch norm follows. What predicts boxes, scores or offsets has a bias
        instead, and the filters of a depthwise convolution are no matrix.
    """
    found: dict[str, list[nn.Parameter]] = {"weight": [], "bn": [], "bias": [], "muon": []}
    for module in model.modules():
        hidden = isinstance(module, nn.Conv2d) and module.bias is None and module.groups == 1
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, parameter in module.named_parameters(recurse=False):
            kind = "bias" if name == "bias" else "bn" if norm else "muon" if hidden else "weight"
            found[kind].append(parameter)
    return {
        kind: {
            "params": parameters,
            "param_group": kind,
            "weight_decay": decay if kind in {"weight", "muon"} else 0.0,
        }
        for kind, parameters in found.items()
    }


def added_optimizer(
    name: str, model: nn.Module, lr: float, momentum: float, decay: float
) -> Optimizer:
    """SOAP or Muon, as the pytorch-optimizer package has them.

    SOAP (arXiv 2409.11321) with the betas and frequency of its paper. Muon for the hidden
    convolutions, AdamW for the rest; its steps are scaled as in arXiv 2502.16982, so that the
    learning rate and weight decay of AdamW hold for both.

    Args:
        name: one of `ADDED`.
        model: whose parameters it holds.
        lr: learning rate.
        momentum: Muon's, and AdamW's first beta.
        decay: weight decay.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = require("pytorch_optimizer", "optimizers")
    groups = parameter_groups(model, decay)
    optimizer: Optimizer
    if name == "SOAP":
        groups["weight"]["params"] += groups.pop("muon")["params"]
        optimizer = package.SOAP([g for g in groups.values() if g["params"]], lr=lr)
        return optimizer
    for kind, group in groups.items():
        group |= {"lr": lr, "use_muon": kind == "muon"}
        if kind == "muon":
            group |= {"momentum": momentum, "use_adjusted_lr": True}
        else:
            group |= {"betas": (momentum, 0.999), "eps": 1e-8}
    optimizer = package.Muon([g for g in groups.values() if g["params"]])
    return optimizer


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
