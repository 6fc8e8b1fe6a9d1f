import sys

import pytest
import torch
from torch import nn

from deal_yolo.errors import MissingExtraError
from deal_yolo.model.network import build_model
from deal_yolo.train.optim import (
    ADDED,
    added_optimizer,
    check_optimizer,
    parameter_groups,
    slow_offsets,
)


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


def conv_names(model: nn.Module, name: str) -> set[str]:
    groups = added_optimizer(name, model, 0.1, 0.9, 0.01).param_groups
    own = {id(p) for g in groups for p in g["params"] if g["param_group"] == "muon"}
    return {n for n, p in model.named_parameters() if id(p) in own}


@pytest.mark.parametrize("model", ["deal-yolo-ld", "yolov8n"])
@pytest.mark.parametrize("name", ADDED)
def test_every_parameter_is_in_one_group(name: str, model: str) -> None:
    network = build_model(model, 2)
    groups = added_optimizer(name, network, 0.1, 0.9, 0.01).param_groups
    held = [id(p) for g in groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    assert {g["lr"] for g in groups} == {0.1}
    decay = {g["param_group"]: g["weight_decay"] for g in groups}
    assert decay.pop("bias") == decay.pop("bn") == 0
    assert set(decay.values()) == {0.01}


def test_muon_is_for_hidden_convolutions() -> None:
    model = build_model("deal-yolo-ld", 2)
    names = conv_names(model, "Muon")
    assert "model.2.cv1.conv.weight" in names and "model.26.cv2.0.0.conv.weight" in names
    assert "model.1.conv.weight" in names  # the mixing convolution of an LDConv
    parameters = dict(model.named_parameters())
    assert all(parameters[n].ndim == 4 for n in names)
    for name in ("model.1.offset.weight", "model.26.cv2.0.2.weight", "model.0.bn.weight"):
        assert name in parameters and name not in names
    depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.BatchNorm2d(8))
    assert not parameter_groups(depthwise, 0)["muon"]["params"]
    assert not conv_names(model, "SOAP")


@pytest.mark.parametrize("name", ADDED)
def test_they_minimise_also_in_channels_last_order(name: str) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)
    network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    optim = added_optimizer(name, network, 0.01, 0.9, 0.0)
    images, wanted = torch.randn(4, 4, 8, 8), torch.randn(4, 2, 1, 1)
    losses = []
    for _ in range(40):
        loss = ((network(images) - wanted) ** 2).mean()
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(MissingExtraError, match=r"deal-yolo\[optimizers\]"):
        check_optimizer("SOAP")
    check_optimizer("AdamW")
