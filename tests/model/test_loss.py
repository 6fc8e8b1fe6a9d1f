import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from ultralytics.utils.tal import bbox2dist

from deal_yolo.errors import ConfigError
from deal_yolo.model.loss import BoxLoss, LossConfig, WIoU, nwd
from deal_yolo.model.network import build_model
from tests.model.samples import batch, trainable


def box(*corners: float) -> Tensor:
    return torch.tensor([corners], dtype=torch.float32)


def test_nwd_by_hand() -> None:
    # Centres 3 and 4 px apart, widths 2 px and heights 4 px apart: W2 = 9 + 16 + (4 + 16) / 4.
    a, b = box(0, 0, 10, 10), box(2, 2, 14, 16)
    assert (b[0, :2] + b[0, 2:] - a[0, :2] - a[0, 2:]).tolist() == [6, 8]
    torch.testing.assert_close(nwd(a, b, 12.8).item(), math.exp(-math.sqrt(9 + 16 + 5) / 12.8))
    torch.testing.assert_close(nwd(a, a, 12.8).item(), 1.0, atol=1e-4, rtol=0)


def wiou(version: Any, predicted: Tensor, target: Tensor, **config: float) -> float:
    return WIoU(version, LossConfig(**config)).eval()(predicted, target).item()


def test_wiou_by_hand() -> None:
    # IoU of two 2x2 boxes shifted by 1: 2 / 6. Enclosing box 3x2, centres 1 apart.
    a, b = box(0, 0, 2, 2), box(1, 0, 3, 2)
    loss = 1 - 2 / 6
    v1 = math.exp(1 / (9 + 4)) * loss
    assert wiou(1, a, b) == pytest.approx(v1, rel=1e-5)
    assert wiou(2, a, b) == pytest.approx(loss**0.5 * v1, rel=1e-5)  # the mean starts at 1
    r = loss / (3 * 1.9 ** (loss - 3))
    assert wiou(3, a, b) == pytest.approx(r * v1, rel=1e-5)
    r = loss / (2.7 * 1.7 ** (loss - 2.7))
    assert wiou(3, a, b, alpha=1.7, delta=2.7) == pytest.approx(r * v1, rel=1e-5)


def test_the_enclosing_box_gives_no_gradient() -> None:
    a, b = box(0, 0, 2, 2).requires_grad_(), box(1, 0, 3, 2)
    WIoU(1, LossConfig()).eval()(a, b).sum().backward()
    loss, squared = 1 - 2 / 6, 13.0
    # d/dx1: of exp(d2 / c) * loss with c held, where d = (x1 + x2 - 4) / 2 and IoU = i / (8 - i).
    d_distance = 2 * -1 * 0.5 / squared * math.exp(1 / squared) * loss
    # x1 moves the left edge only: the union shrinks by 2 for each px, the overlap stays 2.
    d_iou = 2 * 2 / 36
    expected = d_distance - math.exp(1 / squared) * d_iou
    assert a.grad[0, 0].item() == pytest.approx(expected, rel=1e-4)


def test_the_running_mean_moves_in_training_and_stands_still_in_eval() -> None:
    loss = WIoU(3, LossConfig(momentum=0.1))
    a, b = box(0, 0, 2, 2), box(1, 0, 3, 2)
    loss(a, b)
    assert loss.running_mean.item() == pytest.approx(0.9 + 0.1 * (1 - 2 / 6))
    before = loss.running_mean.item()
    loss.eval()(a, b)
    assert loss.running_mean.item() == before
    loss.train()(torch.zeros(0, 4), torch.zeros(0, 4))
    assert loss.running_mean.item() == before


def test_the_running_mean_is_saved_and_restored() -> None:
    model = trainable(build_model("deal-yolo", 2))
    model.loss(batch())
    moved = model.box_loss.wiou.running_mean.item()
    assert moved != 1
    other = build_model("deal-yolo", 2)
    other.load_state_dict(model.state_dict())
    assert other.box_loss.wiou.running_mean.item() == moved


def test_validation_does_not_move_the_running_mean() -> None:
    model = trainable(build_model("deal-yolo", 2)).eval()
    with torch.no_grad():
        model.loss(batch(), model(batch()["img"]))
    assert model.box_loss.wiou.running_mean.item() == 1


