"""The box loss: WIoU (arXiv 2301.10051) and NWD (arXiv 2110.13389), in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn
from ultralytics.utils.loss import DFLoss, v8DetectionLoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.tal import bbox2dist, dist2bbox

from deal_yolo.config import check_range
from deal_yolo.errors import ConfigError
from deal_yolo.model.assigner import SparseAssigner


@dataclass(frozen=True)
class LossConfig:
    """Which box loss, and its constants.

    Args:
        iou: the IoU term.
        nwd_weight: share of the NWD term; the IoU term has the rest.
        nwd_constant: C of NWD, in px of the model's input; None takes the mean object size of
            the training labels.
        alpha: WIoU v3's alpha (its later code uses 1.7).
        delta: WIoU v3's delta (its later code uses 2.7).
        gamma: WIoU v2's exponent.
        momentum: share of a batch in WIoU's running mean.
        assigner: how near a predicted box is to an object where anchors are assigned. CIoU is
            YOLOv8's; it is zero for most boxes around a small object that are a few px off, and
            NWD is not.
    """

    iou: Literal["wiou-v3", "wiou-v2", "wiou-v1", "ciou"] = "wiou-v3"
    nwd_weight: float = 0.5
    nwd_constant: float | None = None
    alpha: float = 1.9
    delta: float = 3.0
    gamma: float = 0.5
    momentum: float = 0.01
    assigner: Literal["ciou", "nwd"] = "ciou"

    def __post_init__(self) -> None:
        check_range("nwd_weight", self.nwd_weight, 0, 1)
        check_range("momentum", self.momentum, 0, 1)
        if self.nwd_constant is not None and self.nwd_constant <= 0:
            raise ConfigError(f"nwd_constant must be positive, not {self.nwd_constant}")
        if self.alpha <= 1 or self.delta <= 0:
            raise ConfigError("alpha must be above 1 and delta positive")


def nwd(a: Tensor, b: Tensor, constant: float | Tensor) -> Tensor:
    """Normalised Wasserstein distance of boxes seen as Gaussians: 1 for equal boxes.

    Equation 6 of arXiv 2110.13389, ``exp(-sqrt(W2) / C)`` with
    ``W2 = dcx^2 + dcy^2 + (dw^2 + dh^2) / 4``.

    Args:
        a: ``(n, 4)`` left, top, right, bottom in px.
        b: ``(n, 4)`` likewise.
        constant: C in px.

    Returns:
        ``(n,)`` similarities in (0, 1].
    """
    centre = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    size = (a[:, 2:] - a[:, :2] - b[:, 2:] + b[:, :2]) / 2
    squared = (centre**2).sum(1) + (size**2).sum(1)
    # The small constant keeps the root's gradient finite where the boxes are equal.
    return torch.exp(-(squared + 1e-7).sqrt() / constant)


class WIoU(nn.Module):
    """Wise-IoU v1, v2 and v3 (arXiv 2301.10051), with its running mean kept in a buffer.

    In eval mode the running mean stands still. Over several processes it is the mean of theirs.
    """

    running_mean: Tensor

    def __init__(self, version: Literal[1, 2, 3], config: LossConfig) -> None:
        super().__init__()
        self.version = version
        self.config = config
        self.register_buffer("running_mean", torch.tensor(1.0))

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """``(n,)`` losses of ``(n, 4)`` boxes (left, top, right, bottom), of any one unit."""
        iou = bbox_iou(predicted, target, xywh=False).squeeze(-1)
        loss = 1 - iou
        low = torch.minimum(predicted[:, :2], target[:, :2])
        high = torch.maximum(predicted[:, 2:], target[:, 2:])
        enclosing = ((high - low) ** 2).sum(1).detach().clamp(min=1e-7)
        centre = (predicted[:, :2] + predicted[:, 2:] - target[:, :2] - target[:, 2:]) / 2
        # A box turned inside out could lie outside the enclosing box; the paper's term is <= e.
        v1 = torch.exp(((centre**2).sum(1) / enclosing).clamp(max=1)) * loss
        if self.training:
            self._update(loss.detach())
        if self.version == 1:
            return v1
        beta = loss.detach() / self.running_mean
        if self.version == 2:
            return beta**self.config.gamma * v1
        focus = beta / (self.config.delta * self.config.alpha ** (beta - self.config.delta))
        return focus * v1

    @torch.no_grad()
    def _update(self, loss: Tensor) -> None:
        total = torch.stack([loss.sum(), loss.new_tensor(float(loss.numel()))])
        if several_processes():
            distributed.all_reduce(total)
        if total[1] > 0:
            self.running_mean.lerp_(total[0] / total[1], self.config.momentum)


def several_processes() -> bool:
    """Whether this process is one of a group that trains together."""
    return distributed.is_available() and distributed.is_initialized()


class BoxLoss(nn.Module):
    """Box and distribution losses of the positive anchors; takes the place of ultralytics' own.

    Args:
        config: which loss.
        reg_max: bins of the box distribution.
    """

    nwd_constant: Tensor

    def __init__(self, config: LossConfig, reg_max: int = 16) -> None:
        super().__init__()
        self.config = config
        self.dfl_loss = DFLoss(reg_max)
        version = {"wiou-v1": 1, "wiou-v2": 2, "wiou-v3": 3}.get(config.iou)
        self.wiou = WIoU(version, config) if version else None
        constant = 12.8 if config.nwd_constant is None else config.nwd_constant
        self.register_buffer("nwd_constant", torch.tensor(float(constant)))

    def boxes(self, predicted: Tensor, target: Tensor) -> Tensor:
        """``(n,)`` box losses of ``(n, 4)`` boxes in px of the model's input."""
        if self.wiou is None:
            loss = 1 - bbox_iou(predicted, target, xywh=False, CIoU=True).squeeze(-1)
        else:
            loss = self.wiou(predicted, target)
        weight = self.config.nwd_weight
        if weight == 0:
            return loss
        return (1 - weight) * loss + weight * (1 - nwd(predicted, target, self.nwd_constant))

    def decode(self, bins: Tensor, point: Tensor) -> Tensor:
        """``(n, 4)`` boxes of ``(4 n, reg_max)`` logits around ``(n, 2)`` points, in strides."""
        values = torch.arange(bins.shape[1], dtype=bins.dtype, device=bins.device)
        return dist2bbox((bins.softmax(1) @ values).view(-1, 4), point, xywh=False)

    def forward(  # noqa: PLR0913  the signature is ultralytics'
        self,
        pred_dist: Tensor,
        pred_bboxes: Tensor,
        anchor_points: Tensor,
        target_bboxes: Tensor,
        target_scores: Tensor,
        target_scores_sum: Tensor,
        fg_mask: Tensor,
        imgsz: Tensor,
        stride: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Box and distribution loss, each weighted by the target scores.

        Args:
            pred_dist: ``(b, a, 4 * reg_max)`` logits of the box distributions.
            pred_bboxes: not used: decoding the positive anchors alone costs less.
            anchor_points: ``(a, 2)`` in units of their level's stride.
            target_bboxes: ``(b, a, 4)`` in the same units.
            target_scores: ``(b, a, nc)``.
            target_scores_sum: a number, at least 1.
            fg_mask: ``(b, a)``, true for positive anchors.
            imgsz: height and width of the input in px; not used.
            stride: ``(a, 1)`` px for each unit.
        """
        # Without positive anchors, too, WIoU must take part in the mean over the processes.
        image, anchor = fg_mask.nonzero(as_tuple=True)
        weight = target_scores[image, anchor].sum(-1)
        point, wanted = anchor_points[anchor], target_bboxes[image, anchor]
        bins = pred_dist[image, anchor].view(-1, self.dfl_loss.reg_max)
        boxes = self.decode(bins, point)
        pixels = stride.expand(len(anchor_points), 1)[anchor]
        loss = self.boxes(boxes * pixels, wanted * pixels)
        target = bbox2dist(point, wanted, self.dfl_loss.reg_max - 1)
        dfl = self.dfl_loss(bins, target).squeeze(-1)
        return (loss * weight).sum() / target_scores_sum, (dfl * weight).sum() / target_scores_sum


class DetectionLoss(v8DetectionLoss):
    """YOLOv8's criterion with the model's own box loss, and if wished NWD in the assigner.

    With several processes it is normalised by the target scores of them all, so that their
    gradients add up to the gradient of one process that has the whole batch.
    """

    assigner: SparseAssigner

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.bbox_loss = model.box_loss
        given = self.assigner
        self.assigner = SparseAssigner(
            topk=given.topk,
            num_classes=given.num_classes,
            alpha=given.alpha,
            beta=given.beta,
            stride=given.stride,
            topk2=given.topk2,
        )
        self.assigner.register_forward_hook(self._note_scores)
        if self.bbox_loss.config.assigner == "nwd":
            self.assigner.iou_calculation = self._nwd

    @torch.no_grad()
    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor) -> Tensor:
        """Boxes of all anchors for the assigner, in strides; the box loss decodes what is learnt.

        A softmax over rows of 16 bins is slow on a CPU, so it is written out. Logits are nowhere
        near the limits, which only keep the quotient finite.
        """
        bins = pred_dist.view(-1, self.reg_max).clamp(-80, 80).exp_()
        sums = bins @ torch.stack([self.proj, torch.ones_like(self.proj)], 1)
        distance = (sums[:, 0] / sums[:, 1]).view(*pred_dist.shape[:2], 4)
        return dist2bbox(distance, anchor_points, xywh=False)

    def _nwd(self, target: Tensor, predicted: Tensor) -> Tensor:
        return nwd(target, predicted, self.bbox_loss.nwd_constant)

    def _note_scores(self, _: nn.Module, __: Any, targets: tuple[Tensor, ...]) -> None:
        self.scores_sum = targets[2].sum()

    def loss(
        self, preds: dict[str, Any], batch: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses (box, class, distribution) times the batch size, and each by name."""
        loss, items = super().loss(preds, batch)
        # In validation the processes need not have the same number of batches.
        if not (self.bbox_loss.training and several_processes()):
            return loss, items
        every = self.scores_sum.clone()
        distributed.all_reduce(every)
        mean = every.clamp(min=1) / distributed.get_world_size()
        share = self.scores_sum.clamp(min=1) / mean
        return loss * share, {name: value * share for name, value in items.items()}
