"""Distillation: a small model learns from the scores and boxes of a larger one, besides the labels.

After BCKD (arXiv 2308.14286), which fits heads whose classes are independent sigmoids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.tal import dist2bbox, make_anchors

from deal_yolo.errors import WeightsError
from deal_yolo.model.checkpoint import load_model
from deal_yolo.model.loss import DetectionLoss
from deal_yolo.model.network import DealModel

SURE = 0.1  # the teacher's boxes of lower score are mostly of nothing


def load_teacher(path: Path, names: tuple[str, ...]) -> DealModel:
    """The model in ``path``, to learn from.

    Raises:
        WeightsError: it cannot be read, or knows other classes than ``names``.
    """
    teacher, metadata = load_model(path)
    if metadata.names != names:
        raise WeightsError(
            f"teacher {path} knows the classes {', '.join(metadata.names)}; "
            f"the data set has {', '.join(names)}"
        )
    return teacher.requires_grad_(False)


def on_levels(maps: dict[str, Any], has: Tensor, strides: Tensor) -> dict[str, Any]:
    """Raw maps, of levels with the strides ``has``, of those in ``strides`` alone."""
    wanted = torch.isin(has, strides).tolist()
    sizes = [f.shape[2] * f.shape[3] for f in maps["feats"]]

    def chosen(parts: Sequence[Tensor]) -> list[Tensor]:
        return [part for part, keep in zip(parts, wanted, strict=True) if keep]

    rows = {k: torch.cat(chosen(maps[k].split(sizes, 2)), 2) for k in ("boxes", "scores")}
    return rows | {"feats": chosen(maps["feats"])}


def boxes(head: nn.Module, maps: dict[str, Any], strides: Tensor) -> Tensor:
    """``(b, a, 4)`` left, top, right, bottom in px of the input, from the raw maps of a head."""
    anchors, strides = make_anchors(maps["feats"], strides, 0.5)
    distances = head.dfl(maps["boxes"].float()).transpose(1, 2)
    return dist2bbox(distances, anchors, xywh=False) * strides


class DistilledLoss(DetectionLoss):
    """The criterion of labels, and beside it that of a teacher.

    At each anchor and class the binary cross-entropy between the two scores, weighted by their
    difference; where the teacher is sure, 1 - CIoU of the two boxes, weighted by its score. Both
    are divided by the sum of the teacher's scores, as YOLOv8's losses are by the target scores,
    and take its gains. Nothing is asked of the two heads but the same classes and a stride in
    common; levels that only one of them has are left out.

    Args:
        model: the student, on its device.
        teacher: its classes are the student's.
        weight: of the teacher's loss beside that of the labels.
        zoom: above 1 the teacher also sees the images so many times as large. Its strides are then
            as many times smaller in px of the student's, and it teaches levels that it lacks:
            at 2 YOLOv8's P3 teaches P2, with what it sees of small objects in twice the pixels.

    Raises:
        WeightsError: the teacher has none of the model's strides.
    """

    def __init__(self, model: DealModel, teacher: DealModel, weight: float, zoom: int = 1) -> None:
        super().__init__(model)
        ours, theirs = model.stride, teacher.stride.to(model.stride)
        has = torch.isin(ours, theirs)
        # In the order of the levels: the finest is seen largest.
        views = ((zoom, ours[torch.isin(ours, theirs / zoom) & ~has]), (1, ours[has]))
        self.views = [(zoom, strides) for zoom, strides in views if len(strides)]
        if not self.views:
            words = (", ".join(f"{s:g}" for s in one) for one in (theirs, ours))
            raise WeightsError("the teacher has strides {}; this model has {}".format(*words))
        self.common = torch.cat([strides for _, strides in self.views])
        self.head = model.model[-1]
        self.dtype = model.autocast_dtype
        self.teacher = teacher.to(self.device, memory_format=torch.channels_last).eval()
        self.weight = weight

    def loss(
        self, preds: dict[str, Any], batch: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `DetectionLoss`, with one more loss, ``distill_loss``."""
        loss, items = super().loss(preds, batch)
        extra = self.weight * self.distill(preds, self.look(batch["img"]))
        loss = torch.cat([loss, extra[None] * len(batch["img"])])
        return loss, items | {"distill_loss": extra.detach()}

    @torch.no_grad()
    def look(self, images: Tensor) -> dict[str, Any]:
        """The teacher's raw maps of the images, of the levels with the strides ``common``."""
        views = [self._view(images, zoom, strides) for zoom, strides in self.views]
        rows = {k: torch.cat([v[k] for v in views], 2) for k in ("boxes", "scores")}
        return rows | {"feats": [f for v in views for f in v["feats"]]}

    def _view(self, images: Tensor, zoom: int, strides: Tensor) -> dict[str, Any]:
        if zoom > 1:
            images = F.interpolate(images, scale_factor=zoom, mode="bilinear")
        with torch.autocast(images.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            maps: dict[str, Any] = self.teacher(images)[1]
        return on_levels(maps, self.teacher.stride.to(strides) / zoom, strides)

    def distill(self, preds: dict[str, Any], maps: dict[str, Any]) -> Tensor:
        """The loss of the student's raw maps against those of `look`, a number."""
        theirs = self.teacher.model[-1]
        preds = on_levels(preds, self.head.stride, self.common)
        target = maps["scores"].float().sigmoid()
        gap = (target - preds["scores"].detach().sigmoid()).abs()
        bce = F.binary_cross_entropy_with_logits(preds["scores"], target, reduction="none")
        sure = target.amax(1)
        sure = sure * (sure >= SURE)
        total = sure.sum().clamp(min=1)
        there = sure > 0
        own = boxes(self.head, preds, self.common)[there]
        taught = boxes(theirs, maps, self.common)[there]
        iou = bbox_iou(own, taught, xywh=False, CIoU=True).squeeze(-1)
        box = (sure[there] * (1 - iou)).sum() / total
        result: Tensor = self.hyp.cls * (gap * bce).sum() / total + self.hyp.box * box
        return result
