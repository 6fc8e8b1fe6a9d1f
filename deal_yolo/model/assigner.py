"""The task-aligned assigner of YOLOv8 without its dense maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner


class SparseAssigner(TaskAlignedAssigner):
    """Ultralytics' assigner, worked out for the pairs of an anchor within an object alone.

    Ultralytics fills maps of (images, most objects of an image, anchors). With a P2 level and 200
    animals in a mosaic these have tens of millions of entries, of which one in a few hundred is
    an anchor within its object; on a CPU filling them takes longer than the network. The targets
    are the same, but for anchors whose metric is zero: ultralytics makes some of them positive, by
    the order of their numbers, with a target score of zero; here they are background.
    """

    def _forward(
        self,
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
        **extra: Any,
    ) -> tuple[Tensor, ...]:
        """Targets for b images with up to n objects and a anchors.

        Args:
            pd_scores: ``(b, a, nc)`` in 0 to 1.
            pd_bboxes: ``(b, a, 4)`` left, top, right, bottom in px of the model's input.
            anc_points: ``(a, 2)`` x, y in px.
            gt_labels: ``(b, n, 1)`` classes.
            gt_bboxes: ``(b, n, 4)`` in px.
            mask_gt: ``(b, n, 1)``, zero for padding.
            extra: what `pair_overlaps` wants beside.

        Returns:
            Classes ``(b, a)``, boxes ``(b, a, 4)``, scores ``(b, a, nc)``, which anchors are
            positive ``(b, a)``, and the number ``(b, a)`` of their object in the image.
        """
        if self.topk2 != self.topk:  # of models without suppression, which are not trained here
            return tuple(
                super()._forward(
                    pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt, **extra
                )
            )
        image, number = mask_gt[..., 0].nonzero(as_tuple=True)
        owner, anchor = self._within(anc_points, gt_bboxes[image, number]).nonzero(as_tuple=True)
        at, label = image[owner], gt_labels[image, number, 0].long()
        overlap = self.pair_overlaps((at, number[owner], anchor), gt_bboxes, pd_bboxes, **extra)
        score = pd_scores[at, anchor, label[owner]]
        metric = score.pow(self.alpha) * overlap.pow(self.beta)

        place = at * len(anc_points) + anchor  # of the anchor among those of all images
        size = self.bs * len(anc_points)
        chosen = self._best(metric, owner, len(image))
        contested = torch.zeros(size, device=place.device).index_add_(0, place, chosen.float()) > 1
        # An anchor that several objects choose goes to the one it overlaps most, and of equal
        # ones to the first.
        most = _reduced(overlap, place, size, "amax")
        first = owner.where(overlap == most[place], len(image))
        wins = owner == _reduced(first, place, size, "amin")[place]
        positive = torch.where(contested[place], wins, chosen).nonzero()[:, 0]

        owner, place, metric = owner[positive], place[positive], metric[positive]
        best_metric = _reduced(metric, owner, len(image), "amax")
        best_overlap = _reduced(overlap[positive], owner, len(image), "amax")
        share = metric * best_overlap[owner] / (best_metric[owner] + self.eps)

        def spread(values: Tensor) -> Tensor:
            return values.new_zeros(size).index_put_((place,), values).view(self.bs, -1)

        index = spread(number[owner])
        foreground = spread(torch.ones_like(place, dtype=torch.bool))
        labels, boxes, scores = self.get_targets(gt_labels, gt_bboxes, index, foreground)
        return labels, boxes, scores * spread(share)[..., None], foreground, index

    def _within(self, points: Tensor, boxes: Tensor) -> Tensor:
        """``(m, a)``: whether a point is in a box, or in the least box around its centre."""
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        half = half.clamp(min=self.stride_val / 2)
        low, high = (centre - half)[..., None], (centre + half)[..., None]
        x, y = points.T
        inside = (x > low[:, 0]) & (x < high[:, 0])
        return inside & (y > low[:, 1]) & (y < high[:, 1])

    def _best(self, metric: Tensor, owner: Tensor, objects: int) -> Tensor:
        """``(p,)``: which pairs are among the best of their object, with a metric above zero."""
        count = owner.bincount(minlength=objects)
        column = torch.arange(len(owner), device=owner.device) - (count.cumsum(0) - count)[owner]
        width = max([self.topk, *count.tolist()])
        table = metric.new_zeros(objects, width).index_put_((owner, column), metric)
        top, where = table.topk(self.topk)
        marks = torch.zeros_like(table, dtype=torch.bool).scatter_(1, where, top > 0)
        return marks[owner, column]


def _reduced(values: Tensor, index: Tensor, size: int, how: str) -> Tensor:
    """``(size,)``: the least or greatest of the values that have each index; zero for none."""
    return values.new_zeros(size).scatter_reduce_(0, index, values, how, include_self=False)
