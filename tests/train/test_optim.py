import pytest
import torch
from torch import nn

from deal_yolo.model.network import build_model
from deal_yolo.train.optim import slow_offsets


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    weights = [p for n, p in model.named_parameters() if not n.endswith("bias")]
    return torch.optim.SGD(
        [
            {"params": weights, "weight_decay": 0.1, "param_group": "weight"},
            {"params": biases, "weight_decay": 0.0, "param_group": "bias"},
        ],
        lr=0.5,
    )


def test_offsets_learn_at_a_tenth_of_the_rate() -> None:
    model = build_model("deal-yolo-ld", 2)
    every = {id(p) for p in model.parameters()}
    optim = optimizer(model)
    slow_offsets(optim, model, 0.1)
    rate = {id(p): g["lr"] for g in optim.param_groups for p in g["params"]}
    assert rate.keys() == every  # none lost
    assert sum(len(g["params"]) for g in optim.param_groups) == len(every)  # none twice
    for name, parameter in model.named_parameters():
        slow = ".offset." in name
        assert rate[id(parameter)] == pytest.approx(0.05 if slow else 0.5), name
    decay = {g["param_group"]: g["weight_decay"] for g in optim.param_groups}
    assert decay == {"weight": 0.1, "bias": 0.0, "offset-weight": 0.1, "offset-bias": 0.0}


def test_a_step_moves_offsets_a_tenth_as_far() -> None:
    model = build_model("deal-yolo-ld", 2)
    optim = optimizer(model)
    slow_offsets(optim, model, 0.1)
    for group in optim.param_groups:
        group["weight_decay"] = 0
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optim.step()
    for name, parameter in model.named_parameters():
        moved = (before[name] - parameter.detach()).mean().item()
        assert moved == pytest.approx(0.05 if ".offset." in name else 0.5, rel=1e-3), name


def test_a_model_without_offsets_keeps_its_groups() -> None:
    model = build_model("deal-yolo", 2)
    optim = optimizer(model)
    slow_offsets(optim, model, 0.1)
    assert len(optim.param_groups) == 2
