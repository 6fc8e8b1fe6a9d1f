from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors

from deal_yolo.model.assigner import SparseAssigner

SIDE, STRIDES, CLASSES = 160, [4, 8, 16], 3
SETTINGS: dict[str, Any] = {
    "topk": 10,
    "num_classes": CLASSES,
    "alpha": 0.5,
    "beta": 6.0,
    "stride": STRIDES,
}
Targets = tuple[Tensor, ...]


def crowd(seed: int, most: int) -> Targets:
    """Four images with up to ``most`` objects, from 1 to 100 px, many of them overlapping.

    The second image has none; in the first two objects are the same box.
    """
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    maps = [torch.zeros(1, 1, SIDE // s, SIDE // s) for s in STRIDES]
    anchors, strides = make_anchors(maps, torch.tensor(STRIDES), 0.5)
    points = anchors * strides
    images = 4
    mask = (torch.arange(most) < torch.tensor([most, 0, most // 2, 1])[:, None]).float()[..., None]
    centre, size = rand(images, most, 2) * SIDE, rand(images, most, 2) ** 3 * 99 + 1
    boxes = torch.cat([centre - size / 2, centre + size / 2], 2).clamp(0, SIDE)
    boxes[0, 1] = boxes[0, 0]
    labels = (rand(images, most, 1) * CLASSES).floor()
    around = torch.cat([points - strides * 2, points + strides * 2], 1)
    noise = torch.randn(images, len(points), 4, generator=generator) * strides
    scores = rand(images, len(points), CLASSES)
    return scores, around + noise, points, labels, boxes * mask, mask


def with_share(targets: Targets) -> Tensor:
    """Which anchors have a share in the loss of boxes."""
    return targets[3].bool() & (targets[2].sum(2) > 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most", [2, 40])
def test_targets_are_those_of_the_dense_assigner(seed: int, most: int) -> None:
    given = crowd(seed, most)
    expected = TaskAlignedAssigner(**SETTINGS)(*given)
    targets = SparseAssigner(**SETTINGS)(*given)
    positive = with_share(expected)
    assert positive.sum() > most
    torch.testing.assert_close(targets[2], expected[2])
    assert torch.equal(targets[3], positive)  # and none with a share of zero
    for place in (0, 1, 4):  # class, box and object
        assert targets[place].shape == expected[place].shape
        assert torch.equal(targets[place][positive], expected[place][positive])


def test_an_anchor_that_two_objects_want_goes_to_the_one_it_overlaps_most() -> None:
    scores, boxes, points, labels, _, mask = (t[:1] for t in crowd(0, 2))
    points = crowd(0, 2)[2]
    objects = torch.tensor([[[0.0, 0, 40, 40], [0, 0, 60, 60]]])
    boxes = torch.tensor([0.0, 0, 42, 42]).expand_as(boxes)
    *_, positive, owner = SparseAssigner(**SETTINGS)(scores, boxes, points, labels, objects, mask)
    inside = positive[0] & (points < 40).all(1)
    assert inside.any() and (owner[0][inside] == 0).all()


def test_objects_that_no_box_overlaps_have_no_anchors() -> None:
    scores, boxes, points, labels, objects, mask = crowd(0, 40)
    away = SparseAssigner(**SETTINGS)(scores, boxes + 1000, points, labels, objects, mask)
    assert not away[3].any() and not away[2].any()


def test_batches_without_objects() -> None:
    scores, boxes, points, labels, objects, mask = crowd(0, 2)
    assigner = SparseAssigner(**SETTINGS)
    for n in (0, 2):  # none at all, and rows of padding alone
        targets = assigner(
            scores, boxes, points, labels[:, :n], objects[:, :n] * 0, mask[:, :n] * 0
        )
        assert not targets[3].any() and not targets[2].any()


def test_models_with_a_second_limit_are_left_to_ultralytics() -> None:
    given = crowd(1, 10)
    expected = TaskAlignedAssigner(**SETTINGS, topk2=1)(*given)
    targets = SparseAssigner(**SETTINGS, topk2=1)(*given)
    for own, theirs in zip(targets, expected, strict=True):
        torch.testing.assert_close(own, theirs)
