import numpy as np
import pytest
import torch
from torch import Tensor

from deal_yolo.model.loss import LossConfig
from deal_yolo.model.network import build_model
from deal_yolo.train.positives import Positives, SizeBin, by_size, positives
from tests.model.samples import trainable


def objects(*sides: float) -> dict[str, Tensor]:
    """One image of 128 px with squares of these sides in a row."""
    n = len(sides)
    side = torch.tensor(sides) / 128
    centre = (torch.arange(n) + 0.5) / n
    return {
        "img": torch.zeros(1, 3, 128, 128),
        "batch_idx": torch.zeros(n),
        "cls": torch.zeros(n, 1),
        "bboxes": torch.stack([centre, torch.full((n,), 0.5), side, side], 1),
    }


def test_each_object_has_its_anchors() -> None:
    model = trainable(build_model("deal-yolo", 2)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = positives(model, objects(32, 20, 4))
    np.testing.assert_allclose(found.size, [32, 20, 4], rtol=1e-5)
    assert found.anchors[0] == found.anchors[1] == 10  # the assigner's ten best
    assert found.anchors[2] <= 5  # 8 px, the least it looks at, hold 4 anchors of P2 and 1 of P3
    assert found.score.min() >= 0 and found.score.max() <= 10
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_nwd_in_the_assigner_gives_small_objects_a_greater_share() -> None:
    shares = {}
    for assigner in ("ciou", "nwd"):
        loss = LossConfig(assigner=assigner)
        model = trainable(build_model("deal-yolo", 2, loss)).eval()
        shares[assigner] = positives(model, objects(6, 6, 6))
    assert (shares["nwd"].score > shares["ciou"].score).all()
    assert (shares["nwd"].anchors >= shares["ciou"].anchors).all()


def test_an_image_without_objects_has_no_rows() -> None:
    empty = {
        "img": torch.zeros(1, 3, 64, 64),
        "batch_idx": torch.zeros(0),
        "cls": torch.zeros(0, 1),
        "bboxes": torch.zeros(0, 4),
    }
    assert len(positives(trainable(build_model("deal-yolo", 2)), empty).size) == 0


def test_bins_by_hand() -> None:
    found = [
        Positives(np.array([4.0, 8.0]), np.array([0.0, 6.0]), np.array([0.0, 2.0])),
        Positives(np.array([7.9]), np.array([3.0]), np.array([1.0])),
    ]
    first, second = by_size(found, (8, 16))
    assert first == SizeBin(0, 8, 2, 1.5, 0.5, 0.5)
    assert second == SizeBin(8, 16, 1, pytest.approx(6), 0, 2)