EVIL = {
    "equal": (box(3, 3, 9, 9), box(3, 3, 9, 9)),
    "disjoint": (box(0, 0, 4, 4), box(100, 100, 104, 104)),
    "nested": (box(0, 0, 100, 100), box(40, 40, 42, 42)),
    "one pixel": (box(5, 5, 6, 6), box(5, 5, 6, 6)),
    "one pixel apart": (box(5, 5, 6, 6), box(7, 7, 8, 8)),
    "no area": (box(5, 5, 5, 5), box(5, 5, 5, 5)),
    "inside out": (box(9, 9, 5, 5), box(4, 4, 8, 8)),
}


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("iou", ["wiou-v1", "wiou-v2", "wiou-v3", "ciou"])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_loss_and_gradient_are_finite(name: str, iou: Any, share: float) -> None:
    predicted, target = EVIL[name]
    predicted = predicted.clone().requires_grad_()
    loss = BoxLoss(LossConfig(iou=iou, nwd_weight=share)).boxes(predicted, target)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(predicted.grad).all()
    assert loss.item() >= -1e-4


def test_nwd_pulls_disjoint_boxes_together_where_iou_cannot() -> None:
    predicted, target = (b.clone() for b in EVIL["disjoint"])
    predicted.requires_grad_()
    BoxLoss(LossConfig(nwd_weight=1)).boxes(predicted, target).sum().backward()
    assert (predicted.grad < 0).all()  # towards the target, right and down


def test_loss_is_in_pixels_whatever_the_level() -> None:
    """The same error in px costs the same at stride 4 and at stride 16."""
    loss = BoxLoss(LossConfig(iou="wiou-v1", nwd_constant=10.0)).eval()
    values = []
    for stride in (4.0, 16.0):
        predicted, target = box(0, 0, 16, 16) / stride, box(4, 0, 20, 16) / stride
        point = torch.tensor([[1.0, 1.0]])
        distance = bbox2dist(point, predicted)[0].long()
        logits = 50 * torch.nn.functional.one_hot(distance, 16).float()  # sure of these bins
        value, _ = loss(
            logits.view(1, 1, 64),
            predicted[None],
            point,
            target[None],
            torch.ones(1, 1, 1),
            torch.tensor(1.0),
            torch.ones(1, 1, dtype=torch.bool),
            torch.tensor([64.0, 64.0]),
            torch.tensor([[stride]]),
        )
        values.append(value.item())
    expected = BoxLoss(LossConfig(iou="wiou-v1", nwd_constant=10.0)).eval()
    by_hand = expected.boxes(box(0, 0, 16, 16), box(4, 0, 20, 16)).item()
    assert values == pytest.approx([by_hand, by_hand], rel=1e-5)


def test_a_batch_without_objects_has_no_box_loss_and_finite_gradients() -> None:
    model = trainable(build_model("deal-yolo", 2))
    empty = {
        "img": torch.rand(2, 3, 64, 64),
        "batch_idx": torch.zeros(0),
        "cls": torch.zeros(0, 1),
        "bboxes": torch.zeros(0, 4),
    }
    loss, items = model.loss(empty)
    loss.sum().backward()
    assert items["box_loss"] == 0 and items["dfl_loss"] == 0 and items["cls_loss"] > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.box_loss.wiou.running_mean.item() == 1


def test_ciou_alone_is_ultralytics_own_loss() -> None:
    from ultralytics.utils.loss import v8DetectionLoss

    model = trainable(build_model("deal-yolo", 2, LossConfig(iou="ciou", nwd_weight=0)))
    theirs = copy.deepcopy(model)
    ours, _ = model.loss(batch())
    expected, _ = v8DetectionLoss(theirs)(theirs(batch()["img"]), batch())
    torch.testing.assert_close(ours, expected)


def test_the_running_mean_is_that_of_all_processes(tmp_path: Any) -> None:
    """A group of one: the reduction is called, and leaves the mean as it is alone."""
    distributed.init_process_group(
        "gloo", f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        loss = WIoU(3, LossConfig(momentum=1.0))
        loss(torch.cat([box(0, 0, 2, 2), box(0, 0, 2, 2)]), torch.cat([box(1, 0, 3, 2)] * 2))
    finally:
        distributed.destroy_process_group()
    assert loss.running_mean.item() == pytest.approx(1 - 2 / 6)


@pytest.mark.parametrize(
    "values", [{"nwd_weight": 2}, {"nwd_constant": 0.0}, {"alpha": 1.0}, {"momentum": -1}]
)
def test_impossible_settings_are_refused(values: dict) -> None:
    with pytest.raises(ConfigError):
        LossConfig(**values)
