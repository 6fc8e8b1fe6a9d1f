"""How many anchors each object is learnt at: whether the assigner sees the small ones."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deal_yolo.model.network import DealModel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Positives:
    """What the assigner gives to each of n objects.

    Args:
        size: ``(n,)`` root of the box's area, in px of the model's input.
        anchors: ``(n,)`` positive anchors.
        score: ``(n,)`` sum of their target scores, the object's share in each loss.
    """

    size: Floats
    anchors: Floats
    score: Floats


@dataclass(frozen=True)
class SizeBin:
    """Objects of one size, from ``low`` to below ``high`` px.

    Args:
        low: px.
        high: px.
        objects: how many.
        anchors: mean number of positive anchors.
        none: share of objects without one.
        score: mean sum of target scores.
    """

    low: float
    high: float
    objects: int
    anchors: float
    none: float
    score: float


@torch.no_grad()
def positives(model: DealModel, batch: dict[str, Tensor]) -> Positives:
    """Assign the anchors of one batch as in a training step.

    Args:
        model: on the CPU, with ``args`` set; in eval mode, or in training mode to take the batch's
            own statistics. It stays as it is.
        batch: ``img`` ``(b, 3, h, w)`` in [0, 1], ``batch_idx`` ``(n,)``, ``cls`` ``(n, 1)`` and
            ``bboxes`` ``(n, 4)`` as shares (centre and size), as ultralytics' loader gives them.
    """
    model = copy.deepcopy(model)
    model.criterion = criterion = model.init_criterion()
    seen: dict[str, Tensor] = {}

    def note(_: object, given: tuple[Tensor, ...], made: tuple[Tensor, ...]) -> None:
        seen["boxes"], seen["valid"] = given[4], given[5][..., 0] > 0
        seen["scores"], seen["positive"], seen["owner"] = made[2].sum(2), made[3], made[4]

    criterion.assigner.register_forward_hook(note)
    model.loss(batch, model(batch["img"]))
    image, anchor = seen["positive"].nonzero(as_tuple=True)
    place = image, seen["owner"][image, anchor].long()
    columns = [torch.zeros(seen["valid"].shape) for _ in range(2)]
    columns[0].index_put_(place, torch.ones(len(image)), accumulate=True)
    columns[1].index_put_(place, seen["scores"][image, anchor].float(), accumulate=True)
    sides = seen["boxes"][..., 2:] - seen["boxes"][..., :2]
    size = sides.prod(2).clamp(min=0).sqrt()
    return Positives(*(c[seen["valid"]].double().numpy() for c in (size, *columns)))


def by_size(found: list[Positives], edges: tuple[float, ...] = (8, 16, 32, 64)) -> list[SizeBin]:
    """Means over the objects between each two of ``edges`` (px); empty bins are left out."""
    size, anchors, score = (
        np.concatenate([getattr(p, name) for p in found]) for name in ("size", "anchors", "score")
    )
    bins = []
    for low, high in zip((0.0, *edges), (*edges, np.inf), strict=True):
        own = (size >= low) & (size < high)
        if own.any():
            means = (anchors[own].mean(), (anchors[own] == 0).mean(), score[own].mean())
            bins.append(SizeBin(low, high, int(own.sum()), *map(float, means)))
    return bins
