"""Exact rewrites of a trained model into the form that is exported.

Each takes a `DealModel` and changes it in place, without changing what it computes beyond the
rounding of FP32; `export_form` applies them all to a copy.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.nn.modules import Conv, Detect
from ultralytics.utils.torch_utils import fuse_conv_and_bn

from deal_yolo.model.blocks import SSFF, LDConv
from deal_yolo.model.network import DealModel


def export_form(model: DealModel, max_detections: int) -> DealModel:
    """A copy of ``model`` in eval mode whose output is ``(b, K, 4 + nc)``; see `ScoresFirst`."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    fold_batch_norm(model)
    fix_upsampling(model)
    decode_best(model, max_detections)
    return model


def fold_batch_norm(model: DealModel) -> None:
    """Fold every batch norm into the convolution before it."""
    for layer in model.modules():
        if isinstance(layer, Conv):
            layer.conv = fuse_conv_and_bn(layer.conv, layer.bn)
            del layer.bn
            layer.forward = layer.forward_fuse
        elif isinstance(layer, LDConv | SSFF):
            layer.fuse()


class FixedSSFF(nn.Module):
    """`SSFF` whose upsampling factors are numbers of the graph, not computed from shapes.

    Args:
        ssff: the trained block, batch norm folded.
        factors: size of the largest map over that of each level.
    """

    def __init__(self, ssff: SSFF, factors: list[int]) -> None:
        super().__init__()
        self.align, self.conv, self.act = ssff.align, ssff.conv, ssff.act
        self.factors = factors

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps ``(b, c1[i], h_i, w_i)``, largest first, to ``(b, c2, h_0, w_0)``."""
        maps = [self.act(self.conv(align(x))) for align, x in zip(self.align, levels, strict=True)]
        # Pairs from the smallest up: the maximum commutes with nearest upsampling too.
        fused = maps[-1]
        for i in range(len(maps) - 2, -1, -1):
            factor = self.factors[i + 1] // self.factors[i]
            fused = torch.maximum(maps[i], F.interpolate(fused, scale_factor=factor))
        return fused


def fix_upsampling(model: DealModel) -> None:
    """Give every SSFF fixed upsampling factors; ``nn.Upsample`` has them already."""
    for i, layer in enumerate(model.model):
        if isinstance(layer, SSFF):
            sizes = _row_sizes(model)
            factors = [sizes[layer.f[0]] // sizes[row] for row in layer.f]
            model.model[i] = _in_place_of(layer, FixedSSFF(layer, factors))


def _row_sizes(model: DealModel) -> list[int]:
    """Side of each row's output map for an input of 256 px."""
    sizes: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
        for layer in list(model.model)[:-1]
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, 256, 256, dtype=next(model.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    return sizes


class ScoresFirst(nn.Module):
    """The head in the order of least work: class scores, the K best anchors, then their boxes.

    Args:
        head: the trained head, batch norms folded.
        max_detections: K.
    """

    def __init__(self, head: Detect, max_detections: int) -> None:
        super().__init__()
        self.box, self.score = head.cv2, head.cv3
        self.bins = head.reg_max
        self.strides = [int(s) for s in head.stride]
        self.max_detections = max_detections

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of each level to ``(b, K, 4 + nc)``, best class score first.

        Rows are left, top, right, bottom in px of the input, then class scores in [0, 1].
        K is the number of anchors where that is smaller.
        """
        logits = torch.cat(
            [score(x).flatten(2) for score, x in zip(self.score, maps, strict=True)], dim=2
        ).float()
        best = logits.amax(1)
        index = best.topk(self._count(best), dim=1).indices
        scores = _gather(logits, index).sigmoid()
        boxes = self._boxes(maps, index).float()
        # DFL (arXiv 2006.04388): a side's distance is the mean of its distribution over the bins.
        b, _, k = boxes.shape
        shares = boxes.view(b, 4, self.bins, k).softmax(2)
        steps = torch.arange(self.bins, dtype=torch.float32).view(1, 1, -1, 1)
        distance = (shares * steps).sum(2)
        anchors = self._anchors(maps)[index].transpose(1, 2)
        centre, stride = anchors.split([2, 1], dim=1)
        low = centre - distance[:, :2] * stride
        high = centre + distance[:, 2:] * stride
        return torch.cat([low, high, scores], dim=1).transpose(1, 2)

    def _boxes(self, maps: list[Tensor], index: Tensor) -> Tensor:
        """``(b, 4 * bins, K)`` raw distributions at the anchors ``index``."""
        boxes = [box(x).flatten(2) for box, x in zip(self.box, maps, strict=True)]
        return _gather(torch.cat(boxes, dim=2), index)

    def _count(self, best: Tensor) -> Any:
        anchors: Any = best.shape[1]
        if torch.jit.is_tracing():  # a tensor then; the smaller one is found in the graph
            return torch.as_tensor(anchors).clamp(max=self.max_detections)
        return min(anchors, self.max_detections)

    def _anchors(self, maps: list[Tensor]) -> Tensor:
        """``(anchors, 3)``: x, y of the centre and the stride, in px of the input."""
        levels = []
        for x, stride in zip(maps, self.strides, strict=True):
            rows, columns = x.shape[2:]
            y = (torch.arange(rows, dtype=torch.float32) + 0.5) * stride
            x_ = (torch.arange(columns, dtype=torch.float32) + 0.5) * stride
            grid = torch.stack(
                [x_.view(1, -1).expand(rows, columns), y.view(-1, 1).expand(rows, columns)], -1
            )
            levels.append(F.pad(grid.reshape(-1, 2), (0, 1), value=float(stride)))
        return torch.cat(levels)


def decode_best(model: DealModel, max_detections: int) -> None:
    """Replace the head by `ScoresFirst`."""
    head = model.model[-1]
    model.model[-1] = _in_place_of(head, ScoresFirst(head, max_detections))


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """``(b, c, anchors)`` at ``index (b, K)``: ``(b, c, K)``."""
    return values.gather(2, index[:, None].expand(-1, values.shape[1], -1))


def _in_place_of(old: nn.Module, new: nn.Module) -> nn.Module:
    """Give ``new`` the place of ``old`` in the model's rows."""
    new.i, new.f, new.type = old.i, old.f, type(new).__name__
    return new.eval()
